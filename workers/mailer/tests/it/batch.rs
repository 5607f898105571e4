//! One mail to many, each by itself.

use omnibus_mailer::worker;
use omnibus_runtime::testing::PATIENCE;
use omnibus_schemas::Command;
use omnibus_schemas::mailer::{
    AddSuppression, BatchRecipient, BatchRows, BatchStatus, CloseBatch, EmailState, EmailStatus, ExpandBatch,
    ReadBatch, RetractEmails, SaveTemplate, SendBatch, SendBatchRow,
};
use omnibus_schemas::template::{Kind, Variable};
use serde_json::{Map, json};
use uuid::Uuid;

use crate::files::upload;
use crate::raw::listener;
use crate::scene::{done, rejected, run, run_with, stage, status, until};
use crate::server::{SmtpServer, settings};

fn to(address: &str) -> BatchRecipient {
    BatchRecipient { to: address.into(), variables: Map::new() }
}

fn batch(recipients: Vec<BatchRecipient>) -> SendBatch {
    SendBatch { recipients, stream: "transactional".into(), ..SendBatch::example() }
}

fn by_file(id: Uuid) -> SendBatch {
    SendBatch { recipients_id: Some(id), ..batch(vec![]) }
}

#[tokio::test]
async fn a_batch_is_reported_row_by_row_and_told_once_when_it_is_done() {
    let server = SmtpServer::start(json!({})).await;
    let stage = stage().await;
    let running = run(&stage, &server).await;
    done(&stage, "acme", &AddSuppression { address: "no-more@example.com".into(), stream: None }).await;
    let rows = ["a@example.com", "A@example.com", "no-more@example.com", "refuse@example.com", "b@example.com"];
    let id = done(&stage, "acme", &batch(rows.into_iter().map(to).collect())).await;
    let completed = stage.event(|told| told.name == "batch_completed").await;
    assert_eq!(
        completed.data,
        json!({ "batch_id": id, "rows": 5, "sent": 2, "rejected": 1, "suppressed": 1, "others": 1 })
    );
    let ask = BatchRows { batch_id: id, after: 0, limit: 100 };
    let rows = stage.ask("mailer", "acme", &ask).await.unwrap().rows;
    let found: Vec<_> = rows.iter().map(|row| (row.row, row.status.as_str())).collect();
    assert_eq!(found, [(1, "sent"), (2, "rejected"), (3, "suppressed"), (4, "bounced"), (5, "sent")]);
    assert!(rows[1].detail.as_ref().unwrap().contains("already"));
    let one = EmailStatus { email_id: rows[0].email_id.unwrap() };
    assert_eq!(stage.ask("mailer", "acme", &one).await.unwrap().status, EmailState::Sent);
    let page = stage.ask("mailer", "acme", &BatchRows { after: 2, limit: 2, ..ask.clone() }).await.unwrap().rows;
    assert_eq!(page.iter().map(|row| row.row).collect::<Vec<_>>(), [3, 4]);

    let report = stage.ask("mailer", "acme", &BatchStatus { batch_id: id }).await.unwrap();
    assert_eq!((report.rows, report.waiting, report.rejected), (5, 0, 1));
    assert!(report.completed_at.is_some());
    assert_eq!(stage.ask("mailer", "globex", &BatchStatus { batch_id: id }).await.unwrap_err().0, 404);
    assert!(stage.ask("mailer", "globex", &ask).await.unwrap().rows.is_empty());

    // The same command once more is the same batch.
    stage.publish_as(id, "acme", &batch(vec![to("c@example.com")])).await;
    done(&stage, "acme", &batch(vec![to("d@example.com")])).await;
    stage.event(|told| told.name == "batch_completed" && told.data["batch_id"] != id.to_string()).await;
    running.stop().await;
    assert_eq!(server.rest().await.iter().filter(|event| *event == "accepted").count(), 3);
    let times = stage
        .told()
        .iter()
        .filter(|told| told.name == "batch_completed" && told.data["batch_id"] == id.to_string())
        .count();
    assert_eq!(times, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_rows_of_a_file_are_each_sent_once() {
    let (port, mut taken) = listener().await;
    let stage = stage().await;
    let running = stage.run(worker(settings(port, &[])).unwrap()).await;
    let mut file = String::new();
    for n in 1..=10_000 {
        match n {
            5_000 => file.push_str("{\"to\": \"nonsense\"}\n"),
            7_000 => file.push_str("no line at all\n"),
            n => file.push_str(&format!("{{\"to\": \"r{n}@example.com\"}}\n")),
        }
        if n == 1_000 {
            // More than is read at once.
            file.push_str(&"\n".repeat(50_000));
        }
    }
    let uploaded = upload(&stage, "acme", "recipients.jsonl", file.as_bytes()).await;
    assert_eq!(rejected(&stage, "globex", &by_file(uploaded)).await, "unknown_attachment");
    let id = done(&stage, "acme", &by_file(uploaded)).await;
    let mut to = std::collections::HashSet::new();
    for _ in 0..9_998 {
        let text = tokio::time::timeout(PATIENCE, taken.recv()).await.unwrap().unwrap();
        let text = String::from_utf8(text).unwrap();
        let line = text.lines().find(|line| line.starts_with("To: ")).unwrap();
        assert!(to.insert(line.to_owned()), "twice: {line}");
    }
    let completed = stage.event(|told| told.name == "batch_completed").await;
    assert_eq!((&completed.data["rows"], &completed.data["sent"]), (&json!(10_000), &json!(9_998)));
    let report = stage.ask("mailer", "acme", &BatchStatus { batch_id: id }).await.unwrap();
    assert_eq!((report.rows, report.rejected, report.waiting), (10_000, 2, 0));
    assert_eq!(
        report.states.iter().map(|count| (count.status, count.rows)).collect::<Vec<_>>(),
        [(EmailState::Sent, 9_998)]
    );
    let rows = BatchRows { batch_id: id, after: 54_999, limit: 1 };
    let rows = stage.ask("mailer", "acme", &rows).await.unwrap().rows;
    assert_eq!((rows[0].row, rows[0].status.as_str(), rows[0].email_id), (55_000, "rejected", None));
    // A row is the line that it stands in.
    let rows = BatchRows { batch_id: id, after: 1_000, limit: 1 };
    let rows = stage.ask("mailer", "acme", &rows).await.unwrap().rows;
    assert_eq!((rows[0].row, rows[0].address.as_str()), (51_001, "r1001@example.com"));
    running.stop().await;
    assert!(taken.try_recv().is_err());
}

#[tokio::test]
async fn a_batch_that_makes_no_sense_is_rejected_as_a_whole() {
    let server = SmtpServer::start(json!({})).await;
    let stage = stage().await;
    let running = run(&stage, &server).await;
    let good = || batch(vec![to("a@example.com")]);
    for wrong in [
        batch(vec![]),
        SendBatch { recipients_id: Some(Uuid::nil()), ..good() },
        SendBatch { subject: None, ..good() },
        SendBatch { template: Some("welcome".into()), ..good() },
    ] {
        assert_eq!(rejected(&stage, "acme", &wrong).await, "invalid");
    }
    assert_eq!(rejected(&stage, "acme", &by_file(Uuid::nil())).await, "unknown_attachment");
    running.stop().await;
    assert!(!server.rest().await.contains(&"accepted".into()));
}

#[tokio::test]
async fn each_row_fills_the_template_with_its_own_values_and_one_that_lacks_some_says_which() {
    let mut server = SmtpServer::start(json!({})).await;
    let stage = stage().await;
    let running = run(&stage, &server).await;
    let row = |to: &str, variables: serde_json::Value| BatchRecipient {
        to: to.into(),
        variables: variables.as_object().unwrap().clone(),
    };
    let rows = vec![row("ada@example.com", json!({ "name": "Ada" })), row("bob@example.com", json!({}))];
    let letter = SaveTemplate {
        name: "letter".into(),
        subject: "Hello {{name}}".into(),
        text: "Hello {{name}}".into(),
        html: None,
        variables: vec![Variable::new("name", Kind::Text, "Whom it greets.")],
        activate: true,
    };
    done(&stage, "acme", &letter).await;
    let secret =
        SendBatch { template: Some("password_reset".into()), subject: None, body: None, ..batch(rows.clone()) };
    assert_eq!(rejected(&stage, "acme", &secret).await, "confidential_template");
    let welcome = SendBatch {
        template: Some("letter".into()),
        subject: None,
        body: None,
        stream: "marketing".into(),
        ..batch(rows)
    };
    let id = done(&stage, "acme", &welcome).await;
    let accepted = server.next("accepted").await;
    let text = accepted["text"].as_str().unwrap();
    assert!(text.contains("To: ada@example.com") && text.contains("List-Unsubscribe:"), "{text}");
    stage.event(|told| told.name == "batch_completed").await;
    let rows = stage.ask("mailer", "acme", &BatchRows { batch_id: id, after: 0, limit: 10 }).await.unwrap().rows;
    assert_eq!(rows.iter().map(|row| row.status.as_str()).collect::<Vec<_>>(), ["sent", "rejected"]);
    assert!(rows[1].detail.as_ref().unwrap().contains("name"), "{:?}", rows[1]);
    running.stop().await;
    assert!(!server.rest().await.contains(&"accepted".into()));
}

#[tokio::test]
async fn no_step_of_a_batch_shares_a_transaction_with_single_mails() {
    let server = SmtpServer::start(json!({})).await;
    let stage = stage().await;
    let running = run(&stage, &server).await;
    done(&stage, "acme", &batch(vec![to("a@example.com")])).await;
    stage.event(|told| told.name == "batch_completed").await;
    let steps: Vec<(String, String)> = sqlx::query_as("select distinct name, consumer from bus.inbox order by name")
        .fetch_all(&stage.db)
        .await
        .unwrap();
    let of = |name: &str| (name.to_owned(), "mailer_bulk".to_owned());
    assert_eq!(steps, ["close_batch", "expand_batch", "send_batch", "send_batch_row"].map(of));
    running.stop().await;
}

#[tokio::test]
async fn a_batchs_own_steps_are_its_tenants_alone_and_its_mails_can_be_taken_back() {
    let server = SmtpServer::start(json!({})).await;
    let stage = stage().await;
    let running = run(&stage, &server).await;
    let id = done(&stage, "acme", &batch(vec![to("a@example.com")])).await;
    stage.event(|told| told.name == "batch_completed").await;
    assert_eq!(rejected(&stage, "globex", &ReadBatch { batch_id: id, after: 0 }).await, "not_found");
    assert_eq!(rejected(&stage, "globex", &ExpandBatch { batch_id: id, after: 0 }).await, "not_found");
    assert_eq!(rejected(&stage, "globex", &SendBatchRow { batch_id: id, row: 1 }).await, "not_found");
    let close = CloseBatch { batch_id: id, looks: u32::MAX, at: omnibus_runtime::clock::now() };
    assert_eq!(rejected(&stage, "globex", &close).await, "not_found");
    assert_eq!(rejected(&stage, "acme", &close).await, "not_found", "it is closed already");

    // Its reason is gone before it is begun: given a minute ago, it comes now.
    done(&stage, "acme", &RetractEmails { cancel_key: "spring".into() }).await;
    let spring =
        SendBatch { cancel_key: Some("spring".into()), ..batch(vec![to("b@example.com"), to("c@example.com")]) };
    let id = omnibus_runtime::clock::new_id();
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("ce-id", id.to_string().as_str());
    let before = omnibus_runtime::clock::now() - chrono::Duration::minutes(1);
    headers.insert("ce-time", before.to_rfc3339().as_str());
    let body = serde_json::to_vec(&spring).unwrap();
    stage.publish_raw("cmd.mailer.bulk.send_batch.acme", headers, body).await;
    let completed = stage.event(|told| told.name == "batch_completed" && told.data["batch_id"] == id.to_string()).await;
    assert_eq!((&completed.data["sent"], &completed.data["others"]), (&json!(0), &json!(2)));
    running.stop().await;
    assert_eq!(server.rest().await.iter().filter(|event| *event == "accepted").count(), 1);
}

#[tokio::test]
async fn a_row_that_is_told_later_is_tried_again_in_the_lane_of_batches_as_the_mail_that_it_was() {
    let mut server = SmtpServer::start(json!({ "replies": { "dot": "451 4.3.0 later" }, "reply_times": 2 })).await;
    let stage = stage().await;
    let running = run_with(&stage, &server, &["--defer-seconds", "1"]).await;
    let letter = SaveTemplate {
        name: "letter".into(),
        subject: "Hello {{name}}".into(),
        text: "Hello {{name}}".into(),
        html: None,
        variables: vec![Variable::new("name", Kind::Text, "Whom it greets.")],
        activate: true,
    };
    done(&stage, "acme", &letter).await;
    let ada = BatchRecipient {
        to: "ada@example.com".into(),
        variables: json!({ "name": "Ada" }).as_object().unwrap().clone(),
    };
    let mail = SendBatch { template: Some("letter".into()), subject: None, body: None, ..batch(vec![ada]) };
    let id = done(&stage, "acme", &mail).await;
    let deferred = stage.event(|told| told.name == "email_deferred").await;
    let email_id: Uuid = deferred.data["email_id"].as_str().unwrap().parse().unwrap();
    // What is in use by then is not what this mail is made of.
    done(&stage, "acme", &SaveTemplate { text: "Another".into(), variables: vec![], subject: "x".into(), ..letter })
        .await;
    let report = until(|| status(&stage, email_id), |report| report.status == EmailState::Sent).await;
    assert_eq!(report.deliveries[0].tries, 3);
    let mut offered = vec![];
    for _ in 0..3 {
        offered.push(server.next("offered").await["text"].as_str().unwrap().to_owned());
    }
    assert!(offered[0].contains("Hello Ada") && offered[0].contains(&report.message_id), "{}", offered[0]);
    assert_eq!((&offered[0], &offered[1]), (&offered[1], &offered[2]));
    // By which commands it was carried: none of them is of the lane in which single mails wait.
    let carriers: Vec<(String, String)> = sqlx::query_as(
        "select consumer, name from bus.inbox
         where message_id in (select message_id from bus.attempts) order by received_at",
    )
    .fetch_all(&stage.db)
    .await
    .unwrap();
    assert_eq!(carriers, vec![("mailer_bulk".to_owned(), "send_batch_row".to_owned()); 3]);
    let rows = stage.ask("mailer", "acme", &BatchRows { batch_id: id, after: 0, limit: 10 }).await.unwrap().rows;
    assert_eq!((rows.len(), rows[0].status.as_str(), rows[0].email_id), (1, "sent", Some(email_id)));
    running.stop().await;
    assert_eq!(server.rest().await.iter().filter(|event| *event == "accepted").count(), 1);
}
