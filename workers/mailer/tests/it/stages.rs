//! How far a mail had come when the connection broke decides what is said about it.

use omnibus_runtime::CallError;
use serde_json::json;

use crate::server::{SmtpServer, mail, mail_of, mailer, nobody, settings};

#[tokio::test]
async fn a_server_that_is_not_there_means_not_done() {
    let error = mailer(&settings(nobody(), &[])).transport().send(&mail(&["test@example.com"])).await.unwrap_err();
    assert!(matches!(error, CallError::NotDone(_)), "{error}");
}

#[tokio::test]
async fn a_cut_before_the_final_dot_means_not_done() {
    for place in ["greeting", "mail", "rcpt", "data"] {
        let server = SmtpServer::start(json!({ "cut": place })).await;
        let error = mailer(&server.settings(&[])).transport().send(&mail(&["test@example.com"])).await.unwrap_err();
        assert!(matches!(error, CallError::NotDone(_)), "{place}: {error}");
        assert!(!server.rest().await.contains(&"accepted".into()), "{place}");
    }
}

#[tokio::test]
async fn a_cut_while_the_mail_is_on_its_way_means_not_done() {
    // More than two machines keep in their buffers for one connection.
    let text = format!("Subject: Long\r\n\r\n{}", "0123456789abcdef\r\n".repeat(2_000_000));
    let server = SmtpServer::start(json!({ "cut": "body" })).await;
    let mailer = mailer(&server.settings(&[]));
    let error = mailer.transport().send(&mail_of(&["test@example.com"], &text)).await.unwrap_err();
    assert!(matches!(error, CallError::NotDone(_)), "{error}");
    assert!(error.to_string().contains("before its final dot"), "{error}");
}

#[tokio::test]
async fn a_cut_after_the_final_dot_means_unknown() {
    let mut server = SmtpServer::start(json!({ "cut": "dot" })).await;
    let mailer = mailer(&server.settings(&[]));
    let error = mailer.transport().send(&mail(&["test@example.com"])).await.unwrap_err();
    assert!(matches!(error, CallError::Unknown(_)), "{error}");
    assert!(error.to_string().contains("no answer after the final dot"), "{error}");
    server.next("accepted").await;
}

#[tokio::test]
async fn a_small_mail_cut_before_the_server_read_it_is_unknown_too_for_nobody_here_can_tell() {
    let server = SmtpServer::start(json!({ "cut": "body" })).await;
    let error = mailer(&server.settings(&[])).transport().send(&mail(&["test@example.com"])).await.unwrap_err();
    assert!(matches!(error, CallError::Unknown(_)), "{error}");
}

#[tokio::test]
async fn silence_is_judged_by_its_place_as_well() {
    let server = SmtpServer::start(json!({ "stall": "mail" })).await;
    // Long enough for all that it does say.
    let quick = ["--smtp-timeout", "5"];
    let error = mailer(&server.settings(&quick)).transport().send(&mail(&["test@example.com"])).await.unwrap_err();
    assert!(matches!(error, CallError::NotDone(_)), "{error}");

    let server = SmtpServer::start(json!({ "stall": "dot" })).await;
    let error = mailer(&server.settings(&quick)).transport().send(&mail(&["test@example.com"])).await.unwrap_err();
    assert!(matches!(error, CallError::Unknown(_)), "{error}");
}

#[tokio::test]
async fn a_connection_is_used_again() {
    let mut server = SmtpServer::start(json!({})).await;
    let mailer = mailer(&server.settings(&[]));
    for _ in 0..3 {
        mailer.transport().send(&mail(&["test@example.com"])).await.unwrap();
        server.next("accepted").await;
    }
    assert!(!server.rest().await.contains(&"connected".into()));
}

#[tokio::test]
async fn a_connection_closed_at_rest_costs_the_next_mail_nothing() {
    let mut server = SmtpServer::start(json!({ "hang_up": true })).await;
    let mailer = mailer(&server.settings(&[]));
    for _ in 0..3 {
        mailer.transport().send(&mail(&["test@example.com"])).await.unwrap();
        server.next("accepted").await;
        server.next("closed").await;
    }
}

#[tokio::test]
async fn more_mails_than_connections_wait_for_each_other() {
    let server = SmtpServer::start(json!({})).await;
    let mailer = mailer(&server.settings(&["--smtp-pool", "2"]));
    let mail = mail(&["test@example.com"]);
    let send = || async { mailer.transport().send(&mail).await.unwrap() };
    tokio::join!(send(), send(), send(), send(), send());
    let events = server.rest().await;
    assert_eq!(events.iter().filter(|event| *event == "accepted").count(), 5);
    assert!(events.iter().filter(|event| *event == "connected").count() <= 2, "{events:?}");
}
