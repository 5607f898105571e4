//! The shop on a stage, with a provider's folder, and a few questions to all three.

use std::time::Duration;

use async_nats::HeaderMap;
use bytes::Bytes;
use omnibus_runtime::bus::PublishError;
use omnibus_runtime::settings::WorkSettings;
use omnibus_runtime::testing::{PATIENCE, Running, Stage, Told};
use omnibus_runtime::{Bus, Health, Parts, RunError, Worker};
use omnibus_schemas::platform::{CommandPage, CommandReport};
use omnibus_tests::shop::{self, Charge, Put};
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgPoolOptions;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// A stage with the shop's catalogue.
pub(crate) struct Scene {
    pub(crate) stage: Stage,
    pub(crate) provider: tempfile::TempDir,
}

impl Scene {
    pub(crate) async fn new() -> Self {
        Scene { stage: Stage::new(shop::catalogue()).await, provider: folder() }
    }

    pub(crate) async fn with(limits: omnibus_bus::Settings) -> Self {
        let postgres = omnibus_runtime::local::Postgres::shared().await.unwrap();
        Scene { stage: Stage::with(shop::catalogue(), limits, postgres).await, provider: folder() }
    }

    /// With tries that may take as long as the test wants: calls that are `open` last until [`Scene::answer`], and a busy
    /// machine spends no attempt. What hangs is given up by `timeout_seconds`.
    pub(crate) fn worker(&self) -> Worker {
        shop::patient_worker(self.provider.path())
    }

    pub(crate) async fn run(&self) -> Running {
        self.stage.run(self.worker()).await
    }

    pub(crate) async fn run_with(&self, change: impl FnOnce(&mut WorkSettings)) -> Running {
        let mut settings = WorkSettings::defaults();
        change(&mut settings);
        self.stage.run_with(self.worker(), settings).await
    }

    /// With puts taken many at a time.
    pub(crate) async fn run_many(&self, change: impl FnOnce(&mut WorkSettings)) -> Running {
        let mut settings = WorkSettings::defaults();
        change(&mut settings);
        self.stage.run_with(shop::patient_worker_of_many(self.provider.path()), settings).await
    }

    /// Lets a call come back that is `open`.
    pub(crate) fn answer(&self, id: Uuid) {
        std::fs::write(self.provider.path().join(format!("answered-{id}")), "").unwrap();
    }

    /// Makes the shop's tables before a worker does.
    pub(crate) async fn migrate(&self) {
        self.worker().migrations().unwrap().apply(&self.stage.db).await.unwrap();
    }

    pub(crate) async fn put(&self, how: &str) -> Uuid {
        self.stage.publish("acme", &put(how)).await
    }

    pub(crate) async fn charge(&self, how: &str, reconcile: &str) -> Uuid {
        self.stage.publish("acme", &charge(how, reconcile)).await
    }

    /// The same command once more, as another message.
    pub(crate) async fn repeat_charge(&self, id: Uuid, how: &str, reconcile: &str) {
        let body = serde_json::to_vec(&charge(how, reconcile)).unwrap();
        self.stage.publish_raw("cmd.shop.calls.charge.acme", headers(&[("ce-id", &id.to_string())]), body).await;
    }

    /// How often the provider was reached for this command, under one of the shop's words (`call`, `refusal`, ..).
    pub(crate) fn times(&self, what: &str, id: Uuid) -> u64 {
        std::fs::metadata(self.provider.path().join(format!("{what}-{id}"))).map_or(0, |file| file.len())
    }

    /// A number from the database.
    pub(crate) async fn count(&self, sql: &str) -> i64 {
        sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(&self.stage.db).await.unwrap()
    }

    pub(crate) async fn sql(&self, sql: &str) -> u64 {
        sqlx::query(AssertSqlSafe(sql.to_owned())).execute(&self.stage.db).await.unwrap().rows_affected()
    }

    /// Rows that the command's handler wrote.
    pub(crate) async fn things(&self, id: Uuid) -> i64 {
        self.count(&format!("select count(*) from shop.things where command_id = '{id}'")).await
    }

    pub(crate) async fn page(&self, tenant: &str, id: Uuid) -> Result<CommandReport, (u16, String)> {
        self.stage.ask("shop", tenant, &CommandPage { command_id: id }).await
    }

    /// Waits until the database says so. For what no event tells.
    pub(crate) async fn until(&self, sql: &str, wanted: i64) {
        eventually(sql, || async { self.count(sql).await == wanted }).await;
    }

    /// What a worker runs on, as any bus user, without its tables being made.
    pub(crate) async fn parts(&self, user: &str) -> Parts {
        self.parts_on(self.stage.connect(user).await).await
    }

    pub(crate) async fn parts_on(&self, bus: Bus) -> Parts {
        let db = PgPoolOptions::new().max_connections(4).connect(&self.stage.database_url).await.unwrap();
        Parts {
            bus,
            db,
            catalogue: self.stage.catalogue().clone(),
            settings: WorkSettings::defaults(),
            health: Health::default(),
            stop: CancellationToken::new(),
        }
    }

    /// Runs a worker that is to end by itself, in time.
    pub(crate) async fn fails(&self, parts: Parts) -> RunError {
        let run = tokio::time::timeout(PATIENCE, self.worker().run(parts));
        run.await.expect("ends by itself").expect_err("can't run")
    }
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

pub(crate) fn put(how: &str) -> Put {
    Put { thing: "apple".into(), how: how.into() }
}

pub(crate) fn charge(how: &str, reconcile: &str) -> Charge {
    Charge { thing: "apple".into(), how: how.into(), reconcile: reconcile.into(), resend: false }
}

pub(crate) fn headers(list: &[(&str, &str)]) -> HeaderMap {
    list.iter().fold(HeaderMap::new(), |mut map, (name, value)| {
        map.insert(*name, *value);
        map
    })
}

/// What a publication comes to that `user` may not make. A machine that is too busy to say so in time is asked again.
pub(crate) async fn refused(user: &Bus, subject: &str, body: impl Into<Bytes>) -> PublishError {
    let body = body.into();
    let trying = async {
        loop {
            match user.publish(subject, HeaderMap::new(), body.clone()).await {
                Ok(ack) => panic!("{subject} is taken: {ack:?}"),
                Err(PublishError::Away(_)) => {}
                Err(error) => return error,
            }
        }
    };
    tokio::time::timeout(PATIENCE, trying).await.expect("the server says that it refuses")
}

/// Looks again and again, for what nobody tells.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, mut look: impl FnMut() -> F) {
    let looking = async {
        while !look().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    if tokio::time::timeout(PATIENCE, looking).await.is_err() {
        panic!("it never came to this: {what}");
    }
}

/// The names of what a command has caused, in order.
pub(crate) fn names(told: &[Told]) -> Vec<&str> {
    told.iter().map(|told| told.name.as_str()).collect()
}
