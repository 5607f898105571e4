//! The whole worker: command in, mail out, event back, on a real bus and a real database.

use std::time::Duration;

use omnibus_mailer::worker;
use omnibus_runtime::settings::WorkSettings;
use omnibus_runtime::testing::Stage;
use omnibus_schemas::mailer::{EmailState, EmailStatus, SendEmail};
use omnibus_schemas::platform::{Outcome, Resolution, ResolveHeld};
use omnibus_schemas::{Catalogue, Command};
use serde_json::json;
use uuid::Uuid;

use crate::scene::{email, run, stage, status};
use crate::server::{SmtpServer, folder_settings, nobody, settings};

/// What people try first.
const FIRST_BODY: &str = r#"{"to": ["test@example.com"], "subject": "Test", "body": "Hello"}"#;

pub(crate) async fn resolve(stage: &Stage, id: Uuid, resolution: Resolution) {
    let decision = ResolveHeld { command_id: id, resolution, note: "looked into the server's log".into() };
    let entry = stage.catalogue().commands().find(|c| c.domain == "mailer" && c.name == "resolve_held").unwrap();
    let body = serde_json::to_vec(&decision).unwrap();
    stage.publish_raw(&entry.subject("acme"), Default::default(), body).await;
}

#[tokio::test]
async fn the_first_body_that_people_try_arrives_without_one_header() {
    let mut server = SmtpServer::start(json!({})).await;
    let stage = stage().await;
    let running = run(&stage, &server).await;
    let body = FIRST_BODY;
    stage.publish_raw("cmd.mailer.default.send_email.acme", Default::default(), body).await;

    let accepted = server.next("accepted").await;
    assert_eq!((&accepted["from"], &accepted["to"]), (&json!("office@example.com"), &json!(["test@example.com"])));
    let text = accepted["text"].as_str().unwrap();
    assert!(text.contains("Subject: Test\r\n") && text.ends_with("\r\n\r\nHello\r\n"), "{text}");

    let sent = stage.event(|told| told.name == "email_sent").await;
    assert_eq!((sent.tenant.as_str(), sent.outcome), ("acme", Some(Outcome::Succeeded)));
    assert_eq!((&sent.data["recipients"], &sent.data["transport"]), (&json!(1), &json!("smtp")));
    let message_id = sent.data["message_id"].as_str().unwrap();
    assert!(text.contains(&format!("Message-ID: {message_id}\r\n")), "{text}");

    let id: Uuid = sent.data["email_id"].as_str().unwrap().parse().unwrap();
    assert!(message_id.starts_with(&format!("<{id}-")), "{message_id} is not derived from {id}");
    let told: Vec<_> = stage.caused_by(id).into_iter().map(|told| told.name).collect();
    assert_eq!(told, ["email_queued", "email_sent"]);
    let report = status(&stage, id).await;
    assert_eq!((report.status, report.recipients, report.detail.as_deref()), (EmailState::Sent, 1, None));
    assert!(report.sent_at.is_some());
    let foreign = stage.ask("mailer", "globex", &EmailStatus { email_id: id }).await;
    assert_eq!(foreign.unwrap_err().0, 404);
    running.stop().await;
}

/// A mail's file is named by the left part of its Message-ID.
fn file_of(sent: &omnibus_runtime::testing::Told) -> String {
    let message_id = sent.data["message_id"].as_str().unwrap();
    format!("{}.eml", message_id.trim_start_matches('<').split('@').next().unwrap())
}

#[tokio::test]
async fn two_tenants_that_choose_the_same_id_have_two_mails() {
    let dir = tempfile::tempdir().unwrap();
    let stage = stage().await;
    let running = stage.run(worker(folder_settings(dir.path())).unwrap()).await;
    let id = stage.publish("acme", &email(|e| e.body = "for acme".into())).await;
    stage.publish_raw("cmd.mailer.default.send_email.globex", same_id(id), FIRST_BODY).await;
    let acme = stage.event(|told| told.tenant == "acme" && told.name == "email_sent").await;
    let globex = stage.event(|told| told.tenant == "globex" && told.name == "email_sent").await;
    assert_ne!(acme.data["message_id"], globex.data["message_id"]);
    let text = |told| std::fs::read_to_string(dir.path().join(file_of(told))).unwrap();
    assert!(text(&acme).contains("for acme") && text(&globex).contains("Hello"));
    running.stop().await;
}

fn same_id(id: uuid::Uuid) -> async_nats::HeaderMap {
    let mut map = async_nats::HeaderMap::new();
    map.insert("ce-id", id.to_string().as_str());
    map
}

#[tokio::test]
async fn without_a_server_the_mail_is_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let stage = stage().await;
    let running = stage.run(worker(folder_settings(dir.path())).unwrap()).await;
    let id = stage.publish("acme", &email(|e| e.html = Some("<b>Hello</b>".into()))).await;
    let sent = stage.outcome(id).await;
    assert_eq!((sent.name.as_str(), &sent.data["transport"]), ("email_sent", &json!("file")));
    let text = std::fs::read_to_string(dir.path().join(file_of(&sent))).unwrap();
    assert!(text.contains("To: test@example.com\r\n") && text.contains("<b>Hello</b>"), "{text}");
    assert_eq!(status(&stage, id).await.status, EmailState::Sent);
    running.stop().await;
}

#[tokio::test]
async fn what_may_have_left_is_held_and_not_sent_again() {
    let mut server = SmtpServer::start(json!({ "cut": "dot", "times": 1 })).await;
    let stage = stage().await;
    let running = run(&stage, &server).await;
    let id = stage.publish("acme", &SendEmail::example()).await;
    let held = stage.outcome(id).await;
    assert_eq!((held.name.as_str(), held.outcome), ("command_held", Some(Outcome::Held)));
    let uncertain = stage.event(|told| told.name == "email_uncertain").await;
    assert_eq!(uncertain.data["email_id"], id.to_string());
    server.next("accepted").await;
    assert_eq!(status(&stage, id).await.status, EmailState::Uncertain);

    // The same command once more, and another after it: only the other one is sent.
    stage.publish_as(id, "acme", &SendEmail::example()).await;
    let other = stage.publish("acme", &email(|e| e.subject = "Other".into())).await;
    assert_eq!(stage.outcome(other).await.name, "email_sent");
    let accepted = server.next("accepted").await;
    assert!(accepted["text"].as_str().unwrap().contains("Subject: Other\r\n"));

    resolve(&stage, id, Resolution::Happened).await;
    stage.event(|told| told.name == "command_resolved").await;
    let report = status(&stage, id).await;
    assert_eq!((report.status, report.sent_at), (EmailState::Sent, None));
    assert_eq!(report.deliveries[0].tries, 1, "what a person says is no attempt");
    assert!(stage.told().iter().any(|told| told.name == "email_sent" && told.data["email_id"] == id.to_string()));
    running.stop().await;
    assert!(!server.rest().await.contains(&"accepted".into()));
}

#[tokio::test]
async fn a_held_mail_that_is_to_be_performed_again_is_the_same_mail() {
    let mut server = SmtpServer::start(json!({ "cut": "dot", "times": 1 })).await;
    let stage = stage().await;
    let running = run(&stage, &server).await;
    let id = stage.publish("acme", &email(|e| e.html = Some("<p>Hello</p>".into()))).await;
    stage.outcome(id).await;
    let first = server.next("accepted").await;
    resolve(&stage, id, Resolution::Perform).await;
    let second = server.next("accepted").await;
    assert_eq!(first["text"], second["text"]);
    stage.event(|told| told.name == "email_sent").await;
    assert_eq!(status(&stage, id).await.status, EmailState::Sent);
    running.stop().await;
}

#[tokio::test]
async fn a_held_mail_that_is_let_go_has_failed() {
    let server = SmtpServer::start(json!({ "cut": "dot" })).await;
    let stage = stage().await;
    let running = run(&stage, &server).await;
    let id = stage.publish("acme", &SendEmail::example()).await;
    stage.outcome(id).await;
    resolve(&stage, id, Resolution::Drop).await;
    let failed = stage.event(|told| told.name == "email_failed").await;
    assert_eq!(failed.data["code"], "dropped");
    assert_eq!(status(&stage, id).await.status, EmailState::Failed);
    running.stop().await;
}

#[tokio::test]
async fn what_has_not_left_is_sent_again_as_the_same_bytes() {
    // Twice the server hangs up with a word that says it has not taken the mail.
    let options = json!({ "replies": { "dot": "421 4.3.2 closing" }, "reply_times": 2 });
    let mut server = SmtpServer::start(options).await;
    let stage = stage().await;
    let running = run(&stage, &server).await;
    let id = stage.publish("acme", &email(|e| e.html = Some("<p>Hello</p>".into()))).await;
    assert_eq!(stage.outcome(id).await.name, "email_sent");
    let mut offered = vec![];
    for _ in 0..3 {
        offered.push(server.next("offered").await["text"].as_str().unwrap().to_owned());
    }
    assert_eq!((&offered[0], &offered[1]), (&offered[1], &offered[2]));
    let message_id = status(&stage, id).await.message_id;
    assert!(offered[0].contains(&format!("\r\nMessage-ID: {message_id}\r\n")), "{}", offered[0]);
    let attempts: Vec<Option<String>> =
        sqlx::query_scalar("select result from bus.attempts where message_id = $1 order by number")
            .bind(id)
            .fetch_all(&stage.db)
            .await
            .unwrap();
    assert_eq!(attempts, ["not_done", "not_done", "done"].map(|result| Some(result.to_owned())));
    running.stop().await;
    assert_eq!(server.rest().await.iter().filter(|event| *event == "accepted").count(), 1);
}

#[tokio::test]
async fn one_command_is_one_mail_however_often_it_comes() {
    let server = SmtpServer::start(json!({})).await;
    let stage = stage().await;
    let running = run(&stage, &server).await;
    let id = stage.publish("acme", &SendEmail::example()).await;
    stage.outcome(id).await;
    // With another envelope, so that the bus does not drop it as a duplicate.
    for _ in 0..3 {
        stage.publish_raw("cmd.mailer.default.send_email.acme", same_id(id), FIRST_BODY).await;
    }
    let last = stage.publish("acme", &SendEmail::example()).await;
    stage.outcome(last).await;
    running.stop().await;
    assert_eq!(server.rest().await.iter().filter(|event| *event == "accepted").count(), 2);
}

#[tokio::test]
async fn a_refused_mail_has_failed_and_the_address_is_not_repeated() {
    let server = SmtpServer::start(json!({})).await;
    let stage = stage().await;
    let running = run(&stage, &server).await;
    let id = stage.publish("acme", &email(|e| e.to = vec!["refuse.me@example.com".into()])).await;
    assert_eq!(stage.outcome(id).await.outcome, Some(Outcome::Rejected));
    let failed = stage.event(|told| told.name == "email_failed").await;
    assert_eq!(failed.data["code"], "refused");
    let report = status(&stage, id).await;
    assert_eq!((report.status, report.recipients), (EmailState::Failed, 1));
    assert!(report.detail.unwrap().contains("550 5.1.1 <address>"));
    assert!(stage.told().iter().all(|told| !told.data.to_string().contains("refuse.me")));
    running.stop().await;
}

#[tokio::test]
async fn a_partly_refused_mail_is_sent_and_says_so() {
    let server = SmtpServer::start(json!({})).await;
    let stage = stage().await;
    let running = run(&stage, &server).await;
    let id = stage.publish("acme", &email(|e| e.cc = vec!["refuse.me@example.com".into()])).await;
    let sent = stage.outcome(id).await;
    assert_eq!((&sent.data["recipients"], &sent.data["refused"]), (&json!(2), &json!(1)));
    let report = status(&stage, id).await;
    assert_eq!(report.detail.as_deref(), Some("1 of 2 recipients were refused: 550 5.1.1 <address> no such user"));
    running.stop().await;
}

#[tokio::test]
async fn a_mail_that_could_not_be_sent_at_all_is_given_up_as_a_dead_letter() {
    let stage = stage().await;
    let once = WorkSettings { attempts: Some(1), ..WorkSettings::defaults() };
    let running = stage.run_with(worker(settings(nobody(), &[])).unwrap(), once).await;
    let id = stage.publish("acme", &SendEmail::example()).await;
    assert_eq!(stage.outcome(id).await.outcome, Some(Outcome::DeadLettered));
    let failed = stage.event(|told| told.name == "email_failed").await;
    assert_eq!(failed.data["code"], "gave_up");
    assert_eq!(status(&stage, id).await.status, EmailState::Failed);
    running.stop().await;
}

#[tokio::test]
async fn what_may_not_be_sent_is_rejected_and_nothing_leaves() {
    let server = SmtpServer::start(json!({})).await;
    let stage = stage().await;
    let running = run(&stage, &server).await;
    let foreign = stage.publish("acme", &email(|e| e.from = Some("ceo@bank.example".into()))).await;
    assert_eq!(stage.outcome(foreign).await.data["code"], "sender_not_allowed");
    assert_eq!(status(&stage, foreign).await.status, EmailState::Failed);
    for injection in [
        email(|e| e.subject = "Hi\r\nBcc: x@example.com".into()),
        email(|e| e.headers = [("X-A".into(), "1\r\nBcc: x@example.com".into())].into()),
        email(|e| e.from_name = Some("A\nBcc: x@example.com".into())),
        email(|e| e.headers = [("Message-ID".into(), "<mine@example.com>".into())].into()),
    ] {
        let id = stage.publish("acme", &injection).await;
        let rejected = stage.outcome(id).await;
        assert_eq!((rejected.outcome, &rejected.data["code"]), (Some(Outcome::Rejected), &json!("invalid")));
    }
    running.stop().await;
    assert!(!server.rest().await.contains(&"accepted".into()));
}

#[tokio::test]
async fn a_second_mail_can_not_be_smuggled_in_a_body() {
    let mut server = SmtpServer::start(json!({})).await;
    let stage = stage().await;
    let running = run(&stage, &server).await;
    for dot in ["\n.\n", "\r.\r", "\r\n.\n", "\n.\r\n", "\r\n.\r\n"] {
        let smuggled = format!("Hello{dot}MAIL FROM:<a@example.com>{dot}RCPT TO:<b@example.com>\r\nDATA");
        let id = stage.publish("acme", &email(|e| e.body = smuggled.clone())).await;
        assert_eq!(stage.outcome(id).await.name, "email_sent");
        let accepted = server.next("accepted").await;
        assert_eq!(accepted["to"], json!(["test@example.com"]));
        let text = accepted["text"].as_str().unwrap();
        assert!(text.ends_with("RCPT TO:<b@example.com>\r\nDATA\r\n"), "{dot:?}: {text}");
    }
    running.stop().await;
    assert!(!server.rest().await.contains(&"accepted".into()));
}

#[tokio::test]
async fn a_silent_server_does_not_stop_the_others() {
    let mut server = SmtpServer::start(json!({ "stall": "dot", "times": 1 })).await;
    let stage = stage().await;
    let running = stage.run(worker(server.settings(&["--smtp-timeout", "10"])).unwrap()).await;
    let stalled = stage.publish("acme", &SendEmail::example()).await;
    server.next("accepted").await;
    let other = stage.publish("acme", &SendEmail::example()).await;
    let sent = tokio::time::timeout(Duration::from_secs(120), stage.outcome(other)).await.unwrap();
    assert_eq!(sent.name, "email_sent");
    assert_eq!(stage.outcome(stalled).await.outcome, Some(Outcome::Held));
    running.stop().await;
}

#[test]
fn all_of_the_domain_is_handled() {
    assert_eq!(worker(settings(25, &[])).unwrap().unhandled(&Catalogue::omnibus()), [""; 0]);
}
