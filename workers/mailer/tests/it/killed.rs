//! `kill -9` of the mailer at every point on a mail's way, with a real SMTP server that counts copies. Afterwards nobody has
//! a second copy of what was acknowledged, and where nobody can know, that is said, or the mail's own wish followed.

use std::collections::BTreeMap;
use std::time::Duration;

use omnibus_mailer::worker;
use omnibus_runtime::local::Postgres;
use omnibus_runtime::testing::{Life, Stage};
use omnibus_schemas::mailer::{
    BatchRecipient, BatchRows, BatchStatus, EmailReport, EmailState, EmailStatus, SendBatch, SendEmail, SendTemplate,
};
use omnibus_schemas::platform::Outcome;
use omnibus_schemas::{Catalogue, Command};
use serde_json::{Map, Value, json};
use tokio::time::timeout;
use uuid::Uuid;

use crate::scene::email;
use crate::server::{SmtpServer, settings};

/// How long the end of anything may take.
const PATIENCE: Duration = Duration::from_secs(170);

/// The mailer as a process.
fn begin(stage: &Stage, port: u16, point: Option<&str>) -> Life {
    let mut mailer = tokio::process::Command::new(env!("CARGO_BIN_EXE_mailer"));
    mailer
        .env("SMTP_HOST", "127.0.0.1")
        .env("SMTP_PORT", port.to_string())
        .env("SMTP_TLS", "none")
        .env("SMTP_TIMEOUT", "20")
        .env("FROM_EMAIL", "office@example.com")
        .env("LEASE_SECONDS", "3")
        .env("BATCH", "8")
        .env("IN_FLIGHT", "8");
    Life::begin(mailer, stage, "mailer", point)
}

/// A bus for lives that end early, with the mailer's tables.
async fn stage() -> Stage {
    let stage = Stage::with(Catalogue::omnibus(), Life::limits(), Postgres::shared().await.unwrap()).await;
    let migrations = worker(settings(25, &[])).unwrap().migrations();
    migrations.unwrap().apply(&stage.db).await.unwrap();
    stage
}

/// The copies that the server has acknowledged, by `Message-ID`, each as it came.
async fn copies(server: SmtpServer) -> BTreeMap<String, Vec<Value>> {
    let mut found: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for accepted in server.accepted().await {
        let text = accepted["text"].as_str().unwrap();
        let line = text.split("\r\n").find_map(|line| line.strip_prefix("Message-ID: ")).unwrap();
        found.entry(line.to_owned()).or_default().push(accepted.clone());
    }
    found
}

async fn report(stage: &Stage, id: Uuid) -> EmailReport {
    let ask = EmailStatus { email_id: id };
    stage.ask("mailer", "acme", &ask).await.unwrap()
}

/// The counters are kept in the transactions that move what they count: no death parts them.
pub(crate) async fn counters_fit(stage: &Stage) {
    let (counted, found): (Vec<i64>, Vec<i64>) = sqlx::query_as(
        "select (select array[sum(queued), sum(sent), sum(bounced)]::bigint[] from mailer.daily),
                (select array[count(*), count(*) filter (where state = 'sent'), count(*) filter (where state = 'bounced')]
                 from mailer.recipients)",
    )
    .fetch_one(&stage.db)
    .await
    .unwrap();
    assert_eq!(counted, found, "queued, sent, bounced");
}

/// How many mails of each kind ended how, as `kind outcome copies`.
async fn killed_at(point: &str) -> BTreeMap<String, usize> {
    // The first of them is cut off before it is heard, and tried again.
    let options = json!({ "cut": "mail", "times": 1 });
    let (stage, server) = tokio::join!(stage(), SmtpServer::start(options));
    let mut sent: Vec<(&str, Uuid)> = vec![];
    for n in 0..4 {
        let mail = email(|e| e.to = vec![format!("r{n}@example.com")]);
        sent.push(("mail", stage.publish("acme", &mail).await));
        let reset = SendTemplate { to: vec![format!("reset{n}@example.com")], ..SendTemplate::example() };
        sent.push(("reset", stage.publish("acme", &reset).await));
    }
    sent.push(("refused", stage.publish("acme", &email(|e| e.to = vec!["refuse@example.com".into()])).await));

    begin(&stage, server.port, Some(point)).killed_at(point).await;
    let second = begin(&stage, server.port, None);
    let mut ended = vec![];
    for (kind, id) in sent {
        let told = timeout(PATIENCE, stage.outcome(id)).await;
        let told = told.unwrap_or_else(|_| panic!("{point}: {kind} {id} does not end"));
        ended.push((kind, told.outcome.unwrap(), report(&stage, id).await));
    }
    drop(second);
    counters_fit(&stage).await;
    let copies = copies(server).await;
    let mut counted: BTreeMap<String, usize> = BTreeMap::new();
    for (kind, outcome, report) in ended {
        let own = copies.get(&report.message_id).map(Vec::as_slice).unwrap_or_default();
        let state = report.status;
        let fits = match (kind, outcome) {
            ("mail", Outcome::Succeeded) => own.len() == 1 && state == EmailState::Sent,
            // It may have left, and may not: nobody here can know, and it is not sent again.
            ("mail", Outcome::Held) => own.len() <= 1 && state == EmailState::Uncertain,
            ("reset", Outcome::Succeeded) => (1..=2).contains(&own.len()) && state == EmailState::Sent,
            ("refused", Outcome::Rejected) => own.is_empty() && state == EmailState::Failed,
            ("refused", Outcome::Held) => own.is_empty() && state == EmailState::Uncertain,
            _ => false,
        };
        assert!(fits, "{point}: {kind} {outcome:?} {state:?} with {} copies", own.len());
        assert!(own.iter().all(|copy| copy["text"] == own[0]["text"]), "{point}: the copies of {kind} differ");
        let outcome = serde_json::to_value(outcome).unwrap();
        *counted.entry(format!("{kind} {} {}", outcome.as_str().unwrap(), own.len())).or_default() += 1;
    }
    counted
}

macro_rules! points {
    ($($test:ident: $point:literal,)*) => { $(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $test() {
            let counted = killed_at($point).await;
            assert_eq!(counted.values().sum::<usize>(), 9, "{counted:?}");
        }
    )* };
}

points! {
    no_mail_is_sent_twice_when_the_mailer_dies_before_the_commit: "before_commit",
    no_mail_is_sent_twice_when_the_mailer_dies_after_the_commit: "after_commit",
    no_mail_is_sent_twice_when_the_mailer_dies_before_the_call: "between_prepare_and_perform",
    no_mail_is_sent_twice_when_the_mailer_dies_after_the_call: "between_perform_and_record",
    no_mail_is_sent_twice_when_the_mailer_dies_after_the_record: "after_record",
    no_mail_is_sent_twice_when_the_mailer_dies_after_a_refusal: "after_refusal",
    no_mail_is_sent_twice_when_the_mailer_dies_after_the_next_attempt_is_opened: "after_next_attempt",
}

/// Alone on the bus, so that it is known whose call was cut short: how it ended, and how many copies there are.
async fn cut_short<C: Command>(point: &str, command: &C) -> (Outcome, EmailState, usize) {
    let (stage, server) = tokio::join!(stage(), SmtpServer::start(json!({})));
    let id = stage.publish("acme", command).await;
    begin(&stage, server.port, Some(point)).killed_at(point).await;
    let second = begin(&stage, server.port, None);
    let told = timeout(PATIENCE, stage.outcome(id)).await.expect("it ends");
    let report = report(&stage, id).await;
    drop(second);
    let copies = copies(server).await.remove(&report.message_id).unwrap_or_default();
    (told.outcome.unwrap(), report.status, copies.len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_whose_call_was_cut_short_is_uncertain_and_a_reset_link_is_sent_again() {
    let (mail, reset) = (SendEmail::example(), SendTemplate::example());
    let (before, after) = ("between_prepare_and_perform", "between_perform_and_record");
    let (a, b, c, d, e) = tokio::join!(
        cut_short(before, &mail),
        cut_short(after, &mail),
        cut_short(before, &reset),
        cut_short(after, &reset),
        cut_short("after_record", &mail),
    );
    assert_eq!(a, (Outcome::Held, EmailState::Uncertain, 0));
    assert_eq!(b, (Outcome::Held, EmailState::Uncertain, 1));
    assert_eq!(c, (Outcome::Succeeded, EmailState::Sent, 1));
    assert_eq!(d, (Outcome::Succeeded, EmailState::Sent, 2));
    // Acknowledged and written down: that is the end of it, whatever dies.
    assert_eq!(e, (Outcome::Succeeded, EmailState::Sent, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_whose_mailer_is_killed_again_and_again_sends_no_row_twice_and_loses_none() {
    const ROWS: usize = 200;
    let (stage, server) = tokio::join!(stage(), SmtpServer::start(json!({})));
    let to = |n| BatchRecipient { to: format!("r{n}@example.com"), variables: Map::new() };
    let recipients = (0..ROWS).map(to).collect();
    let batch = SendBatch { recipients, stream: "transactional".into(), ..SendBatch::example() };
    let batch_id = stage.publish("acme", &batch).await;
    for point in ["after_commit:2", "between_perform_and_record:5", "after_record:2", "between_prepare_and_perform:20"]
    {
        begin(&stage, server.port, Some(point)).killed_at(point).await;
    }
    let last = begin(&stage, server.port, None);
    let told = timeout(PATIENCE, stage.event(|told| told.name == "batch_completed")).await;
    assert_eq!(told.expect("the batch completes").data["rows"], json!(ROWS));
    let ask = BatchRows { batch_id, after: 0, limit: 1000 };
    let rows = stage.ask("mailer", "acme", &ask).await.unwrap().rows;
    let whole = stage.ask("mailer", "acme", &BatchStatus { batch_id }).await.unwrap();
    drop(last);
    counters_fit(&stage).await;
    assert_eq!((rows.len(), whole.waiting), (ROWS, 0));
    let mut copies: BTreeMap<String, usize> = BTreeMap::new();
    for accepted in server.accepted().await {
        *copies.entry(accepted["to"][0].as_str().unwrap().to_owned()).or_default() += 1;
    }
    for row in rows {
        let own = copies.get(&row.address).copied().unwrap_or_default();
        match row.status.as_str() {
            "sent" => assert_eq!(own, 1, "{row:?}"),
            "uncertain" => assert!(own <= 1, "{row:?} has {own} copies"),
            other => panic!("{other}: {row:?}"),
        }
    }
}
