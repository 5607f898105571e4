//! [`EffectMany`]: a call that is so frequent that the statements around it are worth writing for many commands at once.

use std::future::Future;

use chrono::{DateTime, Utc};
use omnibus_schemas::Command;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::cx::Cx;
use crate::envelope::Meta;
use crate::events::Events;
use crate::handler::{Effect, Fail, Prepared};
use crate::many::One;

/// One answer for each command, in their order; or why there is none for any.
pub type Each<T> = Result<Vec<Result<T, Fail>>, Fail>;

/// As [`Effect`], with first preparations and records taken many at a time, so that one statement can write the rows of
/// all. Registered with `effects_many`; nothing else about the command changes: each has its own inbox row, its own row in
/// the ledger, its own call, its own events and its own outcome. Whoever gives only one of the two has the other called
/// one by one.
///
/// If one of them fails, panics, or all take longer than the policy's time-out together, the transaction is rolled back,
/// and [`Effect::prepare`] or [`Effect::record`] is called for each alone, in a transaction of its own. Later attempts,
/// takeovers, and whatever else is out of the ordinary go through these as well, so both ways must come to the same.
///
/// ```
/// # use omnibus_runtime::{CallError, Cx, Effect, EffectMany, Events, Fail, Meta, One, Prepared, Returned, Worker};
/// # use omnibus_schemas::greeter::{Greet, Greeted};
/// # struct Greeter;
/// # const STORE: &str = "insert into greeter.greetings (tenant, name, count)
/// #     select x.tenant, x.name, count(*) from unnest($1::text[], $2::text[]) as x(tenant, name) group by x.tenant, x.name
/// #     order by x.tenant, x.name on conflict (tenant, name) do update set count = greetings.count + excluded.count";
/// impl Effect<Greet> for Greeter {
///     type Plan = String;
///     type Done = ();
///
///     async fn prepare(&self, _: &mut Cx<'_>, cmd: Greet) -> Result<Prepared<String>, Fail> {
///         Ok(Prepared::go(cmd.name))
///     }
///
///     async fn perform(&self, _: &Meta, _name: &String) -> Result<(), CallError> {
///         Ok(())
///     }
///
///     async fn record(&self, cx: &mut Cx<'_>, name: String, (): ()) -> Result<Events, Fail> {
///         let tenant = cx.tenant().to_owned();
///         sqlx::query(STORE).bind(vec![tenant]).bind(vec![name.as_str()]).execute(cx.db()).await?;
///         Ok(Events::of(Greeted { greeting_id: cx.meta().id, name, revision: 1 }))
///     }
/// }
///
/// impl EffectMany<Greet> for Greeter {
///     async fn record_many(
///         &self,
///         db: &mut sqlx::PgConnection,
///         many: Vec<Returned<'_, String, ()>>,
///     ) -> Result<Vec<Result<Events, Fail>>, Fail> {
///         sqlx::query(STORE)
///             .bind(many.iter().map(Returned::tenant).collect::<Vec<_>>())
///             .bind(many.iter().map(|one| one.plan.as_str()).collect::<Vec<_>>())
///             .execute(db)
///             .await?;
///         let greeted = many.into_iter().map(|one| {
///             let greeting_id = one.meta().id;
///             Ok(Events::of(Greeted { greeting_id, name: one.plan, revision: 1 }))
///         });
///         Ok(greeted.collect())
///     }
/// }
///
/// let worker = Worker::new("greeter", Greeter).effects_many::<Greet>().build();
/// ```
pub trait EffectMany<C: Command>: Effect<C> {
    /// As [`Effect::prepare`]. Exactly one answer for each command, in their order.
    fn prepare_many(
        &self,
        db: &mut PgConnection,
        many: Vec<One<'_, C>>,
    ) -> impl Future<Output = Each<Prepared<Self::Plan>>> + Send {
        async move {
            let mut answers = Vec::with_capacity(many.len());
            for one in many {
                answers.push(Ok(self.prepare(&mut Cx::new(one.meta(), db), one.command).await?));
            }
            Ok(answers)
        }
    }

    /// As [`Effect::record`]. Exactly one answer for each, in their order.
    fn record_many(
        &self,
        db: &mut PgConnection,
        many: Vec<Returned<'_, Self::Plan, Self::Done>>,
    ) -> impl Future<Output = Each<Events>> + Send {
        async move {
            let mut answers = Vec::with_capacity(many.len());
            for one in many {
                answers.push(Ok(self.record(&mut Cx::new(one.meta, db), one.plan, one.done).await?));
            }
            Ok(answers)
        }
    }
}

/// One of many calls that have come back, with what [`Cx`] says of its command.
#[derive(Debug)]
pub struct Returned<'a, P, D> {
    /// What had left.
    pub plan: P,
    /// What it brought back.
    pub done: D,
    meta: &'a Meta,
}

impl<'a, P, D> Returned<'a, P, D> {
    pub(crate) fn new(meta: &'a Meta, plan: P, done: D) -> Self {
        Returned { plan, done, meta }
    }

    /// Who asked, and in which chain.
    pub fn meta(&self) -> &'a Meta {
        self.meta
    }

    /// The tenant to which this command's rows are bound.
    pub fn tenant(&self) -> &'a str {
        &self.meta.tenant
    }

    /// The command's own time (`ce-time`).
    pub fn now(&self) -> DateTime<Utc> {
        self.meta.time
    }

    /// An id derived from the command's: the same in a retry and in a replay, another for every `what`.
    pub fn id(&self, what: &str) -> Uuid {
        Uuid::new_v5(&self.meta.id, what.as_bytes())
    }
}
