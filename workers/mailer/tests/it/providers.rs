//! By which way a mail leaves, and when another is tried.

use omnibus_mailer::worker;
use omnibus_runtime::testing::{Running, Stage};
use omnibus_schemas::mailer::{Attachment, EmailState, MailRoutes, Provider, PutMailRoute, SendEmail};
use omnibus_schemas::platform::Outcome;
use serde_json::json;

use crate::fake_sendgrid::{FakeSendGrid, KEY, Mood};
use crate::scene::{done, email, rejected, stage, status, told};
use crate::server::{SmtpServer, nobody, settings};

fn args<'a>(sendgrid: &'a FakeSendGrid, key: &'a str) -> Vec<&'a str> {
    vec!["--sendgrid-url", &sendgrid.url, "--sendgrid-api-key", key, "--smtp-timeout", "10"]
}

async fn run(stage: &Stage, port: u16, sendgrid: &FakeSendGrid, more: &[&str]) -> Running {
    let args = [args(sendgrid, KEY), more.to_vec()].concat();
    stage.run(worker(settings(port, &args)).unwrap()).await
}

#[tokio::test]
async fn what_has_certainly_not_left_by_one_provider_leaves_by_the_next() {
    let (stage, sendgrid) = (stage().await, FakeSendGrid::start(&[]).await);
    let running = run(&stage, nobody(), &sendgrid, &[]).await;
    let id = done(&stage, "acme", &email(|_| {})).await;
    let report = status(&stage, id).await;
    assert_eq!((report.status, report.transport.as_deref()), (EmailState::Sent, Some("sendgrid")));
    let taken = sendgrid.taken();
    assert_eq!(taken.len(), 1);
    assert_eq!(taken[0]["headers"]["Message-ID"], report.message_id);
    assert_eq!(taken[0]["custom_args"], json!({ "omnibus_tenant": "acme", "omnibus_email": id }));
    running.stop().await;
}

#[tokio::test]
async fn an_unknown_result_is_no_reason_to_try_the_next_provider() {
    let (stage, sendgrid) = (stage().await, FakeSendGrid::start(&[]).await);
    let mut server = SmtpServer::start(json!({ "cut": "dot" })).await;
    let running = run(&stage, server.port, &sendgrid, &[]).await;
    let id = stage.publish("acme", &email(|_| {})).await;
    assert_eq!(stage.outcome(id).await.outcome, Some(Outcome::Held));
    server.next("accepted").await;
    // Even where it may be repeated, it is repeated by the same way.
    let resend = email(|e| e.when_uncertain = omnibus_schemas::mailer::Uncertain::Resend);
    stage.publish("acme", &resend).await;
    server.next("accepted").await;
    server.next("accepted").await;
    assert!(sendgrid.taken().is_empty());
    running.stop().await;
}

#[tokio::test]
async fn sendgrids_answers_are_told_apart_refused_not_done_and_unknown() {
    let stage = stage().await;
    let moods = [Mood::Answers(429), Mood::Answers(503), Mood::Answers(401)];
    let sendgrid = FakeSendGrid::start(&moods).await;
    let only = ["--mail-providers", "sendgrid"];
    let running = run(&stage, nobody(), &sendgrid, &only).await;
    // Three times "not now" or "not you" is tried again.
    let id = done(&stage, "acme", &email(|_| {})).await;
    assert_eq!((status(&stage, id).await.status, sendgrid.taken().len()), (EmailState::Sent, 1));
    running.stop().await;

    for mood in [Mood::Silent, Mood::Answers(408), Mood::Answers(500), Mood::Answers(502)] {
        let sendgrid = FakeSendGrid::start(&[mood]).await;
        let running = run(&stage, nobody(), &sendgrid, &only).await;
        let id = stage.publish("acme", &email(|_| {})).await;
        assert_eq!(stage.outcome(id).await.outcome, Some(Outcome::Held), "{mood:?}");
        assert_eq!(status(&stage, id).await.status, EmailState::Uncertain);
        running.stop().await;
    }

    let sendgrid = FakeSendGrid::start(&[Mood::Answers(400)]).await;
    let running = run(&stage, nobody(), &sendgrid, &only).await;
    let id = stage.publish("acme", &email(|_| {})).await;
    assert_eq!(stage.outcome(id).await.outcome, Some(Outcome::Rejected));
    let failed = told(&stage, "email_failed", id).await;
    assert!(failed.data["detail"].as_str().unwrap().contains("400"), "{failed:?}");
    assert_eq!(status(&stage, id).await.status, EmailState::Failed);
    running.stop().await;
}

#[tokio::test]
async fn sendgrid_gets_everything_a_mail_has_in_the_form_it_wants() {
    let (stage, sendgrid) = (stage().await, FakeSendGrid::start(&[]).await);
    let running = run(&stage, nobody(), &sendgrid, &["--mail-providers", "sendgrid"]).await;
    let attachment = |content_id: Option<&str>| Attachment {
        filename: Some("logo.png".into()),
        content_type: Some("image/png".into()),
        content: Some("aGk=".into()),
        attachment_id: None,
        content_id: content_id.map(str::to_owned),
    };
    let full = email(|e| {
        e.to = vec!["a@example.com".into(), "A@example.com".into()];
        e.cc = vec!["b@example.com".into()];
        e.bcc = vec!["c@example.com".into()];
        e.from_name = Some("The office".into());
        e.reply_to = Some("answers@example.com".into());
        e.body = String::new();
        e.html = Some("<img src=\"cid:logo\">".into());
        e.headers = [("X-Campaign".into(), "spring".into())].into();
        e.attachments = vec![attachment(Some("logo")), attachment(None)];
    });
    done(&stage, "acme", &full).await;
    done(&stage, "acme", &SendEmail { stream: "marketing".into(), ..email(|_| {}) }).await;
    let taken = sendgrid.taken();
    let to = json!([{ "to": [{ "email": "a@example.com" }], "cc": [{ "email": "b@example.com" }],
                      "bcc": [{ "email": "c@example.com" }] }]);
    assert_eq!(taken[0]["personalizations"], to);
    assert_eq!(taken[0]["from"], json!({ "email": "office@example.com", "name": "The office" }));
    assert_eq!(taken[0]["reply_to"]["email"], "answers@example.com");
    assert_eq!(taken[0]["headers"]["X-Campaign"], "spring");
    assert_eq!(taken[0]["attachments"][0]["content_id"], "logo");
    assert_eq!(taken[0]["attachments"][1]["disposition"], "attachment");
    let headers = &taken[1]["headers"];
    assert_eq!(headers["List-Unsubscribe-Post"], "List-Unsubscribe=One-Click");
    assert!(headers["List-Unsubscribe"].as_str().unwrap().starts_with("<http"), "{headers}");
    running.stop().await;
}

#[tokio::test]
async fn a_tenant_chooses_its_providers_by_stream() {
    let (stage, sendgrid) = (stage().await, FakeSendGrid::start(&[]).await);
    let mut server = SmtpServer::start(json!({})).await;
    let running = run(&stage, server.port, &sendgrid, &[]).await;
    let route =
        |stream: &str, providers: &[Provider]| PutMailRoute { stream: stream.into(), providers: providers.to_vec() };
    done(&stage, "acme", &route("marketing", &[Provider::Sendgrid])).await;
    assert_eq!(rejected(&stage, "acme", &route("nameless", &[Provider::Smtp])).await, "unknown_stream");
    let routes = stage.ask("mailer", "acme", &MailRoutes {}).await.unwrap().routes;
    assert_eq!((routes[0].stream.as_str(), routes[0].providers.as_slice()), ("marketing", &[Provider::Sendgrid][..]));
    assert!(stage.ask("mailer", "globex", &MailRoutes {}).await.unwrap().routes.is_empty());

    let newsletter = email(|e| e.stream = "marketing".into());
    done(&stage, "acme", &newsletter).await;
    assert_eq!(sendgrid.taken().len(), 1);
    done(&stage, "globex", &newsletter).await;
    done(&stage, "acme", &email(|_| {})).await;
    server.next("accepted").await;
    server.next("accepted").await;
    assert_eq!(sendgrid.taken().len(), 1);
    done(&stage, "acme", &route("marketing", &[])).await;
    done(&stage, "acme", &newsletter).await;
    server.next("accepted").await;
    running.stop().await;
}
