//! The work that every contestant does: a command of 256 bytes writes one row and causes one event.

use std::time::Duration;

use omnibus_runtime::{
    CallError, Cx, Effect, EffectMany, Events, Fail, Found, Handle, HandleMany, Meta, One, Policy, Prepared, Returned,
    Worker,
};
use omnibus_schemas::{Catalogue, Command, Domain, Event, Http};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;

/// What fills a command's body up to 256 bytes.
const FILLING: usize = 245;

pub(crate) fn catalogue() -> Catalogue {
    Catalogue::new(vec![domain()])
}

pub(crate) fn domain() -> Domain {
    Domain::new("goods", "Goods (for the bench)").command::<Store>().command::<Ship>().event::<Stored>()
}

/// Stores a thing: a state change.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema, garde::Validate)]
pub(crate) struct Store {
    /// What.
    #[garde(length(max = 400))]
    pub(crate) thing: String,
}

/// Ships a thing: a call that leaves the database.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema, garde::Validate)]
pub(crate) struct Ship {
    /// What.
    #[garde(length(max = 400))]
    pub(crate) thing: String,
}

/// It is stored, or shipped.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
pub(crate) struct Stored {
    /// What.
    pub(crate) thing: String,
}

pub(crate) fn thing(n: usize) -> String {
    format!("{n:0>FILLING$}")
}

impl Command for Store {
    const DOMAIN: &'static str = "goods";
    const NAME: &'static str = "store";
    const SCOPE: &'static str = "goods:store";

    fn example() -> Self {
        Store { thing: thing(1) }
    }
}

impl Command for Ship {
    const DOMAIN: &'static str = "goods";
    const NAME: &'static str = "ship";
    const LANE: &'static str = "calls";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/goods/ship"));
    const SCOPE: &'static str = "goods:ship";

    fn example() -> Self {
        Ship { thing: thing(1) }
    }
}

impl Event for Stored {
    const DOMAIN: &'static str = "goods";
    const NAME: &'static str = "stored";

    fn example() -> Self {
        Stored { thing: thing(1) }
    }
}

/// The worker's state: how long a call takes.
pub(crate) struct Goods {
    call: Duration,
}

/// How the worker takes `store`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taking {
    OneByOne,
    Many,
}

pub(crate) fn worker(taking: Taking, call: Duration) -> Worker {
    let worker = Worker::new("goods", Goods { call }).migrations("goods", &[("0001_goods", TABLE)]);
    match taking {
        Taking::OneByOne => worker.handles::<Store>(),
        Taking::Many => worker.handles_many::<Store>(),
    }
    .effects_many::<Ship>()
    .build()
}

const TABLE: &str = "create table goods.stored (id uuid primary key, tenant text not null, thing text not null)";

impl Handle<Store> for Goods {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: Store) -> Result<Events, Fail> {
        let (id, tenant) = (cx.meta().id, cx.tenant());
        store(cx.db(), id, tenant, &cmd.thing).await?;
        Ok(Events::of(Stored { thing: cmd.thing }))
    }
}

impl HandleMany<Store> for Goods {
    async fn handle_many(
        &self,
        db: &mut PgConnection,
        many: Vec<One<'_, Store>>,
    ) -> Result<Vec<Result<Events, Fail>>, Fail> {
        store_all(db, many.iter().map(|one| (one.meta(), one.command.thing.as_str()))).await?;
        Ok(many.into_iter().map(|one| Ok(Events::of(Stored { thing: one.command.thing }))).collect())
    }
}

async fn store(db: &mut PgConnection, id: uuid::Uuid, tenant: &str, thing: &str) -> sqlx::Result<()> {
    sqlx::query("insert into goods.stored (id, tenant, thing) values ($1, $2, $3)")
        .bind(id)
        .bind(tenant)
        .bind(thing)
        .execute(db)
        .await?;
    Ok(())
}

async fn store_all<'a>(db: &mut PgConnection, all: impl Iterator<Item = (&'a Meta, &'a str)>) -> sqlx::Result<()> {
    let (metas, things): (Vec<&Meta>, Vec<&str>) = all.unzip();
    sqlx::query("insert into goods.stored select * from unnest($1::uuid[], $2::text[], $3::text[])")
        .bind(metas.iter().map(|meta| meta.id).collect::<Vec<_>>())
        .bind(metas.iter().map(|meta| meta.tenant.as_str()).collect::<Vec<_>>())
        .bind(things)
        .execute(db)
        .await?;
    Ok(())
}

impl Effect<Ship> for Goods {
    const POLICY: Policy = Policy::DEFAULT;
    type Plan = String;
    type Done = ();

    async fn prepare(&self, _cx: &mut Cx<'_>, cmd: Ship) -> Result<Prepared<String>, Fail> {
        Ok(Prepared::go(cmd.thing))
    }

    async fn perform(&self, _meta: &Meta, _plan: &String) -> Result<(), CallError> {
        if !self.call.is_zero() {
            tokio::time::sleep(self.call).await;
        }
        Ok(())
    }

    async fn record(&self, cx: &mut Cx<'_>, plan: String, (): ()) -> Result<Events, Fail> {
        let (id, tenant) = (cx.meta().id, cx.tenant());
        store(cx.db(), id, tenant, &plan).await?;
        Ok(Events::of(Stored { thing: plan }))
    }

    async fn reconcile(&self, _meta: &Meta, _plan: &String) -> Result<Found<()>, Fail> {
        Ok(Found::CannotTell)
    }
}

impl EffectMany<Ship> for Goods {
    async fn record_many(
        &self,
        db: &mut PgConnection,
        many: Vec<Returned<'_, String, ()>>,
    ) -> Result<Vec<Result<Events, Fail>>, Fail> {
        store_all(db, many.iter().map(|one| (one.meta(), one.plan.as_str()))).await?;
        Ok(many.into_iter().map(|one| Ok(Events::of(Stored { thing: one.plan }))).collect())
    }
}
