//! A stage on which processes die: short waits, a worker as a process, and a book of what was sent.

use std::path::Path;
use std::time::Duration;

use omnibus_runtime::local::{Postgres, PostgresOptions};
use omnibus_runtime::testing::{self, Stage, TENANTS};
use omnibus_tests::life::Life;
use omnibus_tests::referee::{Evidence, Order, Sent, Verdict, judge};
use omnibus_tests::shop::{self, Charge, Put};
use uuid::Uuid;

/// A little less than the stage's own, which shows no worker's log.
const PATIENCE: Duration = Duration::from_secs(testing::PATIENCE.as_secs() - 10);

/// Who dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Victim {
    Worker,
    Nats,
    Postgres,
}

pub(crate) struct Case {
    pub(crate) stage: Stage,
    /// If it is to die; else the process's shared one is used.
    postgres: Option<Postgres>,
    provider: tempfile::TempDir,
    sent: Vec<Sent>,
    kills: u64,
    /// Does the worker take puts many at a time?
    pub(crate) many: bool,
}

pub(crate) fn put(how: &str) -> Order {
    Order::Put(Put { thing: "apple".into(), how: how.into() })
}

/// `reconcile` is empty (nobody can tell) or `ask`.
pub(crate) fn charge(how: &str, reconcile: &str, resend: bool) -> Order {
    Order::Charge(Charge { thing: "pear".into(), how: how.into(), reconcile: reconcile.into(), resend })
}

impl Case {
    /// What is killed in flight comes again after two seconds, and not after thirty.
    pub(crate) async fn of(victim: Victim) -> Self {
        Case::with(victim == Victim::Postgres, Duration::from_secs(2)).await
    }

    pub(crate) async fn with(own_postgres: bool, ack_wait: Duration) -> Self {
        let own = PostgresOptions { max_connections: 60, ..PostgresOptions::default() };
        let postgres = match own_postgres {
            true => Some(Postgres::start(own).await.expect("PostgreSQL starts")),
            false => None,
        };
        let on = match &postgres {
            Some(own) => own,
            None => Postgres::shared().await.expect("PostgreSQL starts"),
        };
        let limits = omnibus_bus::Settings { ack_wait, ..omnibus_bus::Settings::default() };
        let stage = Stage::with(shop::catalogue(), limits, on).await;
        let provider = tempfile::tempdir().expect("a temporary folder can be made");
        let migrations = shop::worker(provider.path()).migrations().expect("the shop has tables");
        migrations.apply(&stage.db).await.expect("the migrations apply");
        Case { stage, postgres, provider, sent: vec![], kills: 0, many: false }
    }

    /// A life of the worker, stopped at `point` if there is one.
    pub(crate) fn begin(&self, point: Option<&str>) -> Life {
        let mut variables = vec![("BATCH", "8"), ("LEASE_SECONDS", "2"), ("REPUBLISH_AFTER_SECONDS", "3")];
        variables.extend(self.many.then_some(("SHOP_MANY", "true")));
        variables.extend(point.map(|point| ("OMNIBUS_FAILPOINT", point)));
        Life::begin(Path::new(env!("CARGO_BIN_EXE_shop")), &self.stage, self.provider.path(), &variables)
    }

    /// A life of the worker whose wall clock is wrong by so many seconds.
    pub(crate) fn begin_at(&self, seconds: i64) -> Life {
        let file = self.provider.path().join(format!("clock-{seconds}"));
        std::fs::write(&file, seconds.to_string()).expect("the provider's folder is there");
        let file = file.display().to_string();
        let variables = [("BATCH", "8"), ("LEASE_SECONDS", "2"), ("OMNIBUS_CLOCK", file.as_str())];
        Life::begin(Path::new(env!("CARGO_BIN_EXE_shop")), &self.stage, self.provider.path(), &variables)
    }

    pub(crate) async fn send(&mut self, tenant: &str, order: Order) -> Uuid {
        let id = match &order {
            Order::Put(put) => self.stage.publish(tenant, put).await,
            Order::Charge(charge) => self.stage.publish(tenant, charge).await,
            Order::Poison(poison) => panic!("{poison:?} is for the campaign in tests/chaos"),
        };
        self.sent.push(Sent { id, tenant: tenant.to_owned(), order });
        id
    }

    /// Every way to end, for both tenants. The first eight make a batch that goes through whole; the others are not alone
    /// in theirs.
    pub(crate) async fn send_everything(&mut self) {
        for how in ["", "", "then", ""] {
            for tenant in TENANTS {
                self.send(tenant, put(how)).await;
            }
        }
        for tenant in TENANTS {
            for how in ["reject", "", "fail", "then"] {
                self.send(tenant, put(how)).await;
            }
            for (how, reconcile, resend) in [
                ("", "ask", false),
                ("", "", false),
                ("", "", true),
                ("not_done:1", "ask", false),
                ("refused", "ask", false),
                ("unknown", "", false),
                ("unknown", "ask", false),
                ("skip", "", false),
            ] {
                self.send(tenant, charge(how, reconcile, resend)).await;
            }
        }
    }

    /// Kills the victim where it stands and lets things go on: a new worker, or the same one with its server back. The
    /// worker goes on while the server is still away.
    pub(crate) async fn strike(&mut self, victim: Victim, mut life: Life) -> Life {
        self.kills += 1;
        match victim {
            Victim::Worker => {
                life.kill9().await;
                self.begin(None)
            }
            Victim::Nats => {
                let mut nats = self.stage.nats.lock().await;
                nats.kill9().await;
                life.resume().await;
                nats.restart().await.expect("it comes back");
                drop(nats);
                life
            }
            Victim::Postgres => {
                let postgres = self.postgres.as_mut().expect("a victim of its own");
                postgres.kill9().await;
                life.resume().await;
                postgres.restart().await.expect("it comes back");
                life
            }
        }
    }

    /// Kills the worker wherever it is, and begins no other.
    pub(crate) async fn kill(&mut self, life: Life) {
        self.kills += 1;
        life.kill9().await;
    }

    /// Waits until every command has told how it ended and nothing is under way, and judges.
    pub(crate) async fn verdict(&self, life: &Life) -> Verdict {
        for sent in &self.sent {
            let told = tokio::time::timeout(PATIENCE, self.stage.outcome(sent.id)).await;
            if told.is_err() {
                panic!("{sent:?} does not end; the log:\n{}", life.log());
            }
        }
        let js = self.stage.operator.jetstream();
        if let Err(left) = Evidence::settled(js, &self.stage.db, PATIENCE).await {
            panic!("not everything came to an end: {left:#}; the log:\n{}", life.log());
        }
        let evidence =
            Evidence::gather(js, &self.stage.db, self.provider.path()).await.expect("all is there to be seen");
        match judge(&self.sent, self.kills, &evidence) {
            Ok(verdict) => verdict,
            Err(faults) => panic!("{}\nthe log:\n{}", faults.join("\n"), life.log()),
        }
    }
}
