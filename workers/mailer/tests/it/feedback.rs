//! What is heard after a mail left.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use omnibus_runtime::Visit;
use omnibus_runtime::testing::Stage;
use omnibus_schemas::mailer::{
    DeliverEmail, DeliveryCause, EmailState, EmailStats, Feedback, OneClickUnsubscribe, RecordFeedback, ReturnedMail,
    SendGridEvents, SuppressionReason, Suppressions, Unsubscribe, UnsubscribePage,
};
use p256::ecdsa::signature::Signer;
use p256::ecdsa::{Signature, SigningKey};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::scene::{done, email, rejected, run, run_with, stage, states, status, told, until};
use crate::server::SmtpServer;

/// The address in a mail's List-Unsubscribe.
fn link(text: &str) -> String {
    let unfolded = text.replace("\r\n ", " ");
    let line = unfolded.lines().find(|line| line.starts_with("List-Unsubscribe: ")).unwrap().to_owned();
    let links: Vec<_> = line.match_indices('<').collect();
    assert_eq!(links.len(), 1, "{line}");
    line.split(['<', '>']).nth(1).unwrap().to_owned()
}

fn click(token: &str) -> Visit {
    Visit {
        params: [("token".to_owned(), token.to_owned())].into(),
        body: b"List-Unsubscribe=One-Click".to_vec(),
        ..Visit::default()
    }
}

#[tokio::test]
async fn one_click_unsubscribes_from_that_stream_and_looking_at_the_page_does_not() {
    let mut server = SmtpServer::start(json!({})).await;
    let stage = stage().await;
    let running = run_with(&stage, &server, &["--public-url", "https://news.example.com"]).await;
    let newsletter = email(|e| e.stream = "marketing".into());
    let id = done(&stage, "acme", &newsletter).await;
    let accepted = server.next("accepted").await;
    let text = accepted["text"].as_str().unwrap();
    assert!(text.contains("\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"), "{text}");
    let link = link(text);
    let token = link.strip_prefix("https://news.example.com/unsubscribe/").unwrap();
    assert!(!token.contains("test") && !token.contains("example"), "{token}");

    // GET, as a scanner does: a page with a form, and nothing changes.
    let page = stage.visit::<UnsubscribePage>(&click(token)).await.unwrap();
    assert_eq!(page.code(), 200);
    let (page, _) = page.into_body();
    assert!(String::from_utf8(page).unwrap().contains("<form method=\"post\">"));
    let again = done(&stage, "acme", &newsletter).await;
    assert_eq!(status(&stage, again).await.status, EmailState::Sent);

    // POST, without a cookie, twice; it is not redirected.
    for _ in 0..2 {
        let reply = stage.visit::<OneClickUnsubscribe>(&click(token)).await.unwrap();
        assert_eq!(reply.code(), 200);
        assert!(reply.headers().iter().all(|(name, _)| !name.eq_ignore_ascii_case("location")));
    }
    let unsubscribed = told(&stage, "recipient_unsubscribed", id).await;
    assert_eq!(unsubscribed.data, json!({ "email_id": id, "recipient": 0, "stream": "marketing" }));
    let later = done(&stage, "acme", &newsletter).await;
    assert_eq!(status(&stage, later).await.status, EmailState::Suppressed);
    let reset = done(&stage, "acme", &email(|_| {})).await;
    assert_eq!(status(&stage, reset).await.status, EmailState::Sent);
    let stats = EmailStats { from: None, to: None, stream: Some("marketing".into()), template: None };
    let rows = stage.ask("mailer", "acme", &stats).await.unwrap().rows;
    assert_eq!((rows[0].unsubscribed, rows[0].sent, rows[0].suppressed), (1, 2, 1));

    let forged = format!("{}A", &token[..token.len() - 1]);
    for token in ["", "nonsense", forged.as_str()] {
        assert_eq!(stage.visit::<OneClickUnsubscribe>(&click(token)).await.unwrap_err().0, 404);
        assert_eq!(stage.visit::<UnsubscribePage>(&click(token)).await.unwrap_err().0, 404);
    }
    running.stop().await;
}

/// What stands before the point in a public key of this curve, as DER.
const P256: &[u8] =
    b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00";

struct SendGrid {
    key: SigningKey,
}

impl SendGrid {
    fn new() -> Self {
        SendGrid { key: SigningKey::from_slice(&[7; 32]).unwrap() }
    }

    fn public(&self) -> String {
        let point = self.key.verifying_key().to_encoded_point(false);
        STANDARD.encode([P256, point.as_bytes()].concat())
    }

    /// A signed post of these events.
    fn post(&self, events: &Value) -> Visit {
        let (timestamp, body) = ("1700000000", serde_json::to_vec(events).unwrap());
        let signature: Signature = self.key.sign(&[timestamp.as_bytes(), &body].concat());
        let headers = [
            ("x-twilio-email-event-webhook-signature".to_owned(), STANDARD.encode(signature.to_der())),
            ("x-twilio-email-event-webhook-timestamp".to_owned(), timestamp.to_owned()),
        ];
        Visit { headers: headers.into(), body, ..Visit::default() }
    }
}

fn event(name: &str, email_id: Uuid, id: &str, more: Value) -> Value {
    let mut event = json!({
        "event": name, "email": "test@example.com", "timestamp": 1_700_000_000, "sg_event_id": id,
        "omnibus_tenant": "acme", "omnibus_email": email_id,
    });
    event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    event
}

async fn at(stage: &Stage, id: Uuid, wanted: EmailState) {
    until(|| status(stage, id), |report| report.status == wanted).await;
}

#[tokio::test]
async fn a_providers_events_count_once_in_any_order_and_only_if_they_are_signed() {
    let server = SmtpServer::start(json!({})).await;
    let (stage, sendgrid) = (stage().await, SendGrid::new());
    let running = run_with(&stage, &server, &["--sendgrid-webhook-key", &sendgrid.public()]).await;
    let id = done(&stage, "acme", &email(|_| {})).await;

    let delivered = json!([event("delivered", id, "one", json!({}))]);
    let mut forged = sendgrid.post(&delivered);
    forged.body.extend_from_slice(b"\r\n");
    assert_eq!(stage.visit::<SendGridEvents>(&forged).await.unwrap().code(), 401);
    let unsigned = Visit { headers: Default::default(), ..sendgrid.post(&delivered) };
    assert_eq!(stage.visit::<SendGridEvents>(&unsigned).await.unwrap().code(), 401);
    assert_eq!(stage.visit::<SendGridEvents>(&sendgrid.post(&json!("no list"))).await.unwrap().code(), 400);
    assert_eq!(status(&stage, id).await.status, EmailState::Sent);

    for _ in 0..2 {
        assert_eq!(stage.visit::<SendGridEvents>(&sendgrid.post(&delivered)).await.unwrap().code(), 200);
    }
    at(&stage, id, EmailState::Delivered).await;
    // What comes late and is less than what is known changes nothing; what is known better does.
    let bounce = json!({ "reason": "550 5.1.1 <test@example.com> gone", "status": "5.1.1", "type": "bounce" });
    let events = json!([
        event("processed", id, "two", json!({})),
        event("deferred", id, "three", json!({ "response": "450 later" })),
        event("open", id, "four", json!({})),
        event("bounce", id, "five", bounce),
    ]);
    assert_eq!(stage.visit::<SendGridEvents>(&sendgrid.post(&events)).await.unwrap().code(), 200);
    at(&stage, id, EmailState::Bounced).await;
    let bounced = told(&stage, "email_bounced", id).await;
    assert_eq!(bounced.data["hard"], true);
    assert!(!bounced.data.to_string().contains('@'), "{bounced:?}");
    let late = json!([event("delivered", id, "six", json!({})), event("spamreport", id, "seven", json!({}))]);
    stage.visit::<SendGridEvents>(&sendgrid.post(&late)).await.unwrap();
    at(&stage, id, EmailState::Complained).await;
    assert_eq!(stage.told().iter().filter(|told| told.name == "email_delivered").count(), 1);
    assert_eq!(told(&stage, "email_complained", id).await.data["recipient"], 0);
    // One command for each event that means something: what was posted twice is known by its `sg_event_id`.
    until(|| stage.lane("mailer", "feedback"), |lane| *lane == (0, 0)).await;
    let booked: i64 = sqlx::query_scalar("select count(*) from bus.inbox where name = 'record_feedback'")
        .fetch_one(&stage.db)
        .await
        .unwrap();
    assert_eq!(booked, 5);

    let rows = stage
        .ask("mailer", "acme", &EmailStats { from: None, to: None, stream: None, template: None })
        .await
        .unwrap()
        .rows;
    let sum = |count: fn(&omnibus_schemas::mailer::StatsRow) -> u64| rows.iter().map(count).sum::<u64>();
    assert_eq!((sum(|r| r.queued), sum(|r| r.sent), sum(|r| r.delivered)), (1, 1, 1));
    assert_eq!((sum(|r| r.bounced), sum(|r| r.complained)), (1, 1));

    let list = Suppressions { address: Some("test@example.com".into()), after: None, limit: 10 };
    let list = stage.ask("mailer", "acme", &list).await.unwrap().suppressions;
    let found: Vec<_> = list.iter().map(|entry| (entry.stream.as_deref(), entry.reason)).collect();
    assert_eq!(found, [(None, SuppressionReason::Bounced), (Some("transactional"), SuppressionReason::Complained)]);
    running.stop().await;
}

fn returned(message_id: &str, action: &str, status: &str) -> Vec<u8> {
    format!(
        "From: MAILER-DAEMON@mx.example.net\r\nSubject: Undelivered\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/report; report-type=delivery-status; boundary=\"b\"\r\n\r\n\
         --b\r\nContent-Type: text/plain\r\n\r\nSorry.\r\n\
         --b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.example.net\r\n\r\n\
         Final-Recipient: rfc822; test@example.com\r\nAction: {action}\r\nStatus: {status}\r\n\r\n\
         --b\r\nContent-Type: message/rfc822\r\n\r\nMessage-ID: {message_id}\r\nSubject: Test\r\n\r\nHello\r\n--b--\r\n"
    )
    .into_bytes()
}

#[tokio::test]
async fn a_returned_mail_is_booked_to_its_recipient_once() {
    let server = SmtpServer::start(json!({})).await;
    let stage = stage().await;
    let running = run_with(&stage, &server, &["--returned-mail-secret", "open-sesame"]).await;
    let id = done(&stage, "acme", &email(|_| {})).await;
    let message_id = status(&stage, id).await.message_id;
    let post = |secret: &str, body: Vec<u8>| Visit {
        params: [("secret".to_owned(), secret.to_owned())].into(),
        body,
        ..Visit::default()
    };
    let bounce = returned(&message_id, "failed", "5.1.1");
    assert_eq!(stage.visit::<ReturnedMail>(&post("guess", bounce.clone())).await.unwrap_err().0, 404);
    for body in [b"Subject: Out of office\r\n\r\nBye\r\n".to_vec(), returned("<none@example.com>", "failed", "5.1.1")] {
        assert_eq!(stage.visit::<ReturnedMail>(&post("open-sesame", body)).await.unwrap().code(), 200);
    }
    assert_eq!(status(&stage, id).await.status, EmailState::Sent);
    for _ in 0..2 {
        assert_eq!(stage.visit::<ReturnedMail>(&post("open-sesame", bounce.clone())).await.unwrap().code(), 200);
    }
    at(&stage, id, EmailState::Bounced).await;
    assert_eq!(states(&status(&stage, id).await), [EmailState::Bounced]);
    assert_eq!(told(&stage, "email_bounced", id).await.data["hard"], true);
    let later = done(&stage, "acme", &email(|_| {})).await;
    assert_eq!(status(&stage, later).await.status, EmailState::Suppressed);
    running.stop().await;
}

#[tokio::test]
async fn webhooks_that_are_not_set_up_are_closed() {
    let server = SmtpServer::start(json!({})).await;
    let stage = stage().await;
    let running = run(&stage, &server).await;
    let sendgrid = SendGrid::new();
    assert_eq!(stage.visit::<SendGridEvents>(&sendgrid.post(&json!([]))).await.unwrap_err().0, 404);
    let post = Visit { params: [("secret".to_owned(), String::new())].into(), ..Visit::default() };
    assert_eq!(stage.visit::<ReturnedMail>(&post).await.unwrap_err().0, 404);
    running.stop().await;
}

#[tokio::test]
async fn nobody_tells_of_another_tenants_mail() {
    let server = SmtpServer::start(json!({})).await;
    let stage = stage().await;
    let running = run(&stage, &server).await;
    let id = done(&stage, "acme", &email(|e| e.stream = "marketing".into())).await;
    let bounce = RecordFeedback {
        email_id: id,
        address: "test@example.com".into(),
        what: Feedback::Bounced,
        hard: true,
        detail: None,
        at: omnibus_runtime::clock::now(),
    };
    assert_eq!(rejected(&stage, "globex", &bounce).await, "not_found");
    assert_eq!(rejected(&stage, "globex", &Unsubscribe { email_id: id, recipient: 0 }).await, "not_found");
    // Nor does a follow-up of somebody else's let it leave once more.
    let again = DeliverEmail { email_id: id, email: email(|_| {}), only: vec![], cause: DeliveryCause::Due };
    let again = stage.publish("globex", &again).await;
    stage.outcome(again).await;
    assert_eq!(states(&status(&stage, id).await), [EmailState::Sent]);
    let all = Suppressions { address: None, after: None, limit: 10 };
    for tenant in ["acme", "globex"] {
        assert!(stage.ask("mailer", tenant, &all).await.unwrap().suppressions.is_empty());
    }
    running.stop().await;
    assert_eq!(server.rest().await.iter().filter(|event| *event == "accepted").count(), 1);
}
