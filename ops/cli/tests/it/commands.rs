//! `send`, `tail`, `trace`, `status`, `completions`.

use crate::stack::{Run, Stack, folder, omnibus};

#[test]
fn a_sent_command_is_carried_out_and_can_be_traced() {
    let stack = Stack::shared();
    let sent =
        stack.json(&["send", "greeter.greet", "--tenant", "tracer", "--json", r#"{"name":"Ada"}"#, "--wait", "60"]);
    assert_eq!((&sent["event"]["outcome"], &sent["event"]["data"]["name"]), (&"succeeded".into(), &"Ada".into()));

    let id = sent["id"].as_str().unwrap();
    let story = stack.json(&["trace", id]);
    let steps: Vec<_> = story["steps"].as_array().unwrap().iter().map(|step| step["what"].as_str().unwrap()).collect();
    assert_eq!(steps[..2], ["accepted", "claimed"], "{story:#}");
    assert!(steps.contains(&"ended") && steps.contains(&"event"), "{story:#}");
    let at = |step: &serde_json::Value| chrono::DateTime::parse_from_rfc3339(step["at"].as_str()?).ok();
    let times: Vec<_> = story["steps"].as_array().unwrap().iter().filter_map(at).collect();
    assert!(times.len() >= 4 && times.is_sorted(), "{story:#}");
    assert_eq!((&story["tenant"], &story["domain"]), (&"tracer".into(), &"greeter".into()));
    let table = stack.run(&["trace", id, "--tenant", "tracer"]).well();
    assert!(table.contains("evt.greeter.greeted.tracer") && table.contains(r#"{"name":"Ada"}"#), "{table}");
    assert!(!table.contains('\u{1b}'), "no colours where there is no terminal");
    let other = stack.run(&["trace", id, "--tenant", "somebody"]).failed();
    assert!(other.contains("neither a command nor an event"), "{other}");
}

#[test]
fn every_faulty_field_is_told_and_nothing_is_sent() {
    let stack = Stack::shared();
    let send = |json: &str| stack.run(&["send", "mailer.send_email", "--tenant", "faulty", "--json", json]);
    let run = send(r#"{"to": ["nonsense"], "subject": "", "body": "Hello"}"#);
    assert!(run.out.contains("/to/0") && run.out.contains("/subject"), "{run:?}");
    assert!(run.failed().contains("nothing was sent"));
    let run = send(r#"{"to": ["a@example.com"], "subject": "x", "body": "y", "bodi": 1}"#);
    assert!(run.out.contains("/bodi") && run.out.contains("unknown field"), "{run:?}");
    send("{").failed();
    let error = stack.run(&["send", "mailer.send_emial", "--json", "{}"]).failed();
    assert!(error.contains("mailer.send_email"), "{error}");
    let there = stack.run(&["tail", "cmd.mailer.*.*.faulty", "--since", "all", "--no-follow"]).well();
    assert_eq!(there, "");
    let example = stack.run(&["send", "mailer.send_email", "--example"]).well();
    send(&example).well();
}

/// What nobody is to read on the bus is sealed by its worker first, as the door has it done.
#[test]
fn what_is_to_be_sealed_is_sealed_before_it_is_sent() {
    let stack = Stack::shared();
    let check = r#"{"to":"+14155552671","code":"73914682"}"#;
    let sent = stack.json(&["send", "texter.verify_code", "--tenant", "sealing", "--json", check, "--wait", "60"]);
    assert_eq!((&sent["event"]["outcome"], &sent["event"]["data"]["verified"]), (&"succeeded".into(), &false.into()));
    let there = stack.run(&["tail", "cmd.texter.*.*.sealing", "--since", "all", "--no-follow", "-o", "json"]).well();
    assert!(there.contains("verify_code") && !there.contains("73914682"), "{there}");
}

#[test]
fn tail_reads_both_encodings_and_follows() {
    let stack = Stack::shared();
    let send = |name: &str| {
        let json = format!(r#"{{"name":"{name}"}}"#);
        stack.run(&["send", "greeter.greet", "--tenant", "tailed", "--json", &json, "--wait", "60"]).well()
    };
    send("Ada");
    // Commands are MessagePack, events are JSON.
    for subject in ["cmd.greeter.*.*.tailed", "evt.greeter.*.tailed"] {
        let lines = stack.run(&["tail", subject, "--since", "1h", "-n", "1", "-o", "json"]).well();
        let line: serde_json::Value = serde_json::from_str(lines.trim()).unwrap();
        assert_eq!(line["data"]["name"], "Ada", "{line:#}");
    }
    let follow = omnibus(stack.home(), &["tail", "evt.*.*.tailed", "--since", "1h", "-n", "2"]);
    let follow = std::thread::spawn(move || Run::of(follow));
    send("Grace");
    let out = follow.join().unwrap().well();
    assert!(out.lines().count() == 2 && out.contains("Grace"), "{out}");
    assert!(stack.run(&["tail", "cmd.>", "--since", "all"]).failed().contains("name the domain"));
    assert!(stack.run(&["tail", "evt..x"]).failed().contains("is no subject"));
}

#[tokio::test]
async fn outcomes_have_their_colours_where_colours_are_wanted() {
    let stack = Stack::shared();
    let sent = ["send", "greeter.greet", "--tenant", "coloured", "--json", r#"{"name":"Ada"}"#, "--wait", "60"];
    stack.run(&sent).well();
    let js = stack.operator().await;
    js.publish("cmd.greeter.default.greet.coloured", "garbage".into()).await.unwrap().await.unwrap();
    let tail = |variable: &str| {
        let mut command = omnibus(stack.home(), &["tail", "evt.greeter.*.coloured", "--since", "all", "-n", "2"]);
        command.env(variable, "1");
        Run::of(command).well()
    };
    let forced = tail("CLICOLOR_FORCE");
    for coloured in ["\u{1b}[32msucceeded", "\u{1b}[31mdead_lettered"] {
        assert!(forced.contains(coloured), "{forced:?}");
    }
    assert!(!tail("NO_COLOR").contains('\u{1b}'));
}

#[test]
fn a_tenant_is_told_at_once_what_it_may_not_do() {
    let stack = Stack::shared();
    for (args, words) in [
        (&["tail", "evt.>"][..], "subscribe 'evt.>'"),
        (&["status"], "publish '$JS.API.STREAM.INFO.SCHEDULE'"),
        (&["key", "list"], "publish '$JS.API.STREAM.INFO.KV_keys'"),
    ] {
        let mut command = omnibus(stack.home(), args);
        command.env("NATS_NKEY_FILE", stack.home().join("creds/tenant_demo.nk"));
        let error = Run::of(command).failed();
        assert!(error.contains(&format!("'tenant_demo' may not {words}")) && error.contains("operator.nk"), "{error}");
    }
}

#[test]
fn status_shows_lanes_streams_and_workers() {
    let stack = Stack::shared();
    let status = stack.status();
    let of = |list: &str, field: &str| -> Vec<String> {
        let items = status[list].as_array().unwrap().iter();
        items.map(|item| item[field].as_str().unwrap().to_owned()).collect()
    };
    let expected = ["auditor", "brander", "commissioner", "greeter", "mailer", "presence", "texter"];
    assert_eq!(of("workers", "name"), expected);
    assert!(of("lanes", "consumer").contains(&"mailer_default".to_owned()), "{status:#}");
    assert!(of("streams", "stream").contains(&"CMD_GREETER".to_owned()), "{status:#}");
    assert_eq!((status["away"].to_string(), status["missing"].to_string()), ("[]".into(), "[]".into()));
    let table = stack.run(&["status"]).well();
    assert!(table.contains("mailer_default") && table.contains("dead letters:"), "{table}");
}

#[test]
fn completions_name_the_commands() {
    let folder = folder();
    for shell in ["bash", "zsh", "fish"] {
        let script = Run::of(omnibus(folder.path(), &["completions", shell])).well();
        assert!(script.contains("trace") && script.contains("dlq"), "{shell}");
    }
}
