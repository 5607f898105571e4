//! Mails that come together are written down together, by few statements. In what is written that is to be seen nowhere.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use omnibus_mailer::worker;
use omnibus_runtime::settings::WorkSettings;
use omnibus_runtime::testing::Stage;
use omnibus_schemas::Command;
use omnibus_schemas::mailer::{
    AddSuppression, Attachment, BatchRecipient, EmailState, SendBatch, SendEmail, SendTemplate,
};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::killed::counters_fit;
use crate::scene::{SMTP_TIMEOUT, done, email, run, stage, status, until};
use crate::server::SmtpServer;

fn to(addresses: &[&str], change: impl FnOnce(&mut SendEmail)) -> SendEmail {
    email(|e| {
        e.to = addresses.iter().map(|address| format!("{address}@example.com")).collect();
        change(e);
    })
}

/// Mails of every kind. Each address stands in one of them alone, so that none has a say in another's fate.
fn mails() -> Vec<SendEmail> {
    let file = Attachment {
        filename: Some("a.pdf".into()),
        content_type: Some("application/pdf".into()),
        content: Some(STANDARD.encode(b"a file")),
        attachment_id: None,
        content_id: None,
    };
    vec![
        to(&["plain"], |_| {}),
        to(&["two-a", "two-b"], |e| {
            e.html = Some("<b>Hello</b>".into());
            e.cc = vec!["copy@example.com".into(), "two-a@EXAMPLE.com".into()];
            e.bcc = vec!["blind@example.com".into()];
            e.from_name = Some("Ada".into());
        }),
        to(&["no-more"], |_| {}),
        to(&["not-no-more"], |e| e.cc = vec!["no-more@example.com".into()]),
        to(&["refuse.one"], |_| {}),
        to(&["taken", "refuse.two"], |_| {}),
        to(&["news"], |e| e.stream = "marketing".into()),
        to(&["file"], |e| e.attachments = vec![file]),
        to(&["defer"], |_| {}),
        to(&["about"], |e| e.cancel_key = Some("invoice-1".into())),
        to(&["secret"], |e| e.confidential = true),
        to(&["nul"], |e| e.body = "nul \0 here".into()),
    ]
}

async fn texts(stage: &Stage, query: &'static str) -> Vec<String> {
    sqlx::query_scalar(query).fetch_all(&stage.db).await.unwrap()
}

/// What is left of all of them: the rows, the counters, and to whom the server was handed what.
async fn left_by(settings: WorkSettings) -> [Vec<String>; 4] {
    let server = SmtpServer::start(json!({ "defer_times": 1 })).await;
    let stage = stage().await;
    let running = run(&stage, &server).await;
    done(&stage, "acme", &AddSuppression { address: "no-more@example.com".into(), stream: None }).await;
    running.stop().await;

    let mut id = 0;
    let mut next = || {
        id += 1;
        Uuid::from_u128(id)
    };
    let mut deferred = Uuid::nil();
    for mail in mails() {
        let id = stage.publish_as(next(), "acme", &mail).await;
        if mail.to == ["defer@example.com"] {
            deferred = id;
        }
    }
    stage.publish_as(next(), "globex", &to(&["no-more"], |_| {})).await;
    let reset = SendTemplate { to: vec!["reset@example.com".into()], ..SendTemplate::example() };
    stage.publish_as(next(), "acme", &reset).await;
    let rows = ["r1", "R1", "no-more", "refuse.three", "r2", "r3", "r4"];
    let row = |name: &str| BatchRecipient { to: format!("{name}@example.com"), variables: Map::new() };
    let recipients = rows.into_iter().map(row).collect();
    let batch = SendBatch { recipients, stream: "transactional".into(), ..SendBatch::example() };
    stage.publish_as(next(), "acme", &batch).await;

    let mailer = worker(server.settings(&[&SMTP_TIMEOUT[..], &["--defer-seconds", "1"]].concat())).unwrap();
    let running = stage.run_with(mailer, settings).await;
    stage.drain().await;
    stage.event(|told| told.name == "batch_completed").await;
    until(|| status(&stage, deferred), |report| report.status == EmailState::Sent).await;
    running.stop().await;
    counters_fit(&stage).await;
    let emails = texts(
        &stage,
        "select ((to_jsonb(e) - array['queued_at', 'sent_at', 'carrier'])
                 || jsonb_build_object('sent', e.sent_at is not null, 'carried', e.carrier is not null))::text
         from mailer.emails e order by e.tenant, e.email_id",
    )
    .await;
    let recipients = texts(
        &stage,
        "select (to_jsonb(r) - 'at')::text from mailer.recipients r order by r.tenant, r.email_id, r.recipient",
    )
    .await;
    let counters = texts(
        &stage,
        "select concat_ws(' ', tenant, stream, template, sum(queued), sum(deferred), sum(suppressed), sum(sent),
                          sum(bounced), sum(failed))
         from mailer.daily group by tenant, stream, template order by tenant, stream, template",
    )
    .await;
    let mut handed: Vec<String> = server.accepted().await.iter().map(|mail| mail["to"].to_string()).collect();
    handed.sort();
    [emails, recipients, counters, handed]
}

#[tokio::test]
async fn mails_that_come_together_leave_what_those_leave_that_come_alone() {
    let one = WorkSettings { batch: 1, loops: 1, in_flight: 1, ..WorkSettings::defaults() };
    let (together, alone) = tokio::join!(left_by(WorkSettings::defaults()), left_by(one));
    for (together, alone) in together.iter().zip(&alone) {
        assert_eq!(together, alone);
    }
    let [emails, recipients, _, handed] = &together;
    let sent = recipients.iter().filter(|row| row.contains(r#""state": "sent""#)).count();
    // 13 of single mails with their copies, another tenant's, the reset link, and 4 of the batch.
    assert_eq!((emails.len(), sent, handed.len()), (20, 19, 16), "{recipients:#?}");
}

#[tokio::test]
async fn the_rows_of_mails_that_come_at_once_are_written_by_few_statements() {
    const MAILS: i64 = 20;
    // What is out stays out meanwhile, and its rows as they were written first.
    let server = SmtpServer::start(json!({ "stall": "mail" })).await;
    let stage = stage().await;
    for n in 0..MAILS {
        stage.publish("acme", &to(&[&format!("r{n}")], |_| {})).await;
    }
    let running = run(&stage, &server).await;
    // Rows that one statement wrote bear the same numbers.
    let ask = || async {
        sqlx::query_as::<_, (i64, i64)>(
            "select count(*), count(distinct xmin::text || '/' || cmin::text) from mailer.emails",
        )
        .fetch_one(&stage.db)
        .await
        .unwrap()
    };
    let (_, statements) = until(ask, |(rows, _)| *rows == MAILS).await;
    assert!(statements <= MAILS / 2, "{statements} statements wrote {MAILS} mails");
    running.abort().await;
}

#[tokio::test]
async fn what_a_batchs_mails_were_made_of_is_kept_by_few_statements() {
    const ROWS: i64 = 20;
    let server = SmtpServer::start(json!({ "stall": "mail" })).await;
    let stage = stage().await;
    let row = |n| BatchRecipient { to: format!("r{n}@example.com"), variables: Map::new() };
    let said = json!({ "title": "News", "message": "There are some." });
    let batch = SendBatch {
        recipients: (0..ROWS).map(row).collect(),
        template: Some("notification".into()),
        subject: None,
        body: None,
        variables: said.as_object().unwrap().clone(),
        stream: "transactional".into(),
        ..SendBatch::example()
    };
    stage.publish("acme", &batch).await;
    let running = run(&stage, &server).await;
    let ask = || async {
        sqlx::query_as::<_, (i64, i64)>(
            "select count(*) filter (where name = 'notification' and version = 0 and variables ->> 'title' = 'News'),
                    count(distinct xmin::text || '/' || cmin::text)
             from mailer.template_sends",
        )
        .fetch_one(&stage.db)
        .await
        .unwrap()
    };
    let (_, statements) = until(ask, |(rows, _)| *rows == ROWS).await;
    assert!(statements <= ROWS / 2, "{statements} statements kept what {ROWS} mails were made of");
    running.abort().await;
}

#[tokio::test]
async fn what_somebody_else_has_said_meanwhile_of_one_of_many_is_not_overwritten() {
    let mut server = SmtpServer::start(json!({})).await;
    let stage = stage().await;
    let running = run(&stage, &server).await;
    running.stop().await;
    for n in 0..8 {
        stage.publish_as(Uuid::from_u128(n + 1), "acme", &to(&[&format!("r{n}")], |_| {})).await;
    }
    // A word on a mail may be quicker than the record of its attempt: its row stands above `sent` by then.
    sqlx::query(
        "create function mailer.meanwhile() returns trigger language plpgsql as $$
         begin new.state := 'delivered'; return new; end $$",
    )
    .execute(&stage.db)
    .await
    .unwrap();
    sqlx::query(
        "create trigger meanwhile before insert on mailer.recipients for each row
         when (new.address = 'r3@example.com') execute function mailer.meanwhile()",
    )
    .execute(&stage.db)
    .await
    .unwrap();
    let running = run(&stage, &server).await;
    stage.drain().await;
    let mut found = vec![];
    for n in 0..8 {
        let report = status(&stage, Uuid::from_u128(n + 1)).await;
        found.push((report.status, report.deliveries[0].tries));
        server.next("accepted").await;
    }
    let expected = |n: usize| (if n == 3 { EmailState::Delivered } else { EmailState::Sent }, 1_u32);
    assert_eq!(found, (0..8).map(expected).collect::<Vec<_>>());
    let sent: Vec<Value> = stage.told().into_iter().filter(|told| told.name == "email_sent").map(|t| t.data).collect();
    assert_eq!(sent.len(), 8, "the server took all of them, and that is told");
    let counted: i64 =
        sqlx::query_scalar("select sum(sent)::bigint from mailer.daily").fetch_one(&stage.db).await.unwrap();
    assert_eq!(counted, 7);
    running.stop().await;
}
