//! Dead letters and held commands, with a mail server that fails as it is told.

use serde_json::Value;

use crate::audit::logged;
use crate::smtp::{MailServer, Manner};
use crate::stack::{Stack, folder};

const BODY: &str = r#"{"to": ["test@example.com"], "subject": "Test", "body": "Hello"}"#;

fn send(stack: &Stack) -> (String, Value) {
    let sent =
        stack.run(&["send", "mailer.send_email", "--tenant", "acme", "--json", BODY, "--wait", "180", "-o", "json"]);
    let sent: Value = serde_json::from_str(&sent.out).unwrap();
    (sent["id"].as_str().unwrap().to_owned(), sent["event"]["outcome"].clone())
}

#[tokio::test]
async fn what_failed_is_shown_decided_and_done_again() {
    let (folder, mail) = (folder(), MailServer::start(Manner::HangsUp));
    let port = mail.port.to_string();
    let env = [
        ("SMTP_HOST", "127.0.0.1"),
        ("SMTP_PORT", &port),
        ("SMTP_TLS", "none"),
        ("FROM_EMAIL", "office@example.com"),
        ("ATTEMPTS", "1"),
    ];
    let stack = Stack::start(&folder.path().join("home"), &env);
    assert!(stack.said.contains("leave by SMTP"), "{}", stack.said);

    // A call that did not happen, and no tries left: a dead letter.
    let (dead, outcome) = send(&stack);
    assert_eq!(outcome, "dead_lettered");
    let letters = stack.json(&["dlq", "list"]);
    assert_eq!((&letters[0]["command_id"], &letters[0]["code"]), (&dead.as_str().into(), &"attempts_used_up".into()));
    let number = letters[0]["number"].to_string();
    let shown = stack.run(&["dlq", "show", &number]).well();
    assert!(shown.contains(&dead) && shown.contains("test@example.com"), "{shown}");
    let traced = stack.run(&["trace", &dead]).well();
    assert!(traced.contains("call ended") && traced.contains("dead letter"), "{traced}");
    assert!(stack.json(&["dlq", "list", "--tenant", "globex"]).as_array().unwrap().is_empty());

    // Sent again once the server is well, it is a new command that was caused by the old.
    mail.shall(Manner::Takes);
    let retried = stack.json(&["dlq", "retry", &number]);
    let again = retried["retried"][0]["id"].as_str().unwrap().to_owned();
    assert_ne!(again, dead);
    let event = stack.run(&["tail", "evt.mailer.email_sent.acme", "--since", "all", "-n", "1", "-o", "json"]).well();
    let event: Value = serde_json::from_str(&event).unwrap();
    assert_eq!((&event["causation"], &event["correlation"]), (&again.as_str().into(), &dead.as_str().into()));
    assert_eq!(stack.run(&["dlq", "list"]).well().trim(), "There are no dead letters.");
    assert!(stack.run(&["dlq", "retry", &number]).failed().contains("there is no dead letter"));

    // Garbage is a dead letter with the decoder's words, dies again when it is sent again, and is dropped.
    let js = stack.operator().await;
    js.publish("cmd.greeter.default.greet.acme", "garbage".into()).await.unwrap().await.unwrap();
    let dies = |from: u64| {
        let subject = "dlq.greeter.greet.acme";
        let lines = stack.run(&["tail", subject, "--since", "all", "-n", "1", "-o", "json"]).well();
        let number = serde_json::from_str::<Value>(&lines).unwrap()["sequence"].as_u64().unwrap();
        assert!(number > from, "{lines}");
        number
    };
    let first = dies(0);
    let letters = stack.json(&["dlq", "list", "--code", "undecodable"]);
    assert!(letters[0]["detail"].as_str().unwrap().contains("expected"), "{letters:#}");
    let error = stack.run(&["dlq", "drop", &first.to_string(), "--tenant", "globex"]).failed();
    assert!(error.contains("filters"), "{error}");
    stack.run(&["dlq", "retry", "--all"]).well();
    dies(first);
    assert!(stack.run(&["dlq", "drop", "--all"]).well().contains("Dropped 1"));
    assert_eq!(stack.json(&["status"])["dead_letters"], 0);
    logged(&stack, "acme", &format!(",dlq.retried {number},"));
    logged(&stack, "acme", ",dlq.dropped ");

    // Nobody knows whether these left. A person decides.
    mail.shall(Manner::LosesTheAnswer);
    let held: Vec<_> = (0..3).map(|_| send(&stack)).collect();
    assert!(held.iter().all(|(_, outcome)| outcome == "held"), "{held:?}");
    assert_eq!(stack.json(&["held", "list"]).as_array().unwrap().len(), 3);
    assert_eq!(stack.status()["held"], 3);
    mail.shall(Manner::Takes);
    for ((id, _), (decision, outcome)) in
        held.iter().zip([("--happened", "succeeded"), ("--drop", "rejected"), ("--perform", "succeeded")])
    {
        stack.run(&["held", "resolve", id, decision, "--note", "looked it up"]).well();
        // What is performed once more ends after the decision did.
        let mut seen = stack.json(&["trace", id]);
        while seen["report"]["outcome"].is_null() {
            seen = stack.json(&["trace", id]);
        }
        assert_eq!(seen["report"]["outcome"], outcome, "{decision}: {seen:#}");
    }
    assert_eq!(stack.run(&["held", "list"]).well().trim(), "Nothing is held.");
    let (id, _) = &held[0];
    logged(&stack, "acme", ",mailer.resolve_held,");
    let error = stack.run(&["held", "resolve", id, "--drop", "--note", "again"]).failed();
    assert!(error.contains("no held command"), "{error}");
    let run = stack.run(&["held", "resolve", id, "--note", "neither nor"]);
    assert_eq!(run.status.code(), Some(2), "{run:?}");

    // What is under way is seen in its lane, and for how long.
    let lane = |in_flight: u64| loop {
        let status = stack.json(&["status"]);
        let lane = status["lanes"].as_array().unwrap().iter().find(|lane| lane["consumer"] == "mailer_default");
        if lane.unwrap()["in_flight"] == in_flight {
            return lane.unwrap().clone();
        }
    };
    mail.shall(Manner::Waits);
    stack.run(&["send", "mailer.send_email", "--tenant", "acme", "--json", BODY]).well();
    let busy = lane(1);
    assert!(busy["pending"] == 0 && busy["oldest_seconds"].is_i64(), "{busy:#}");
    mail.shall(Manner::Takes);
    assert_eq!(lane(0)["oldest_seconds"], Value::Null);
}
