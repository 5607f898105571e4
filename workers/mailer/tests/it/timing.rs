//! When a mail leaves, and how it is taken back before.

use chrono::{Duration, Utc};
use omnibus_runtime::clock;
use omnibus_runtime::testing::Stage;
use omnibus_schemas::Command;
use omnibus_schemas::mailer::{
    AddSuppression, CancelEmail, EmailState, EmailStats, EmailStatus, RetractEmails, SendTemplate, StatsRow,
};
use serde_json::json;

use crate::scene::{done, email, rejected, run, run_with, stage, states, status, told, until};
use crate::server::SmtpServer;

/// Long enough for what is to be done before a mail leaves, on a busy machine too.
const HEAD_START: i64 = 20;

fn in_seconds(seconds: i64) -> chrono::DateTime<Utc> {
    clock::now() + Duration::seconds(seconds)
}

#[tokio::test]
async fn a_mail_waits_for_its_time_and_suppressions_hold_when_it_leaves() {
    let mut server = SmtpServer::start(json!({})).await;
    let stage = stage().await;
    let running = run(&stage, &server).await;
    let at = in_seconds(HEAD_START);
    let to = |to: &str| {
        email(|e| {
            e.to = vec![to.into()];
            e.send_at = Some(at);
        })
    };
    let (kept, dropped) =
        (stage.publish("acme", &to("a@example.com")).await, stage.publish("acme", &to("b@example.com")).await);
    for id in [kept, dropped] {
        let queued = stage.outcome(id).await;
        assert_eq!(
            (queued.name.as_str(), queued.data["email_id"].as_str()),
            ("email_queued", Some(id.to_string().as_str()))
        );
        assert_eq!(status(&stage, id).await.status, EmailState::Queued);
    }
    // Queued before, suppressed before it leaves: it does not.
    done(&stage, "acme", &AddSuppression { address: "b@example.com".into(), stream: None }).await;
    assert_eq!(server.next("accepted").await["to"], json!(["a@example.com"]));
    assert!(clock::now() >= at);
    let report = until(|| status(&stage, kept), |report| report.status == EmailState::Sent).await;
    assert!(report.sent_at.unwrap() >= at);
    told(&stage, "email_suppressed", dropped).await;
    running.stop().await;
    assert!(!server.rest().await.contains(&"accepted".into()));
}

/// Over all days and streams.
async fn counted(stage: &Stage, template: Option<&str>, count: fn(&StatsRow) -> u64) -> u64 {
    let ask = EmailStats { from: None, to: None, stream: None, template: template.map(str::to_owned) };
    stage.ask("mailer", "acme", &ask).await.unwrap().rows.iter().map(count).sum()
}

#[tokio::test]
async fn a_mail_from_a_template_waits_for_its_time_too_and_counts_as_that_templates() {
    let mut server = SmtpServer::start(json!({})).await;
    let stage = stage().await;
    let running = run(&stage, &server).await;
    let welcome = SendTemplate {
        template: "welcome".into(),
        variables: json!({ "action_url": "https://example.com/begin" }).as_object().unwrap().clone(),
        send_at: Some(in_seconds(HEAD_START)),
        ..SendTemplate::example()
    };
    let id = done(&stage, "acme", &welcome).await;
    assert_eq!(status(&stage, id).await.status, EmailState::Queued);
    let accepted = server.next("accepted").await;
    let text = accepted["text"].as_str().unwrap().replace("=\r\n", "");
    assert!(text.contains("https://example.com/begin"), "{text}");
    until(|| status(&stage, id), |report| report.status == EmailState::Sent).await;
    assert_eq!(counted(&stage, Some("welcome"), |row| row.queued).await, 1);
    assert_eq!(counted(&stage, Some("welcome"), |row| row.sent).await, 1);
    running.stop().await;
}

#[tokio::test]
async fn a_time_on_the_recipients_clocks_is_understood_or_refused_by_its_field() {
    let server = SmtpServer::start(json!({})).await;
    let stage = stage().await;
    let running = run(&stage, &server).await;
    let local = |zone: &str| {
        email(|e| {
            e.send_at_local = Some((clock::now() + Duration::days(30)).format("%Y-%m-%dT09:00").to_string());
            e.time_zone = Some(zone.into());
        })
    };
    let id = done(&stage, "acme", &local("Asia/Kolkata")).await;
    let at = status(&stage, id).await.send_at.unwrap();
    assert_eq!(at.format("%H:%M").to_string(), "03:30");
    assert_eq!(rejected(&stage, "acme", &local("Mars/Olympus")).await, "invalid");
    running.stop().await;
}

#[tokio::test]
async fn a_mail_can_be_taken_back_until_it_leaves_and_by_its_own_tenant_only() {
    let server = SmtpServer::start(json!({})).await;
    let stage = stage().await;
    let running = run(&stage, &server).await;
    let at = in_seconds(HEAD_START);
    let id = done(&stage, "acme", &email(|e| e.send_at = Some(at))).await;
    let cancel = CancelEmail { email_id: id };
    assert_eq!(rejected(&stage, "globex", &cancel).await, "not_found");
    done(&stage, "acme", &cancel).await;
    assert_eq!(told(&stage, "email_cancelled", id).await.data["recipients"], 1);
    assert_eq!(states(&status(&stage, id).await), [EmailState::Cancelled]);
    assert_eq!(rejected(&stage, "acme", &cancel).await, "already_left");

    // Its time comes, and nothing leaves.
    let after = done(&stage, "acme", &email(|e| e.send_at = Some(at + Duration::seconds(1)))).await;
    until(|| status(&stage, after), |report| report.status == EmailState::Sent).await;
    assert_eq!(rejected(&stage, "acme", &CancelEmail { email_id: after }).await, "already_left");
    assert_eq!(counted(&stage, None, |row| row.cancelled).await, 1);
    running.stop().await;
    assert_eq!(server.rest().await.iter().filter(|event| *event == "accepted").count(), 1);
}

#[tokio::test]
async fn when_the_reason_is_gone_all_mails_about_it_are_taken_back() {
    let server = SmtpServer::start(json!({})).await;
    let stage = stage().await;
    let running = run(&stage, &server).await;
    let about = |key: &str| {
        email(|e| {
            e.cancel_key = Some(key.into());
            e.send_at = Some(in_seconds(600));
        })
    };
    let mut ids = vec![];
    for key in ["invoice-1", "invoice-1", "invoice-2"] {
        ids.push(done(&stage, "acme", &about(key)).await);
    }
    let foreign = done(&stage, "globex", &about("invoice-1")).await;
    done(&stage, "acme", &RetractEmails { cancel_key: "invoice-1".into() }).await;
    let mut found = vec![];
    for id in ids {
        found.push(status(&stage, id).await.status);
    }
    assert_eq!(found, [EmailState::Cancelled, EmailState::Cancelled, EmailState::Queued]);
    let foreign = stage.ask("mailer", "globex", &EmailStatus { email_id: foreign }).await.unwrap();
    assert_eq!(foreign.status, EmailState::Queued);
    running.stop().await;
}

#[tokio::test]
async fn a_mail_with_a_secret_can_not_be_put_off() {
    let server = SmtpServer::start(json!({})).await;
    let stage = stage().await;
    let running = run(&stage, &server).await;
    let secret = email(|e| (e.confidential, e.send_at) = (true, Some(in_seconds(60))));
    assert_eq!(rejected(&stage, "acme", &secret).await, "invalid");
    running.stop().await;
}

#[tokio::test]
async fn what_is_leaving_just_now_can_not_be_taken_back() {
    let mut server = SmtpServer::start(json!({ "stall": "dot", "times": 1 })).await;
    let stage = stage().await;
    let running = run(&stage, &server).await;
    let id = stage.publish("acme", &email(|_| {})).await;
    server.next("accepted").await;
    assert_eq!(rejected(&stage, "acme", &CancelEmail { email_id: id }).await, "leaving");
    stage.outcome(id).await;
    assert_eq!(status(&stage, id).await.status, EmailState::Uncertain);
    assert_eq!(counted(&stage, None, |row| row.uncertain).await, 1);
    running.stop().await;
}

#[tokio::test]
async fn what_is_tried_again_or_not_made_yet_is_taken_back_too() {
    let mut server = SmtpServer::start(json!({})).await;
    let stage = stage().await;
    let running = run_with(&stage, &server, &["--defer-seconds", "20"]).await;
    let about = |to: &str| {
        email(|e| {
            e.to = vec![to.into()];
            e.cancel_key = Some("invoice-7".into());
        })
    };
    // Told "later": what is left of it waits for its follow-up.
    let deferred = stage.publish("acme", &about("defer@example.com")).await;
    told(&stage, "email_deferred", deferred).await;
    let retract = stage.publish("acme", &RetractEmails { cancel_key: "invoice-7".into() }).await;
    stage.outcome(retract).await;
    assert_eq!(status(&stage, deferred).await.status, EmailState::Cancelled);
    // Its reason is gone, and its command only comes now: it was given before.
    let late = omnibus_runtime::clock::new_id();
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("ce-id", late.to_string().as_str());
    headers.insert("ce-time", (clock::now() - Duration::minutes(1)).to_rfc3339().as_str());
    let body = serde_json::to_vec(&about("late@example.com")).unwrap();
    stage.publish_raw("cmd.mailer.default.send_email.acme", headers, body).await;
    assert_eq!(told(&stage, "email_cancelled", late).await.data["recipients"], 1);
    // Given afterwards, it is a new reason; and another tenant's is its own.
    let again = done(&stage, "acme", &about("again@example.com")).await;
    assert_eq!(status(&stage, again).await.status, EmailState::Sent);
    done(&stage, "globex", &about("other@example.com")).await;
    for to in ["again@example.com", "other@example.com"] {
        assert_eq!(server.next("accepted").await["to"], json!([to]));
    }
    // The follow-up's time has come when a later one's has.
    let after = done(&stage, "acme", &email(|e| e.send_at = Some(in_seconds(24)))).await;
    until(|| status(&stage, after), |report| report.status == EmailState::Sent).await;
    running.stop().await;
    assert_eq!(server.rest().await.iter().filter(|event| *event == "accepted").count(), 1);
}
