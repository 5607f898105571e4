//! What holds for every entry of the product's catalogue.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use omnibus_runtime::Worker;
use omnibus_runtime::bus::PublishError;
use omnibus_runtime::testing::{PATIENCE, Stage};
use omnibus_schemas::{Catalogue, Encoding, QueryEntry, body::encode};
use serde_json::Value;
use uuid::Uuid;

use crate::scene::{headers, refused};

pub(crate) fn auditor(home: &Path) -> omnibus_auditor::Settings {
    omnibus_auditor::Settings {
        audit_secret: Some("a secret of tests, thirty-two characters long".to_owned().into()),
        audit_secret_file: home.join("unused"),
        audit_dir: home.join("audit"),
        audit_origin: "omnibus.test/audit".into(),
        audit_retention_days: 2555,
        compliance_mode: omnibus_auditor::settings::ComplianceMode::Watch,
        compliance_every: 1,
        s3: omnibus_auditor::settings::S3Settings::default(),
        evidence: omnibus_auditor::settings::EvidenceLimits::default(),
    }
}

/// A mailer that writes its mails into this folder.
pub(crate) fn mailer(mail: &Path) -> omnibus_mailer::Settings {
    omnibus_mailer::Settings {
        smtp_host: None,
        smtp_port: 587,
        smtp_tls: None,
        smtp_ca_file: None,
        smtp_username: None,
        smtp_password: None,
        smtp_helo: None,
        smtp_pool: 1,
        smtp_bulk_pool: 1,
        smtp_timeout: 5,
        from_email: None,
        from_name: None,
        from_domains: vec![],
        mail_dir: mail.to_owned(),
        sendgrid_api_key: None,
        sendgrid_url: "https://api.sendgrid.com".into(),
        mail_providers: vec![],
        public_url: "http://localhost:8080".into(),
        dkim_dir: None,
        defer_seconds: 300,
        sendgrid_webhook_key: None,
        returned_mail_secret: None,
        sender_approval_secret: None,
        dns_servers: vec![],
        max_attachment_bytes: 10 * 1024 * 1024,
    }
}

/// Every worker of the product.
pub(crate) fn workers(mail: &Path) -> Vec<Worker> {
    let commissioner = omnibus_commissioner::Settings {
        partner_secret: Some("a secret of tests, thirty-two characters long".to_owned().into()),
        partner_secret_file: mail.join("unused"),
        payout_dir: mail.join("payouts"),
        payout_url: None,
        payout_token: None,
        payout_timeout: 5,
    };
    let texter = omnibus_texter::Settings { sms_dir: mail.join("sms"), ..omnibus_texter::Settings::defaults() };
    let brander = omnibus_brander::worker(omnibus_brander::Settings::defaults()).unwrap();
    vec![
        omnibus_mailer::worker(mailer(mail)).unwrap(),
        omnibus_texter::worker(texter).unwrap(),
        omnibus_commissioner::worker(commissioner).unwrap(),
        brander,
        omnibus_auditor::worker(auditor(mail)).unwrap(),
        omnibus_presence::worker(omnibus_presence::Settings::defaults()).unwrap(),
        minimal_worker::worker(minimal_worker::Settings {}).unwrap(),
    ]
}

#[test]
fn every_entry_has_a_worker_that_handles_it() {
    let (catalogue, mail) = (Catalogue::omnibus(), tempfile::tempdir().unwrap());
    let workers = workers(mail.path());
    for domain in catalogue.domains() {
        let worker = workers.iter().find(|worker| worker.domain() == domain.name);
        let worker = worker.unwrap_or_else(|| panic!("the domain {} has no worker", domain.name));
        assert_eq!(worker.unhandled(&catalogue), Vec::<String>::new());
    }
    assert_eq!(catalogue.domains().len(), workers.len());
}

/// Waits until every follow-up is decided too.
async fn quiet(stage: &Stage) {
    let lanes = stage.catalogue().domains().iter().flat_map(|d| d.lanes().into_iter().map(|l| (d.name, l)));
    let quiet = async {
        for (domain, lane) in lanes {
            while stage.lane(domain, lane).await != (0, 0) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    };
    tokio::time::timeout(PATIENCE, quiet).await.expect("every lane is through");
}

/// Every query about everything of acme's, asked by globex, tells nothing; acme learns its own.
#[tokio::test(flavor = "multi_thread")]
async fn two_tenants_can_not_see_or_touch_each_others_anything() {
    let (stage, mail) = (Stage::new(Catalogue::omnibus()).await, tempfile::tempdir().unwrap());
    let mut running = Vec::new();
    for worker in workers(mail.path()) {
        running.push(stage.run(worker).await);
    }
    let catalogue = stage.catalogue().clone();

    // What everybody may read is read by globex before there is anything of acme's.
    let mut known: HashMap<(&str, Uuid), Bytes> = HashMap::new();
    for query in catalogue.queries() {
        for (n, command) in catalogue.commands().enumerate().filter(|(_, command)| command.domain == query.domain) {
            let id = Uuid::from_u128(0xace0_0000 + n as u128);
            known.insert((query.name, id), asked(&stage, query, command.domain, id).await.payload);
        }
    }

    // Acme does one of everything.
    let mut done: Vec<(&str, Uuid)> = Vec::new();
    for (n, command) in catalogue.commands().enumerate() {
        let id = Uuid::from_u128(0xace0_0000 + n as u128);
        let body = encode(Encoding::Json, &(command.example)());
        stage.publish_raw(&command.subject("acme"), headers(&[("ce-id", &id.to_string())]), body).await;
        let told = stage.outcome(id).await;
        assert_eq!(told.tenant, "acme");
        done.push((command.domain, id));
    }

    // Globex, with its own user, can neither publish as acme nor hear acme; nor the reverse.
    for (me, other) in [("globex", "acme"), ("acme", "globex")] {
        let user = stage.connect(&Stage::tenant_user(me)).await;
        for command in catalogue.commands() {
            let body = encode(Encoding::Json, &(command.example)());
            let refused = refused(&user, &command.subject(other), body).await;
            assert!(matches!(refused, PublishError::Refused(_)), "{} as {other}: {refused}", command.name);
        }
        for query in catalogue.queries() {
            let asked = user.ask(query.subject(), headers(&[("ce-tenant", other)]), "{}".into(), PATIENCE);
            assert!(matches!(asked.await, Err(PublishError::Refused(_))), "{}", query.name);
        }
        let mut refusals = user.refusals();
        for event in catalogue.events() {
            let subject = format!("evt.{}.{}.{other}", event.domain, event.name);
            let _subscription = user.client().subscribe(subject.clone()).await.unwrap();
            let refused = async {
                loop {
                    let refusal = refusals.recv().await.unwrap();
                    // Others are late.
                    if refusal.subject == subject {
                        return refusal.verb;
                    }
                }
            };
            assert_eq!(tokio::time::timeout(PATIENCE, refused).await.expect("refused"), "subscribe", "{subject}");
        }
    }

    // Every question about acme's ids, in globex's name, at the workers themselves.
    quiet(&stage).await;
    let rows = || async {
        let ids: Vec<Uuid> = done.iter().map(|(_, id)| *id).collect();
        let count = sqlx::query_scalar::<_, i64>("select count(*) from bus.inbox where message_id = any($1)").bind(ids);
        count.fetch_one(&stage.db).await.unwrap()
    };
    let before = rows().await;
    for query in catalogue.queries() {
        for (_, id) in done.iter().filter(|(domain, _)| *domain == query.domain) {
            let answer = asked(&stage, query, query.domain, *id).await;
            let body = question(query, *id);
            let text = String::from_utf8_lossy(&answer.payload);
            assert!(!text.contains(&id.to_string()) && !text.contains("acme"), "{}: {text}", query.name);
            let error = answer.headers.as_ref().and_then(|map| map.get("Nats-Service-Error-Code"));
            let empty = serde_json::from_slice::<Value>(&answer.payload).is_ok_and(|value| nothing(&value, &body));
            let as_before = known.get(&(query.name, *id)) == Some(&answer.payload);
            assert!(error.is_some_and(|code| code.as_str() == "404") || empty || as_before, "{}: {text}", query.name);
        }
    }

    // One id in two tenants is two commands, for every command.
    for (n, command) in catalogue.commands().enumerate() {
        let id = Uuid::from_u128(0xace0_0000 + n as u128).to_string();
        let body = encode(Encoding::Json, &(command.example)());
        stage.publish_raw(&command.subject("globex"), headers(&[("ce-id", &id)]), body).await;
        stage.event(|told| told.causation == id && told.tenant == "globex" && told.outcome.is_some()).await;
    }
    quiet(&stage).await;
    assert_eq!((before, rows().await), (done.len() as i64, 2 * done.len() as i64));
}

/// A query's example, about this id.
fn question(query: &QueryEntry, id: Uuid) -> Value {
    let mut body = (query.example)();
    if let Value::Object(fields) = &mut body {
        for (_, value) in fields.iter_mut().filter(|(name, _)| name.ends_with("_id")) {
            *value = Value::String(id.to_string());
        }
    }
    body
}

/// The answer to it in globex's name.
async fn asked(stage: &Stage, query: &QueryEntry, domain: &str, id: Uuid) -> async_nats::Message {
    let body = encode(Encoding::Json, &question(query, id));
    let answered = async {
        loop {
            let (map, body) = (headers(&[("ce-tenant", "globex")]), body.clone().into());
            match stage.operator.ask(query.subject(), map, body, PATIENCE).await.unwrap() {
                Some(answer) => return answer,
                // A worker that has just been started takes commands a moment before it answers questions.
                None => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    };
    let answered = tokio::time::timeout(PATIENCE, answered).await;
    answered.unwrap_or_else(|_| panic!("nobody answers {domain}.{}", query.name))
}

/// Empty lists, zeros, and what the question itself said.
fn nothing(answer: &Value, question: &Value) -> bool {
    answer.as_object().is_some_and(|fields| {
        fields.iter().all(|(name, value)| match value {
            Value::Array(list) => list.is_empty(),
            Value::Number(number) => number.as_u64() == Some(0),
            other => question.get(name) == Some(other),
        })
    })
}
