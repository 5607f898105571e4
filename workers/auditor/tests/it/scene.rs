//! The auditor on a stage, and what others say there.

use std::path::Path;
use std::time::Duration;

use async_nats::HeaderMap;
use omnibus_auditor::export::{self, Flaw, Header, Report, VERSION};
use omnibus_auditor::note::{Checkpoint, VerifierKey};
use omnibus_auditor::settings::{ComplianceMode, EvidenceLimits, S3Settings};
use omnibus_auditor::{Settings, worker};
use omnibus_runtime::settings::WorkSettings;
use omnibus_runtime::testing::{Running, Stage, Told};
use omnibus_schemas::auditor::{ConsistencyProof, EntryPage, ExportPage, Head, LogEntries, LogHead};
use omnibus_schemas::{Catalogue, Command, Encoding, Query, body, subject};
use serde_json::Value;
use sqlx::AssertSqlSafe;

/// A stage with the auditor at work.
pub(crate) struct Scene {
    pub(crate) stage: Stage,
    pub(crate) dir: tempfile::TempDir,
}

pub(crate) fn settings(dir: &Path) -> Settings {
    Settings {
        audit_secret: Some("a secret of tests, thirty-two characters long".to_owned().into()),
        audit_secret_file: dir.join("unused"),
        audit_dir: dir.to_owned(),
        audit_origin: "omnibus.test/audit".into(),
        audit_retention_days: 2555,
        compliance_mode: ComplianceMode::Off,
        compliance_every: 1,
        s3: S3Settings::default(),
        evidence: EvidenceLimits::default(),
    }
}

pub(crate) fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        map.insert(*name, *value);
    }
    map
}

/// Waits for what no event tells.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, is: impl Fn() -> F) {
    for _ in 0..2400 {
        if is().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("waited in vain: {what}");
}

impl Scene {
    pub(crate) async fn new() -> Self {
        Scene::of(Stage::new(Catalogue::omnibus()).await)
    }

    pub(crate) fn of(stage: Stage) -> Self {
        Scene { stage, dir: tempfile::tempdir().unwrap() }
    }

    pub(crate) async fn run(&self) -> Running {
        self.stage.run_with(worker(settings(self.dir.path())).unwrap(), WorkSettings::defaults()).await
    }

    /// With the controls watched each second, or more than watched.
    pub(crate) async fn run_as(&self, mode: ComplianceMode) -> Running {
        self.run_with(Settings { compliance_mode: mode, ..settings(self.dir.path()) }).await
    }

    pub(crate) async fn run_with(&self, settings: Settings) -> Running {
        self.stage.run_with(worker(settings).unwrap(), WorkSettings::defaults()).await
    }

    /// As somebody in particular asks it.
    pub(crate) async fn does_as<C: Command>(&self, tenant: &str, actor: &str, command: &C) -> Told {
        let id = omnibus_runtime::clock::new_id();
        let map = headers(&[("ce-id", &id.to_string()), ("ce-actor", actor), ("Content-Type", "application/json")]);
        let subject = subject::command(C::DOMAIN, C::LANE, C::NAME, tenant);
        self.stage.publish_raw(&subject, map, body::encode(Encoding::Json, command)).await;
        self.stage.outcome(id).await
    }

    /// The code of the refusal, or the event's name.
    pub(crate) async fn code<C: Command>(&self, tenant: &str, actor: &str, command: &C) -> String {
        let told = self.does_as(tenant, actor, command).await;
        told.data["code"].as_str().map_or(told.name, str::to_owned)
    }

    /// A command's outcome, as its worker would say it.
    pub(crate) async fn ended(&self, tenant: &str, id: &str, command: &str, outcome: &str) {
        let body = r#"{"greeting_id":"01979f6e-5a00-7000-8000-000000000002","name":"Ada","revision":1}"#;
        let map =
            headers(&[("ce-id", id), ("ce-tenant", tenant), ("ce-causationid", command), ("ce-outcome", outcome)]);
        self.stage.publish_raw(&format!("evt.greeter.greeted.{tenant}"), map, body).await;
    }

    /// A command's acceptance, without anybody who carries it out.
    pub(crate) async fn accepted(&self, tenant: &str, id: &str) {
        let map = headers(&[("ce-id", id), ("ce-tenant", tenant)]);
        self.stage.publish_raw(&format!("cmd.greeter.default.greet.{tenant}"), map, r#"{"name":"Ada"}"#).await;
    }

    /// An event of the greeter's, as its worker would say it.
    pub(crate) async fn greeted(&self, tenant: &str, id: &str) {
        let body = format!(r#"{{"greeting_id":"01979f6e-5a00-7000-8000-000000000002","name":"{id}","revision":1}}"#);
        let map = headers(&[("ce-id", id), ("ce-tenant", tenant), ("ce-type", "omnibus.greeter.greeted.v1")]);
        self.stage.publish_raw(&format!("evt.greeter.greeted.{tenant}"), map, body).await;
    }

    /// Somebody's consent, which names a person.
    pub(crate) async fn consent(&self, tenant: &str, id: &str, number: &str) {
        let body =
            format!(r#"{{"channel":"sms","recipient":"{number}","covers":"all","state":"opted_out","source":"word"}}"#);
        let map = headers(&[("ce-id", id), ("ce-tenant", tenant)]);
        self.stage.publish_raw(&format!("evt.texter.consent_changed.{tenant}"), map, body).await;
    }

    pub(crate) async fn does<C: Command>(&self, tenant: &str, command: &C) -> Told {
        let id = self.stage.publish(tenant, command).await;
        self.stage.outcome(id).await
    }

    pub(crate) async fn asks<Q: Query>(&self, tenant: &str, query: &Q) -> Result<Q::Answer, (u16, String)> {
        self.stage.ask("auditor", tenant, query).await
    }

    pub(crate) async fn size(&self, tenant: &str) -> u64 {
        self.asks(tenant, &LogHead {}).await.map_or(0, |head| head.size)
    }

    /// Waits until the log has so many entries.
    pub(crate) async fn grown(&self, tenant: &str, size: u64) -> Head {
        eventually(&format!("{tenant}'s log has {size} entries"), || async { self.size(tenant).await >= size }).await;
        self.asks(tenant, &LogHead {}).await.unwrap()
    }

    /// Every leaf of a tenant's log.
    pub(crate) async fn leaves(&self, tenant: &str) -> Vec<Value> {
        let (mut leaves, mut from) = (Vec::new(), Some(0));
        while let Some(at) = from {
            let EntryPage { entries, next } = self.asks(tenant, &LogEntries { from: at, limit: 256 }).await.unwrap();
            leaves.extend(entries.iter().map(|entry| serde_json::from_str::<Value>(&entry.leaf).unwrap()));
            from = next;
        }
        leaves
    }

    pub(crate) async fn key(&self, tenant: &str) -> VerifierKey {
        VerifierKey::parse(&self.asks(tenant, &LogHead {}).await.unwrap().key).unwrap()
    }

    /// The whole log, as `omnibus audit export` writes it.
    pub(crate) async fn export(&self, tenant: &str, since: Option<&str>) -> String {
        let head = self.asks(tenant, &LogHead {}).await.unwrap();
        let mut consistency = vec![];
        if let Some(note) = since {
            let from = Checkpoint::open(note, &VerifierKey::parse(&head.key).unwrap()).unwrap().size;
            let proof = ConsistencyProof { from, to: Some(head.size) };
            consistency = self.asks(tenant, &proof).await.unwrap().path;
        }
        let (mut lines, mut count) = (Vec::new(), 0);
        for tile in 0..head.size.div_ceil(256) {
            let page = self.asks(tenant, &ExportPage { tile, size: Some(head.size) }).await.unwrap();
            count += page.entries.len() as u64;
            lines.extend(export::lines(page, 0, head.size, |_| true));
        }
        let header = Header {
            omnibus_audit_export: VERSION,
            from: 0,
            to: head.size,
            count,
            what: None,
            head: head.checkpoint,
            previous: since.map(str::to_owned),
            consistency,
        };
        let mut text = serde_json::to_string(&header).unwrap();
        for line in lines {
            text.push('\n');
            text.push_str(&serde_json::to_string(&line).unwrap());
        }
        text
    }

    /// Exports and checks.
    pub(crate) async fn checked(&self, tenant: &str, kept: Option<&str>) -> Result<Report, Flaw> {
        let export = self.export(tenant, kept).await;
        export::check(export.as_bytes(), &self.key(tenant).await, kept)
    }

    /// As a restore does that lacks all of it, or whoever has the database and the secret and begins the log anew.
    pub(crate) async fn log_is_gone(&self) {
        for table in ["entries", "tiles", "heads", "past_heads", "ids", "arrivals"] {
            self.sql(&format!("delete from auditor.{table}")).await;
        }
    }

    pub(crate) async fn sql(&self, statement: &str) -> u64 {
        sqlx::query(AssertSqlSafe(statement.to_owned())).execute(&self.stage.db).await.unwrap().rows_affected()
    }

    pub(crate) async fn count(&self, statement: &str) -> i64 {
        sqlx::query_scalar(AssertSqlSafe(statement.to_owned())).fetch_one(&self.stage.db).await.unwrap()
    }
}
