//! [`HandleMany`]: a state change that is so frequent that its statements are worth writing for many commands at once.

use chrono::{DateTime, Utc};
use omnibus_schemas::Command;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::envelope::Meta;
use crate::events::Events;
use crate::handler::{Fail, Policy};

/// As [`Handle`](crate::Handle), for all fresh commands of this type that a batch holds, so that one statement can write
/// the rows of all. Registered with `handles_many`; nothing else about the command changes: each has its own inbox row,
/// its own events and its own outcome, all committed together.
///
/// It gets between one command and as many as a batch may have (`--batch`), in the order of their delivery, of any
/// tenants. If one of them fails, panics, or all take longer than the policy's time-out together, the transaction is
/// rolled back and the handler is called again for each command alone, in a transaction of its own: then a failure
/// costs its command alone an attempt. So it may run more than once, and takes time and ids from the command only.
///
/// Two commands of one batch may be about the same row, which `insert ... on conflict do update` refuses to touch twice
/// in one statement: sum them up first, as here.
///
/// ```
/// # use omnibus_runtime::{Events, Fail, HandleMany, One, Worker};
/// # use omnibus_schemas::greeter::{Greet, Greeted};
/// struct Greeter;
///
/// impl HandleMany<Greet> for Greeter {
///     async fn handle_many(
///         &self,
///         db: &mut sqlx::PgConnection,
///         many: Vec<One<'_, Greet>>,
///     ) -> Result<Vec<Result<Events, Fail>>, Fail> {
///         // One statement for all of them; every row is bound to its own command's tenant.
///         sqlx::query(
///             "insert into greeter.greetings (tenant, name, count)
///              select x.tenant, x.name, count(*) from unnest($1::text[], $2::text[]) as x(tenant, name)
///              group by x.tenant, x.name order by x.tenant, x.name
///              on conflict (tenant, name) do update set count = greetings.count + excluded.count",
///         )
///         .bind(many.iter().map(One::tenant).collect::<Vec<_>>())
///         .bind(many.iter().map(|one| one.command.name.as_str()).collect::<Vec<_>>())
///         .execute(db)
///         .await?;
///         // One answer for each, in the same order.
///         Ok(many
///             .into_iter()
///             .map(|one| {
///                 let greeting_id = one.meta().id;
///                 Ok(Events::of(Greeted { greeting_id, name: one.command.name, revision: 1 }))
///             })
///             .collect())
///     }
/// }
///
/// let worker = Worker::new("greeter", Greeter).handles_many::<Greet>().build();
/// ```
pub trait HandleMany<C: Command>: Send + Sync + 'static {
    /// Attempts and backoff of each command; the time-out is for one call, whether it has one command or many.
    const POLICY: Policy = Policy::DEFAULT;

    /// Decides. Exactly one answer for each command, in their order. `Err` of the whole means what `?` on a statement for
    /// all of them means: somebody's fault, to be found one by one.
    fn handle_many(
        &self,
        db: &mut PgConnection,
        many: Vec<One<'_, C>>,
    ) -> impl Future<Output = Result<Vec<Result<Events, Fail>>, Fail>> + Send;
}

/// One of many commands, with what [`Cx`](crate::Cx) says of it.
#[derive(Debug)]
pub struct One<'a, C> {
    /// The command.
    pub command: C,
    meta: &'a Meta,
}

impl<'a, C> One<'a, C> {
    pub(crate) fn new(meta: &'a Meta, command: C) -> Self {
        One { command, meta }
    }

    /// Who asked, and in which chain.
    pub fn meta(&self) -> &'a Meta {
        self.meta
    }

    /// The tenant to which this command's rows are bound.
    pub fn tenant(&self) -> &'a str {
        &self.meta.tenant
    }

    /// The command's own time (`ce-time`): the same in a retry and in a replay.
    pub fn now(&self) -> DateTime<Utc> {
        self.meta.time
    }

    /// An id derived from the command's: the same in a retry and in a replay, another for every `what`.
    pub fn id(&self, what: &str) -> Uuid {
        Uuid::new_v5(&self.meta.id, what.as_bytes())
    }
}
