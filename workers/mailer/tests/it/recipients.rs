//! Each recipient has a fate of its own.

use omnibus_runtime::testing::Stage;
use omnibus_schemas::mailer::{
    AddSuppression, EmailState, EmailStats, Feedback, PutMailStream, RecordFeedback, RemoveSuppression, StreamKind,
    SuppressionReason, Suppressions,
};
use serde_json::json;

use crate::scene::{done, email, rejected, run, run_with, stage, states, status, told, until};
use crate::server::SmtpServer;

#[tokio::test]
async fn later_defers_that_recipient_only_who_is_tried_again_with_the_same_mail() {
    let mut server = SmtpServer::start(json!({ "defer_times": 2 })).await;
    let stage = stage().await;
    let running = run_with(&stage, &server, &["--defer-seconds", "1"]).await;
    let id = stage.publish("acme", &email(|e| e.to = vec!["a@example.com".into(), "defer@example.com".into()])).await;
    assert_eq!(stage.outcome(id).await.name, "email_sent");
    let first = server.next("accepted").await;
    assert_eq!(first["to"], json!(["a@example.com"]));
    let deferred = told(&stage, "email_deferred", id).await;
    assert_eq!((&deferred.data["recipient"], &deferred.data["tries"]), (&json!(1), &json!(1)));
    assert!(deferred.data["detail"].as_str().unwrap().starts_with("450"), "{deferred:?}");

    let second = server.next("accepted").await;
    assert_eq!((&second["to"], &second["text"]), (&json!(["defer@example.com"]), &first["text"]));
    let report = until(|| status(&stage, id), |report| states(report) == [EmailState::Sent, EmailState::Sent]).await;
    assert_eq!(report.deliveries.iter().map(|delivery| delivery.tries).collect::<Vec<_>>(), [1, 3]);
    running.stop().await;
    assert!(!server.rest().await.contains(&"accepted".into()));
}

#[tokio::test]
async fn whoever_is_suppressed_between_two_tries_gets_no_second_one() {
    let mut server = SmtpServer::start(json!({ "defer_times": 1 })).await;
    let stage = stage().await;
    let running = run_with(&stage, &server, &["--defer-seconds", "20"]).await;
    let both = email(|e| e.to = vec!["a@example.com".into(), "defer@example.com".into()]);
    let id = done(&stage, "acme", &both).await;
    told(&stage, "email_deferred", id).await;
    done(&stage, "acme", &AddSuppression { address: "defer@example.com".into(), stream: None }).await;
    assert_eq!(told(&stage, "email_suppressed", id).await.data["recipient"], 1);
    assert_eq!(states(&status(&stage, id).await), [EmailState::Sent, EmailState::Suppressed]);
    assert_eq!(server.next("accepted").await["to"], json!(["a@example.com"]));
    running.stop().await;
    assert!(!server.rest().await.contains(&"accepted".into()));
}

#[tokio::test]
async fn whoever_is_told_later_at_the_last_try_is_given_up() {
    let server = SmtpServer::start(json!({})).await;
    let stage = stage().await;
    let running = run_with(&stage, &server, &["--defer-seconds", "20"]).await;
    let both = email(|e| e.to = vec!["a@example.com".into(), "defer@example.com".into()]);
    let id = done(&stage, "acme", &both).await;
    told(&stage, "email_deferred", id).await;
    // As about a day later: of seven tries, six are over.
    sqlx::query("update mailer.recipients set tries = 6 where recipient = 1").execute(&stage.db).await.unwrap();
    let failed = told(&stage, "email_failed", id).await;
    assert_eq!(failed.data["code"], "gave_up");
    assert!(failed.data["detail"].as_str().unwrap().starts_with("told \"later\" 7 times: 450"), "{failed:?}");
    assert_eq!(states(&status(&stage, id).await), [EmailState::Sent, EmailState::Failed]);
    // It was deferred once, and is not again: no further try waits.
    assert_eq!(stage.told().iter().filter(|told| told.name == "email_deferred").count(), 1);
    running.stop().await;
}

#[tokio::test]
async fn a_bad_address_bounces_by_itself_and_is_suppressed_from_then_on() {
    let mut server = SmtpServer::start(json!({})).await;
    let stage = stage().await;
    let running = run(&stage, &server).await;
    let both = email(|e| e.to = vec!["a@example.com".into(), "refuse@example.com".into()]);
    let id = done(&stage, "acme", &both).await;
    let bounced = told(&stage, "email_bounced", id).await;
    assert_eq!((&bounced.data["recipient"], &bounced.data["hard"]), (&json!(1), &json!(true)));
    assert_eq!(states(&status(&stage, id).await), [EmailState::Sent, EmailState::Bounced]);
    server.next("accepted").await;

    let again = done(&stage, "acme", &both).await;
    let suppressed = told(&stage, "email_suppressed", again).await;
    assert_eq!((&suppressed.data["recipient"], &suppressed.data["reason"]), (&json!(1), &json!("bounced")));
    assert_eq!(server.next("accepted").await["to"], json!(["a@example.com"]));
    assert_eq!(states(&status(&stage, again).await), [EmailState::Sent, EmailState::Suppressed]);

    // Another tenant's list is another list.
    let other = stage.publish("globex", &both).await;
    stage.outcome(other).await;
    told(&stage, "email_bounced", other).await;
    running.stop().await;
}

#[tokio::test]
async fn a_list_of_suppressions_holds_by_stream_and_can_be_taken_back() {
    let server = SmtpServer::start(json!({})).await;
    let stage = stage().await;
    let running = run(&stage, &server).await;
    let put =
        |stream: Option<&str>| AddSuppression { address: "Ada@Example.com".into(), stream: stream.map(str::to_owned) };
    done(&stage, "acme", &put(Some("marketing"))).await;
    done(&stage, "acme", &put(Some("marketing"))).await;
    let all = Suppressions { address: None, after: None, limit: 100 };
    let list = stage.ask("mailer", "acme", &all).await.unwrap().suppressions;
    assert_eq!(list.len(), 1);
    assert_eq!((list[0].address.as_str(), list[0].reason), ("ada@example.com", SuppressionReason::Manual));
    assert!(stage.ask("mailer", "globex", &all).await.unwrap().suppressions.is_empty());

    let to_ada = |stream: &str| email(|e| (e.to, e.stream) = (vec!["ADA@example.com".into()], stream.into()));
    let newsletter = done(&stage, "acme", &to_ada("marketing")).await;
    assert_eq!(told(&stage, "email_suppressed", newsletter).await.data["reason"], "manual");
    assert_eq!(status(&stage, newsletter).await.status, EmailState::Suppressed);
    // A password reset is none of it.
    let reset = done(&stage, "acme", &to_ada("transactional")).await;
    assert_eq!(status(&stage, reset).await.status, EmailState::Sent);

    let remove = RemoveSuppression { address: "ada@example.com".into(), stream: Some("marketing".into()) };
    assert_eq!(rejected(&stage, "globex", &remove).await, "not_found");
    done(&stage, "acme", &remove).await;
    assert_eq!(rejected(&stage, "acme", &remove).await, "not_found");
    let newsletter = done(&stage, "acme", &to_ada("marketing")).await;
    assert_eq!(status(&stage, newsletter).await.status, EmailState::Sent);

    let stats = EmailStats { from: None, to: None, stream: Some("marketing".into()), template: None };
    let rows = stage.ask("mailer", "acme", &stats).await.unwrap().rows;
    assert_eq!((rows[0].queued, rows[0].sent, rows[0].suppressed), (2, 1, 1));
    assert!(stage.ask("mailer", "globex", &stats).await.unwrap().rows.is_empty());
    running.stop().await;
}

/// Every change of consent that was told of this tenant so far, in order.
fn consents(stage: &Stage, tenant: &str) -> Vec<serde_json::Value> {
    let told = stage.told();
    told.iter().filter(|told| told.name == "consent_changed" && told.tenant == tenant).map(|t| t.data.clone()).collect()
}

#[tokio::test]
async fn what_somebody_wants_is_told_once_in_the_shape_of_every_channel_and_a_bounce_is_no_wish() {
    let server = SmtpServer::start(json!({})).await;
    let stage = stage().await;
    let running = run(&stage, &server).await;
    // Lists are kept by what is told: each line is one.
    let said = |stream: Option<&str>, covers: &str, state: &str, source: &str| {
        let mut said = json!({
            "channel": "email", "recipient": "refuse@example.com", "covers": covers, "state": state, "source": source,
        });
        if let Some(stream) = stream {
            said["stream"] = stream.into();
        }
        said
    };
    let feedback = |email_id, what| RecordFeedback {
        email_id,
        address: "Refuse@example.com".into(),
        what,
        hard: false,
        detail: None,
        at: omnibus_runtime::clock::now(),
    };
    let name = |stream: &str, kind| PutMailStream { stream: stream.into(), kind };
    done(&stage, "acme", &name("tips", StreamKind::Marketing)).await;
    let to_refuse = |stream: &str| email(|e| (e.to, e.stream) = (vec!["refuse@example.com".into()], stream.into()));
    let tips = stage.publish("acme", &to_refuse("tips")).await;
    stage.outcome(tips).await;
    assert_eq!(
        consents(&stage, "acme"),
        Vec::<serde_json::Value>::new(),
        "a bounce says nothing of what somebody wants"
    );

    // The bounce stands there for all streams, and gives way to a word.
    let all = |address: &str| AddSuppression { address: address.into(), stream: None };
    let (out, again) = (all("REFUSE@example.com"), all("refuse@example.com"));
    for put in [&out, &again] {
        done(&stage, "acme", put).await;
    }
    for _ in 0..2 {
        done(&stage, "acme", &feedback(tips, Feedback::Unsubscribed)).await;
    }
    let back = |stream: Option<&str>| RemoveSuppression {
        address: "refuse@example.com".into(),
        stream: stream.map(str::to_owned),
    };
    done(&stage, "acme", &back(Some("tips"))).await;
    done(&stage, "acme", &feedback(tips, Feedback::Complained)).await;
    done(&stage, "acme", &back(None)).await;
    assert_eq!(
        consents(&stage, "acme"),
        [
            said(None, "all", "opted_out", "command"),
            said(Some("tips"), "marketing", "opted_out", "link"),
            said(Some("tips"), "marketing", "opted_in", "command"),
            said(Some("tips"), "marketing", "opted_out", "complaint"),
            said(None, "all", "opted_in", "command"),
        ]
    );
    // A bounce that is taken off the list is no wish either.
    let reset = stage.publish("acme", &to_refuse("transactional")).await;
    stage.outcome(reset).await;
    done(&stage, "acme", &back(None)).await;
    assert_eq!(consents(&stage, "acme").len(), 5);
    assert_eq!(consents(&stage, "globex"), Vec::<serde_json::Value>::new());
    running.stop().await;
}

#[tokio::test]
async fn those_of_whom_nothing_was_heard_are_held_while_the_others_fate_is_known() {
    let mut server = SmtpServer::start(json!({ "cut": "dot", "times": 1 })).await;
    let stage = stage().await;
    let running = run(&stage, &server).await;
    let both = email(|e| e.to = vec!["a@example.com".into(), "refuse@example.com".into()]);
    let id = done(&stage, "acme", &both).await;
    server.next("accepted").await;
    told(&stage, "email_uncertain", id).await;
    told(&stage, "email_bounced", id).await;
    let held = stage.event(|told| told.name == "command_held").await;
    assert_eq!(held.data["command"], "deliver_email");
    let report = status(&stage, id).await;
    assert_eq!(states(&report), [EmailState::Uncertain, EmailState::Bounced]);
    assert_eq!(report.status, EmailState::Uncertain);

    let held: uuid::Uuid = held.data["command_id"].as_str().unwrap().parse().unwrap();
    crate::worker::resolve(&stage, held, omnibus_schemas::platform::Resolution::Perform).await;
    assert_eq!(server.next("accepted").await["to"], json!(["a@example.com"]));
    let report = until(|| status(&stage, id), |report| report.status == EmailState::Sent).await;
    assert_eq!(states(&report), [EmailState::Sent, EmailState::Bounced]);
    running.stop().await;
}

#[tokio::test]
async fn a_mail_that_may_repeat_is_sent_again_when_nobody_knows() {
    use omnibus_schemas::mailer::Uncertain;
    let mut server = SmtpServer::start(json!({ "cut": "dot", "times": 1 })).await;
    let stage = stage().await;
    let running = run(&stage, &server).await;
    let id = done(&stage, "acme", &email(|e| e.when_uncertain = Uncertain::Resend)).await;
    let (first, second) = (server.next("accepted").await, server.next("accepted").await);
    assert_eq!(first["text"], second["text"], "the Message-ID is the same on every attempt");
    assert_eq!(status(&stage, id).await.status, EmailState::Sent);
    running.stop().await;
}

#[tokio::test]
async fn when_all_are_refused_each_has_the_words_that_were_said_of_it() {
    let server = SmtpServer::start(json!({})).await;
    let stage = stage().await;
    let running = run(&stage, &server).await;
    for to in [["refuse-policy@example.com", "refuse@example.com"], ["refuse@example.com", "refuse-policy@example.com"]]
    {
        let id = done(&stage, "acme", &email(|e| e.to = to.map(str::to_owned).to_vec())).await;
        let report = status(&stage, id).await;
        for delivery in &report.deliveries {
            let policy = delivery.address.starts_with("refuse-policy");
            let words = delivery.detail.as_deref().unwrap();
            assert_eq!(words.starts_with("550 5.7.1"), policy, "{words}");
        }
        assert_eq!(report.status, EmailState::Failed);
        let remove = RemoveSuppression { address: "refuse@example.com".into(), stream: None };
        done(&stage, "acme", &remove).await;
        let policy = RemoveSuppression { address: "refuse-policy@example.com".into(), stream: None };
        assert_eq!(rejected(&stage, "acme", &policy).await, "not_found");
    }
    running.stop().await;
}

#[tokio::test]
async fn later_after_the_final_dot_defers_and_the_mail_is_sent_then() {
    let mut server = SmtpServer::start(json!({ "replies": { "dot": "451 4.3.0 later" }, "reply_times": 1 })).await;
    let stage = stage().await;
    let running = run_with(&stage, &server, &["--defer-seconds", "1"]).await;
    let id = stage.publish("acme", &email(|_| {})).await;
    told(&stage, "email_deferred", id).await;
    server.next("accepted").await;
    until(|| status(&stage, id), |report| report.status == EmailState::Sent).await;
    running.stop().await;
}

#[tokio::test]
async fn a_mail_that_may_repeat_is_repeated_once_and_then_a_person_is_asked() {
    use omnibus_schemas::mailer::Uncertain;
    let mut server = SmtpServer::start(json!({ "cut": "dot" })).await;
    let stage = stage().await;
    let running = run(&stage, &server).await;
    let id = stage.publish("acme", &email(|e| e.when_uncertain = Uncertain::Resend)).await;
    server.next("accepted").await;
    server.next("accepted").await;
    assert_eq!(stage.outcome(id).await.name, "command_held");
    assert_eq!(status(&stage, id).await.status, EmailState::Uncertain);
    running.stop().await;
    assert!(!server.rest().await.contains(&"accepted".into()));
}
