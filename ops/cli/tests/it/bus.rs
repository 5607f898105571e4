//! `omnibus bus` and `omnibus migrate`.

use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use crate::audit::logged;
use crate::stack::{Run, Stack, folder, omnibus};

#[test]
fn applying_twice_changes_nothing_and_drift_is_shown_field_by_field() {
    let folder = folder();
    let stack = Stack::start(&folder.path().join("home"), &[]);
    assert_eq!(stack.json(&["bus", "apply"])["changes"], json!([]));
    assert_eq!(stack.json(&["bus", "plan"]), json!({ "changes": [], "unmanaged": [] }));
    assert_eq!(stack.json(&["bus", "check"]), json!([]));

    let plan = stack.run(&["bus", "plan", "--evt-max-age-days", "31"]).well();
    assert!(plan.contains("~ stream EVT\n    max_age: ") && plan.contains("1 to change"), "{plan}");
    let check = stack.run(&["bus", "check", "--evt-max-age-days", "31"]);
    assert!(check.out.contains("stream EVT: max_age: "), "{check:?}");
    assert!(check.failed().contains("omnibus bus apply"));

    let rooms = ["--rooms-max-age-days", "3", "--rooms-max-entries", "77", "--rooms-max-bytes", "123456789"];
    let plan = stack.run(&[&["bus", "plan"], &rooms[..]].concat()).well();
    assert!(plan.contains("~ stream ROOMS\n") && plan.contains("1 to change"), "{plan}");
    for field in ["max_age: ", "max_msgs_per_subject: ", "max_bytes: "] {
        assert!(plan.contains(field), "{field}: {plan}");
    }

    let applied = stack.run(&["bus", "apply", "--evt-max-age-days", "31"]).well();
    assert!(applied.contains("0 created, 1 changed"), "{applied}");
    logged(&stack, "_", ",bus.applied bus,");
    stack.run(&["bus", "check", "--evt-max-age-days", "31"]).well();
    assert!(stack.run(&["bus", "apply", "--replicas", "2"]).failed().contains("1, 3 or 5"));
}

#[test]
fn migrations_are_applied_once() {
    let stack = Stack::shared();
    let rows = stack.json(&["migrate", "--check"]);
    let schemas: Vec<_> = rows.as_array().unwrap().iter().map(|row| row["schema"].as_str().unwrap()).collect();
    let expected = ["bus", "mailer", "texter", "commissioner", "brander", "auditor", "presence", "greeter"];
    assert_eq!(schemas, expected);
    assert!(stack.run(&["migrate"]).well().contains("up to date"));
    let nowhere = folder();
    assert!(Run::of(omnibus(nowhere.path(), &["migrate"])).failed().contains("DATABASE_URL"));
}

#[test]
fn a_servers_configuration_holds_public_keys_and_no_seed() {
    let folder = folder();
    let run = Run::of(omnibus(folder.path(), &["bus", "config", "--tenant", "acme", "--store-dir", "/data"]));
    let config = run.well();
    assert!(config.contains("# tenant_acme") && config.contains("store_dir: \"/data\""), "{config}");
    for seed in std::fs::read_dir(folder.path().join("creds")).unwrap() {
        let seed = seed.unwrap().path();
        assert_eq!(seed.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!config.contains(std::fs::read_to_string(&seed).unwrap().trim()));
    }
    let again = Run::of(omnibus(folder.path(), &["bus", "config", "--tenant", "acme", "--store-dir", "/data"]));
    assert_eq!(again.well(), config, "seeds are made once");
}

#[test]
fn without_a_server_it_is_said_what_would_do() {
    let nowhere = folder();
    let error = Run::of(omnibus(nowhere.path(), &["status"])).failed();
    assert!(error.contains("omnibus up") && error.contains("NATS_URL"), "{error}");
    let mut command = omnibus(nowhere.path(), &["status"]);
    command.env("NATS_URL", "nats://me:hush@127.0.0.1:1");
    let error = Run::of(command).failed();
    assert!(error.contains("no NATS server answers at nats://127.0.0.1:1") && !error.contains("hush"), "{error}");
}
