//! A program with partners, on a stage.

use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Datelike, TimeDelta, Utc};
use omnibus_commissioner::{Settings, worker};
use omnibus_runtime::clock;
use omnibus_runtime::settings::WorkSettings;
use omnibus_runtime::testing::{Running, Stage, Told};
use omnibus_schemas::commissioner::{
    DecidePartner, OrderLine, PartnerDecision, Rates, RecordOrder, RegisterPartner, SetProgram,
};
use omnibus_schemas::{Catalogue, Command, Query};
use sqlx::PgPool;
use uuid::Uuid;

/// A stage with the worker at work.
pub(crate) struct Scene {
    pub(crate) stage: Stage,
    pub(crate) running: Running,
    pub(crate) dir: tempfile::TempDir,
}

pub(crate) fn settings(dir: &std::path::Path) -> Settings {
    Settings {
        partner_secret: Some("a secret of tests, thirty-two characters long".to_owned().into()),
        partner_secret_file: PathBuf::from("unused"),
        payout_dir: dir.to_owned(),
        payout_url: None,
        payout_token: None,
        payout_timeout: 2,
    }
}

impl Scene {
    pub(crate) async fn new() -> Self {
        Scene::with(|_| {}).await
    }

    /// Every command in a transaction of its own, eight at a time: the widest race there is.
    pub(crate) async fn racing() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let stage = Stage::new(Catalogue::omnibus()).await;
        let work = WorkSettings { loops: 8, batch: 1, ..WorkSettings::defaults() };
        let running = stage.run_with(worker(settings(dir.path())).unwrap(), work).await;
        Scene { stage, running, dir }
    }

    /// Publishes all of them for acme before it waits for the first outcome.
    pub(crate) async fn do_at_once<C: Command>(&self, commands: &[C]) -> Vec<Told> {
        let mut sent = vec![];
        for command in commands {
            sent.push(self.stage.publish("acme", command).await);
        }
        let mut told = vec![];
        for id in sent {
            told.push(self.stage.outcome(id).await);
        }
        told
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = settings(dir.path());
        change(&mut settings);
        let stage = Stage::new(Catalogue::omnibus()).await;
        // One loop: commands are decided in the order in which they are published.
        let work = WorkSettings { loops: 1, ..WorkSettings::defaults() };
        let running = stage.run_with(worker(settings).unwrap(), work).await;
        Scene { stage, running, dir }
    }

    pub(crate) fn db(&self) -> &PgPool {
        &self.stage.db
    }

    /// Publishes for acme and waits for the outcome.
    pub(crate) async fn does<C: Command>(&self, command: &C) -> Told {
        self.does_as("acme", command).await
    }

    pub(crate) async fn does_as<C: Command>(&self, tenant: &str, command: &C) -> Told {
        let id = self.stage.publish(tenant, command).await;
        self.stage.outcome(id).await
    }

    pub(crate) async fn asks<Q: Query>(&self, query: &Q) -> Result<Q::Answer, (u16, String)> {
        self.stage.ask("commissioner", "acme", query).await
    }

    /// A program in euros: hold of no days, no minimum, whoever registers is approved.
    pub(crate) async fn program(&self, change: impl FnOnce(&mut SetProgram)) {
        let told = self.does(&program(change)).await;
        assert_eq!(told.name, "program_set", "{told:?}");
    }

    /// An approved partner, with its code.
    pub(crate) async fn partner(&self, name: &str, parent_code: Option<&str>) -> (Uuid, String) {
        let told = self.does(&registration(name, parent_code)).await;
        assert_eq!(told.name, "partner_registered", "{told:?}");
        let id = told.data["partner_id"].as_str().unwrap().parse().unwrap();
        if told.data["status"] == "pending" {
            let decision = DecidePartner { partner_id: id, decision: PartnerDecision::Approve, note: String::new() };
            self.does(&decision).await;
        }
        (id, told.data["code"].as_str().unwrap().to_owned())
    }

    /// What the ledger owes a partner, by currency code.
    pub(crate) async fn balance(&self, partner: Uuid, currency: &str) -> i64 {
        let balance: Option<i64> = sqlx::query_scalar(
            "select balance from commissioner.balances
             where tenant = 'acme' and partner_id = $1 and account = 'partner' and currency = $2",
        )
        .bind(partner)
        .bind(currency)
        .fetch_optional(self.db())
        .await
        .unwrap();
        balance.unwrap_or_default()
    }

    pub(crate) async fn count(&self, table: &'static str) -> i64 {
        let count = format!("select count(*) from commissioner.{table}");
        sqlx::query_scalar(sqlx::AssertSqlSafe(count)).fetch_one(self.db()).await.unwrap()
    }
}

pub(crate) fn program(change: impl FnOnce(&mut SetProgram)) -> SetProgram {
    let mut program = SetProgram {
        rates: Rates::default(),
        hold_days: 0,
        minimum_payout: 0,
        auto_approve: true,
        payout_day: 0,
        ..SetProgram::example()
    };
    change(&mut program);
    program
}

pub(crate) fn registration(name: &str, parent_code: Option<&str>) -> RegisterPartner {
    RegisterPartner {
        name: name.into(),
        email: format!("{name}@{name}.example"),
        parent_code: parent_code.map(str::to_owned),
        ..RegisterPartner::example()
    }
}

/// An order of one line of 100.00, no tax.
pub(crate) fn order(id: &str, code: Option<&str>) -> RecordOrder {
    RecordOrder {
        order_id: id.into(),
        customer_id: format!("customer of {id}"),
        code: code.map(str::to_owned),
        lines: vec![line("1", 10_000)],
        ..RecordOrder::example()
    }
}

pub(crate) fn line(id: &str, amount: i64) -> OrderLine {
    OrderLine { line_id: id.into(), amount, tax: 0, shipping: 0, discount: 0 }
}

/// Year and month of all that follows within the next minutes: who comes just before a month's end waits for the next.
pub(crate) async fn one_month() -> (u16, u16) {
    let month = |at: DateTime<Utc>| (u16::try_from(at.year()).unwrap(), u16::try_from(at.month()).unwrap());
    while month(clock::now()) != month(clock::now() + TimeDelta::minutes(3)) {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    month(clock::now())
}

/// Everything of one name that a command has caused, in order.
pub(crate) fn of(scene: &Scene, told: &Told, name: &str) -> Vec<Told> {
    let caused = scene.stage.caused_by(told.causation.parse().unwrap());
    caused.into_iter().filter(|told| told.name == name).collect()
}
