//! How `omnibus up` starts, ends, and is ended.

use std::net::TcpListener;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::stack::{Run, Stack, folder, omnibus};

#[test]
fn the_demo_plays_one_real_order_through_and_ends() {
    let folder = folder();
    let home = folder.path().join("home");
    let run = Run::of(omnibus(&home, &["up", "--demo", "--once", "--http-listen", "127.0.0.1:0", "--nats-port", "0"]));
    let out = run.well();
    for shown in
        ["200 OK", r#""outcome": "succeeded""#, "The mail landed in", "| Subject: Test", "evt.mailer.email_sent.demo"]
    {
        assert!(out.contains(shown), "{shown}: {out}");
    }
    assert_eq!(std::fs::read_dir(home.join("mail")).unwrap().count(), 2);
    // Ended in good order, it leaves nobody behind who would be in the way.
    Run::of(omnibus(&home, &["up", "--demo", "--once", "--http-listen", "127.0.0.1:0", "--nats-port", "0"])).well();
}

#[test]
fn ctrl_c_ends_it_with_status_0() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let folder = folder();
        let mut stack = Stack::start(&folder.path().join("home"), &[]);
        stack.signal(signal);
        let (status, err) = stack.ended();
        assert_eq!(status.code(), Some(0), "{signal}: {err}");
    }
}

#[test]
fn killed_it_starts_again_with_everything_it_had() {
    let folder = folder();
    let home = folder.path().join("home");
    let mut stack = Stack::start(&home, &[]);
    let sent = stack.json(&["send", "greeter.greet", "--json", r#"{"name":"Ada"}"#, "--wait", "60"]);
    let key = stack.line("demo-key");

    let second = Run::of(omnibus(&home, &["up", "--http-listen", "127.0.0.1:0", "--nats-port", "0"])).failed();
    assert!(second.contains("another `omnibus up` runs in"), "{second}");
    stack.signal(Signal::SIGKILL);
    stack.ended();

    let stack = Stack::start(&home, &[]);
    assert_eq!(stack.line("demo-key"), key, "the key is still good, and still there");
    let story = stack.json(&["trace", sent["id"].as_str().unwrap()]);
    assert_eq!(story["report"]["outcome"], "succeeded");
    let again = stack.json(&["send", "greeter.greet", "--json", r#"{"name":"Ada"}"#, "--wait", "60"]);
    assert_eq!(again["event"]["data"]["revision"], 2, "the database is the same");
}

#[test]
fn a_server_that_dies_is_told_and_ends_it() {
    let folder = folder();
    let mut stack = Stack::start(&folder.path().join("home"), &[]);
    let pid: i32 = stack.line("nats/nats.pid").parse().unwrap();
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    let (status, err) = stack.ended();
    assert_eq!(status.code(), Some(1), "{err}");
    assert!(err.contains("nats-server ended by itself"), "{err}");
}

#[test]
fn a_taken_port_is_told_with_what_would_do() {
    let folder = folder();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, port) = (taken.local_addr().unwrap().to_string(), taken.local_addr().unwrap().port().to_string());
    let error = Run::of(omnibus(folder.path(), &["up", "--http-listen", &address])).failed();
    assert!(error.contains(&address) && error.contains("--http-listen"), "{error}");
    let args = ["up", "--http-listen", "127.0.0.1:0", "--nats-port", &port];
    let error = Run::of(omnibus(folder.path(), &args)).failed();
    assert!(error.contains(&port) && error.contains("--nats-port"), "{error}");
}

#[test]
fn a_wrong_setting_is_told_before_anything_starts() {
    let folder = folder();
    for (name, value, words) in [
        ("SMTP_HOST", "mail.example.com", "FROM_EMAIL"),
        ("SMTP_POOL", "0", "--smtp-pool"),
        ("BATCH", "many", "--batch"),
        ("WEBSOCKET_SECRET", "short", "WEBSOCKET_SECRET"),
    ] {
        let mut command = omnibus(folder.path(), &["up", "--http-listen", "127.0.0.1:0", "--nats-port", "0"]);
        command.env(name, value);
        let error = Run::of(command).failed();
        assert!(error.contains(words), "{name}: {error}");
    }
    assert!(!folder.path().join("nats").exists());
}
