//! Encryption and login.

use omnibus_runtime::CallError;
use serde_json::json;

use crate::server::{SmtpServer, mail, mailer, settings};

#[tokio::test]
async fn starttls_and_implicit_tls_both_encrypt() {
    for mode in ["starttls", "tls"] {
        let mut server = SmtpServer::start(json!({ "tls": mode })).await;
        let cert = server.cert.clone().unwrap();
        let mailer = mailer(&server.settings(&["--smtp-tls", mode, "--smtp-ca-file", &cert]));
        mailer.transport().send(&mail(&["test@example.com"])).await.unwrap();
        assert_eq!(server.next("accepted").await["tls"], true, "{mode}");
    }
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_is_not_trusted() {
    for mode in ["starttls", "tls"] {
        let server = SmtpServer::start(json!({ "tls": mode })).await;
        let mailer = mailer(&server.settings(&["--smtp-tls", mode]));
        let error = mailer.transport().send(&mail(&["test@example.com"])).await.unwrap_err();
        assert!(matches!(error, CallError::NotDone(_)), "{error}");
        assert!(error.to_string().contains("certificate"), "{error}");
        assert!(!server.rest().await.contains(&"accepted".into()));
    }
}

#[tokio::test]
async fn a_server_without_starttls_gets_no_mail_unless_that_is_said() {
    let server = SmtpServer::start(json!({})).await;
    let mailer = mailer(&server.settings(&["--smtp-tls", "starttls"]));
    let error = mailer.transport().send(&mail(&["test@example.com"])).await.unwrap_err();
    assert!(matches!(error, CallError::NotDone(_)), "{error}");
    assert!(error.to_string().contains("SMTP_TLS=none"), "{error}");
    assert!(!server.rest().await.contains(&"accepted".into()));
}

#[tokio::test]
async fn the_right_password_logs_in() {
    let mut server = SmtpServer::start(json!({ "user": "ada", "password": "right", "tls": "starttls" })).await;
    let cert = server.cert.clone().unwrap();
    let login =
        ["--smtp-tls", "starttls", "--smtp-ca-file", &cert, "--smtp-username", "ada", "--smtp-password", "right"];
    let mailer = mailer(&server.settings(&login));
    mailer.transport().send(&mail(&["test@example.com"])).await.unwrap();
    assert_eq!(server.next("accepted").await["user"], "ada");
}

#[tokio::test]
async fn a_wrong_password_or_none_is_the_settings_fault_and_not_the_mails() {
    let server = SmtpServer::start(json!({ "user": "ada", "password": "right" })).await;
    for (login, words) in [(&["--smtp-username", "ada", "--smtp-password", "wr0ng"][..], "SMTP_PASSWORD"), (&[], "530")]
    {
        let error = mailer(&server.settings(login)).transport().send(&mail(&["test@example.com"])).await.unwrap_err();
        assert!(matches!(error, CallError::NotDone(_)), "{error}");
        assert!(error.to_string().contains(words) && !error.to_string().contains("wr0ng"), "{error}");
    }
    assert!(!server.rest().await.contains(&"accepted".into()));
}

#[test]
fn half_a_login_is_told_at_the_start() {
    let error = omnibus_mailer::Mailer::new(&settings(25, &["--smtp-username", "ada"])).unwrap_err();
    assert!(error.to_string().contains("SMTP_PASSWORD"), "{error}");
}
