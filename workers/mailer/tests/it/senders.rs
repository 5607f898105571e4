//! Who may send as whom, and what is kept of it.

use hmac::{Hmac, Mac};
use omnibus_mailer::worker;
use omnibus_runtime::settings::WorkSettings;
use omnibus_runtime::testing::{Stage, Told};
use omnibus_schemas::Command;
use omnibus_schemas::mailer::{
    AddSenderDomain, ConfirmSenderDomain, DeliverEmail, DeliveryCause, EmailState, EmailStats, PutMailStream,
    RemoveSenderDomain, RenderedEmail, SendEmail, SendTemplate, SenderDomains, StreamKind,
};
use omnibus_schemas::platform::{Outcome, Resolution};
use serde_json::json;
use sha2::Sha256;
use uuid::Uuid;

use crate::scene::{
    SMTP_TIMEOUT, done, email, everything_in, rejected, run, run_with, stage, states, status, streams_with, told, until,
};
use crate::server::SmtpServer;
use crate::worker::resolve;

/// What the operator hands out where there is no DNS to be asked.
pub(crate) fn approval(tenant: &str) -> ConfirmSenderDomain {
    let mut mac = Hmac::<Sha256>::new_from_slice(b"operator").unwrap();
    mac.update(format!("{tenant} shop.example").as_bytes());
    let approval = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    ConfirmSenderDomain { domain: "shop.example".into(), approval: Some(approval) }
}

#[tokio::test]
async fn a_domain_is_a_tenants_once_the_operator_approves_it_and_nobody_elses() {
    let mut server = SmtpServer::start(json!({})).await;
    let stage = stage().await;
    let running = run_with(&stage, &server, &["--sender-approval-secret", "operator"]).await;
    let from_shop = email(|e| e.from = Some("ada@Shop.Example".into()));
    assert_eq!(rejected(&stage, "acme", &from_shop).await, "sender_not_allowed");
    let confirm = approval("acme");
    assert_eq!(rejected(&stage, "acme", &confirm).await, "not_found");
    for tenant in ["acme", "globex"] {
        done(&stage, tenant, &AddSenderDomain { domain: "SHOP.example".into() }).await;
    }
    assert_eq!(rejected(&stage, "acme", &from_shop).await, "sender_not_allowed");
    // Neither a guess nor another tenant's approval will do.
    let guess = ConfirmSenderDomain { approval: Some("0".repeat(64)), ..confirm.clone() };
    assert_eq!(rejected(&stage, "acme", &guess).await, "not_approved");
    assert_eq!(rejected(&stage, "acme", &approval("globex")).await, "not_approved");
    done(&stage, "acme", &confirm).await;
    assert_eq!(rejected(&stage, "globex", &approval("globex")).await, "domain_taken");
    // The house's own domain is not open to whoever invents a name in it.
    let as_billing = email(|e| e.from = Some("billing@example.com".into()));
    assert_eq!(rejected(&stage, "acme", &as_billing).await, "sender_not_allowed");

    done(&stage, "acme", &from_shop).await;
    assert_eq!(server.next("accepted").await["from"], "ada@Shop.Example");
    assert_eq!(rejected(&stage, "globex", &from_shop).await, "sender_not_allowed");
    let domains = stage.ask("mailer", "acme", &SenderDomains {}).await.unwrap().domains;
    assert_eq!((domains[0].domain.as_str(), domains[0].confirmed_at.is_some()), ("shop.example", true));
    let foreign = stage.ask("mailer", "globex", &SenderDomains {}).await.unwrap().domains;
    assert!(foreign[0].confirmed_at.is_none() && foreign[0].proof != domains[0].proof);

    // What waits is looked at again when its time comes: long enough for the domain to be taken back before.
    let waiting = email(|e| {
        e.from = Some("ada@shop.example".into());
        e.send_at = Some(omnibus_runtime::clock::now() + chrono::Duration::seconds(20));
    });
    let waiting = done(&stage, "acme", &waiting).await;
    done(&stage, "acme", &RemoveSenderDomain { domain: "shop.example".into() }).await;
    told(&stage, "email_failed", waiting).await;
    assert_eq!(status(&stage, waiting).await.status, EmailState::Failed);
    assert_eq!(rejected(&stage, "acme", &from_shop).await, "sender_not_allowed");
    running.stop().await;
}

#[tokio::test]
async fn a_stream_has_to_be_named_and_a_marketing_mail_has_one_recipient() {
    let server = SmtpServer::start(json!({})).await;
    let stage = stage().await;
    let running = run(&stage, &server).await;
    let in_stream = |stream: &str, to: &[&str]| {
        email(|e| {
            e.stream = stream.into();
            e.to = to.iter().map(|to| (*to).to_owned()).collect();
        })
    };
    assert_eq!(rejected(&stage, "acme", &in_stream("reminders", &["a@example.com"])).await, "unknown_stream");
    let named = PutMailStream { stream: "reminders".into(), kind: StreamKind::Marketing };
    done(&stage, "acme", &named).await;
    done(&stage, "acme", &in_stream("reminders", &["a@example.com"])).await;
    let two = in_stream("reminders", &["a@example.com", "b@example.com"]);
    assert_eq!(rejected(&stage, "acme", &two).await, "one_recipient");
    assert_eq!(rejected(&stage, "globex", &in_stream("reminders", &["a@example.com"])).await, "unknown_stream");
    let built_in = PutMailStream { stream: "marketing".into(), kind: StreamKind::Transactional };
    assert_eq!(rejected(&stage, "acme", &built_in).await, "built_in");
    running.stop().await;
}

#[tokio::test]
async fn a_secret_stands_in_no_row_and_no_event_once_its_mail_has_left() {
    let mut server = SmtpServer::start(json!({})).await;
    let stage = stage().await;
    let running = run(&stage, &server).await;
    let secret = email(|e| {
        e.subject = "Your code is q7x9-secret".into();
        e.body = "https://example.com/reset/q7x9-secret".into();
        e.html = Some("<b>q7x9-secret</b>".into());
        e.confidential = true;
    });
    let id = done(&stage, "acme", &secret).await;
    assert!(server.next("accepted").await["text"].as_str().unwrap().contains("q7x9-secret"));
    let open = done(&stage, "acme", &email(|e| e.body = "kept to be looked at".into())).await;

    let page = stage.ask("mailer", "acme", &RenderedEmail { email_id: id }).await.unwrap();
    assert_eq!((page.confidential, page.subject, page.text, page.html), (true, None, None, None));
    let page = stage.ask("mailer", "acme", &RenderedEmail { email_id: open }).await.unwrap();
    assert_eq!((page.confidential, page.text.as_deref()), (false, Some("kept to be looked at")));
    assert_eq!(stage.ask("mailer", "globex", &RenderedEmail { email_id: open }).await.unwrap_err().0, 404);

    for schema in ["mailer", "bus"] {
        let all = everything_in(&stage, schema).await;
        // Bytes are shown as hexadecimal.
        assert!(!all.contains("q7x9") && !all.contains("71377839"), "{schema}");
        assert!(all.contains(&id.to_string()), "{schema}");
    }
    assert!(stage.told().iter().all(|told| !told.data.to_string().contains("q7x9")));
    assert_eq!(status(&stage, id).await.status, EmailState::Sent);
    running.stop().await;
}

fn secret_to(address: &str) -> SendEmail {
    email(|e| {
        e.to = vec![address.into()];
        e.body = "https://example.com/reset/q7x9-secret".into();
        e.confidential = true;
    })
}

/// No row has the secret, and on the bus the command alone that brought it.
async fn is_kept_by_its_command_alone(stage: &Stage) {
    for schema in ["mailer", "bus"] {
        let all = everything_in(stage, schema).await;
        assert!(!all.contains("q7x9") && !all.contains("71377839"), "{schema}");
    }
    assert_eq!(streams_with(stage, "q7x9").await, ["CMD_MAILER"]);
}

#[tokio::test]
async fn a_secret_that_is_told_later_waits_in_its_own_command_and_nowhere_else() {
    let mut server = SmtpServer::start(json!({ "defer_times": 2 })).await;
    let stage = stage().await;
    let running = run(&stage, &server).await;
    let id = done(&stage, "acme", &secret_to("defer@example.com")).await;
    assert!(server.next("accepted").await["text"].as_str().unwrap().contains("q7x9-secret"));
    let report = status(&stage, id).await;
    assert_eq!((report.status, report.deliveries[0].tries), (EmailState::Sent, 3));
    // Meanwhile it was deferred, and said so.
    assert!(report.deliveries[0].detail.as_ref().unwrap().starts_with("450"), "{report:?}");
    let all = EmailStats { from: None, to: None, stream: None, template: None };
    let days = stage.ask("mailer", "acme", &all).await.unwrap().rows;
    assert!(days.iter().any(|day| day.deferred > 0), "{days:?}");
    is_kept_by_its_command_alone(&stage).await;
    running.stop().await;
    assert!(!server.rest().await.contains(&"accepted".into()));
}

/// To two recipients, of whom the second is told "later": twice, so that a follow-up is told so as well.
async fn reaches_both<C: Command>(mail: &C) {
    let mut server = SmtpServer::start(json!({ "defer_times": 2 })).await;
    let stage = stage().await;
    let running = run_with(&stage, &server, &["--defer-seconds", "1"]).await;
    let id = done(&stage, "acme", mail).await;
    let (first, second) = (server.next("accepted").await, server.next("accepted").await);
    assert_eq!((&first["to"], &second["to"]), (&json!(["a@example.com"]), &json!(["defer@example.com"])));
    let text = first["text"].as_str().unwrap();
    assert!(text.replace("=\r\n", "").contains("q7x9-secret"), "{text}");
    assert_eq!(second["text"], text, "it is the same mail");
    let report = until(|| status(&stage, id), |report| states(report) == [EmailState::Sent, EmailState::Sent]).await;
    assert_eq!(report.deliveries.iter().map(|delivery| delivery.tries).collect::<Vec<_>>(), [1, 3]);
    is_kept_by_its_command_alone(&stage).await;
    running.stop().await;
    assert!(!server.rest().await.contains(&"accepted".into()));
}

fn two() -> Vec<String> {
    ["a@example.com", "defer@example.com"].map(str::to_owned).to_vec()
}

#[tokio::test]
async fn a_secret_that_one_of_two_is_told_later_waits_in_its_own_command_and_nowhere_else() {
    let written = SendEmail { to: two(), html: Some("<b>q7x9-secret</b>".into()), ..secret_to("") };
    let mut reset = SendTemplate { to: two(), ..SendTemplate::example() };
    reset.variables["reset_url"] = json!("https://example.com/reset/q7x9-secret");
    tokio::join!(reaches_both(&written), reaches_both(&reset));
}

#[tokio::test]
async fn a_secret_of_which_one_of_two_was_not_heard_is_no_part_of_what_a_person_is_asked() {
    let mut server = SmtpServer::start(json!({ "cut": "dot", "times": 1 })).await;
    let stage = stage().await;
    let running = run(&stage, &server).await;
    let to = ["a@example.com", "refuse@example.com"].map(str::to_owned).to_vec();
    let id = done(&stage, "acme", &SendEmail { to, ..secret_to("") }).await;
    let first = server.next("accepted").await;
    let held = stage.event(|told| told.name == "command_held").await;
    // Not by the name under which a mail's text is carried: who does not read it elsewhere must not take it for a mail.
    assert_eq!(held.data["command"], "deliver_confidential");
    is_kept_by_its_command_alone(&stage).await;
    resolve(&stage, held.data["command_id"].as_str().unwrap().parse().unwrap(), Resolution::Perform).await;
    assert_eq!(server.next("accepted").await["text"], first["text"]);
    until(|| status(&stage, id), |report| states(report) == [EmailState::Sent, EmailState::Bounced]).await;
    is_kept_by_its_command_alone(&stage).await;
    running.stop().await;
}

#[tokio::test]
async fn a_secret_that_is_held_waits_in_its_own_command_and_a_person_can_still_say_what_became_of_it() {
    let mut server = SmtpServer::start(json!({ "cut": "dot", "times": 1 })).await;
    let stage = stage().await;
    let running = run(&stage, &server).await;
    let id = stage.publish("acme", &secret_to("a@example.com")).await;
    assert_eq!(stage.outcome(id).await.outcome, Some(Outcome::Held));
    assert!(server.next("accepted").await["text"].as_str().unwrap().contains("q7x9-secret"));
    is_kept_by_its_command_alone(&stage).await;
    resolve(&stage, id, Resolution::Happened).await;
    told(&stage, "email_sent", id).await;
    assert_eq!(states(&status(&stage, id).await), [EmailState::Sent]);
    running.stop().await;
    assert!(!server.rest().await.contains(&"accepted".into()));
}

#[tokio::test]
async fn a_follow_up_that_is_on_the_bus_without_its_text_brings_the_mail_whole() {
    let mut server = SmtpServer::start(json!({ "defer_times": 1 })).await;
    let stage = stage().await;
    let running = run_with(&stage, &server, &["--defer-seconds", "600"]).await;
    let mail = SendEmail { to: two(), ..secret_to("") };
    let id = done(&stage, "acme", &mail).await;
    let first = server.next("accepted").await;
    let without = SendEmail { subject: "confidential".into(), body: String::new(), ..mail };
    let cause = DeliveryCause::Deferred;
    done(&stage, "acme", &DeliverEmail { email_id: id, email: without, only: vec![1], cause }).await;
    let second = server.next("accepted").await;
    assert_eq!((&second["to"], &second["text"]), (&json!(["defer@example.com"]), &first["text"]));
    assert_eq!(states(&status(&stage, id).await), [EmailState::Sent, EmailState::Sent]);
    running.stop().await;
}

/// The command leaves the bus, as when it has been kept for long enough.
async fn trimmed(stage: &Stage, id: Uuid) {
    let sequence: i64 = sqlx::query_scalar("select sequence from bus.inbox where message_id = $1")
        .bind(id)
        .fetch_one(&stage.db)
        .await
        .unwrap();
    let commands = stage.operator.jetstream().get_stream("CMD_MAILER").await.unwrap();
    commands.delete_message(sequence.unsigned_abs()).await.unwrap();
}

#[tokio::test]
async fn of_whom_it_is_not_known_whether_he_has_a_secret_it_is_still_not_known_when_its_command_is_gone() {
    let mut server = SmtpServer::start(json!({ "cut": "dot", "times": 1 })).await;
    let stage = stage().await;
    let running = run(&stage, &server).await;
    let to = ["a@example.com", "refuse@example.com"].map(str::to_owned).to_vec();
    let id = done(&stage, "acme", &SendEmail { to, ..secret_to("") }).await;
    server.next("accepted").await;
    let held = stage.event(|told| told.name == "command_held").await;
    trimmed(&stage, id).await;
    resolve(&stage, held.data["command_id"].as_str().unwrap().parse().unwrap(), Resolution::Perform).await;
    let gone = |told: &Told| told.data["detail"].as_str().is_some_and(|words| words.contains("no longer on the bus"));
    stage.event(|told| told.name == "email_uncertain" && gone(told)).await;
    assert_eq!(states(&status(&stage, id).await), [EmailState::Uncertain, EmailState::Bounced]);
    running.stop().await;
    assert!(!server.rest().await.contains(&"accepted".into()));
}

#[tokio::test]
async fn whoever_waits_for_a_secret_whose_command_is_gone_has_not_got_it_and_that_is_told() {
    let mut server = SmtpServer::start(json!({})).await;
    let stage = stage().await;
    let running = run_with(&stage, &server, &["--defer-seconds", "5"]).await;
    let id = done(&stage, "acme", &SendEmail { to: two(), ..secret_to("") }).await;
    server.next("accepted").await;
    trimmed(&stage, id).await;
    let failed = told(&stage, "email_failed", id).await;
    assert!(failed.data["detail"].as_str().unwrap().contains("no longer on the bus"), "{failed:?}");
    assert_eq!(states(&status(&stage, id).await), [EmailState::Sent, EmailState::Failed]);
    running.stop().await;
    assert!(!server.rest().await.contains(&"accepted".into()));
}

#[tokio::test]
async fn a_secret_that_is_given_up_stands_in_no_dead_letter() {
    let server = SmtpServer::start(json!({ "replies": { "dot": "451 4.3.0 later" } })).await;
    let stage = stage().await;
    let twice = WorkSettings { attempts: Some(2), ..WorkSettings::defaults() };
    let running = stage.run_with(worker(server.settings(&SMTP_TIMEOUT)).unwrap(), twice).await;
    let id = stage.publish("acme", &secret_to("test@example.com")).await;
    assert_eq!(stage.outcome(id).await.outcome, Some(Outcome::DeadLettered));
    assert_eq!(told(&stage, "email_failed", id).await.data["code"], "gave_up");
    let letter = stage.event(|told| told.subject.starts_with("dlq.")).await;
    assert!(letter.header("omnibus-dlq-body").unwrap().starts_with("left in the command stream"), "{letter:?}");
    let report = status(&stage, id).await;
    assert_eq!((report.status, report.deliveries[0].tries), (EmailState::Failed, 2));
    is_kept_by_its_command_alone(&stage).await;
    running.stop().await;
}

#[tokio::test]
async fn a_code_from_a_template_is_in_the_mail_and_nowhere_else() {
    let mut server = SmtpServer::start(json!({})).await;
    let stage = stage().await;
    let running = run(&stage, &server).await;
    let mut reset = SendTemplate::example();
    reset.variables["reset_url"] = json!("https://example.com/reset/q7x9-secret");
    let id = done(&stage, "acme", &reset).await;
    let accepted = server.next("accepted").await;
    let text = accepted["text"].as_str().unwrap().replace("=\r\n", "");
    assert!(text.contains("q7x9-secret"), "{text}");
    let page = stage.ask("mailer", "acme", &RenderedEmail { email_id: id }).await.unwrap();
    assert_eq!((page.template.as_deref(), page.confidential, page.text), (Some("password_reset"), true, None));
    for schema in ["mailer", "bus"] {
        let all = everything_in(&stage, schema).await;
        assert!(!all.contains("q7x9") && !all.contains("71377839"), "{schema}");
    }
    assert!(stage.told().iter().all(|told| !told.data.to_string().contains("q7x9")));

    reset.variables.remove("reset_url");
    reset.variables.insert("nonsense".into(), json!(1));
    let id = stage.publish("acme", &reset).await;
    let told = stage.outcome(id).await;
    assert_eq!(told.data["code"], "invalid");
    let faults = told.data["faults"].to_string();
    assert!(faults.contains("reset_url") && faults.contains("nonsense"), "{faults}");
    running.stop().await;
    assert!(!server.rest().await.contains(&"accepted".into()));
}
