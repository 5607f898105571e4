//! What the server says, and what is made of it.

use omnibus_mailer::transport::Verdict;
use omnibus_runtime::CallError;
use serde_json::json;

use crate::server::{SmtpServer, mail, mail_of, mailer};

#[tokio::test]
async fn a_mail_arrives_byte_for_byte() {
    let text = "Subject: Test\r\n\r\n.\r\n..two\r\n. one\r\n\r\nend\r\n";
    let mut server = SmtpServer::start(json!({})).await;
    let mailer = mailer(&server.settings(&[]));
    let receipt = mailer.transport().send(&mail_of(&["test@example.com", "b@example.com"], text)).await.unwrap();
    assert_eq!((receipt.refused(), receipt.detail()), (0, None));
    let accepted = server.next("accepted").await;
    assert_eq!(accepted["text"], text);
    assert_eq!(accepted["from"], "office@example.com");
    assert_eq!(accepted["to"], json!(["test@example.com", "b@example.com"]));
}

#[tokio::test]
async fn later_means_not_done_and_never_means_refused() {
    let server = SmtpServer::start(json!({ "replies": { "mail": "451 4.3.0 try later" } })).await;
    let error = mailer(&server.settings(&[])).transport().send(&mail(&["test@example.com"])).await.unwrap_err();
    assert!(matches!(error, CallError::NotDone(_)), "{error}");
    assert!(error.to_string().contains("451 4.3.0 try later"), "{error}");
    // Once the server has heard of the recipients, its "later" is theirs.
    for (place, said) in [("data", "451 4.3.0 later"), ("dot", "452 4.3.1 full")] {
        let server = SmtpServer::start(json!({ "replies": { place: said } })).await;
        let receipt = mailer(&server.settings(&[])).transport().send(&mail(&["test@example.com"])).await.unwrap();
        assert!(matches!(&receipt.verdicts[..], [Verdict::Deferred(words)] if words.contains(said)), "{receipt:?}");
    }
    for (place, said) in [("mail", "550 5.7.1 no"), ("data", "554 5.5.1 no"), ("dot", "554 5.7.1 spam")] {
        let server = SmtpServer::start(json!({ "replies": { place: said } })).await;
        let error = mailer(&server.settings(&[])).transport().send(&mail(&["test@example.com"])).await.unwrap_err();
        assert!(matches!(error, CallError::Refused { code: "refused", .. }), "{place}: {error}");
        assert!(error.to_string().contains(said), "{error}");
    }
}

#[tokio::test]
async fn a_recipients_no_touches_only_that_recipient() {
    for pipelining in [false, true] {
        let mut server = SmtpServer::start(json!({ "pipelining": pipelining })).await;
        let mailer = mailer(&server.settings(&[]));
        let to = ["refuse@example.com", "a@example.com", "defer@example.com", "b@example.com"];
        let receipt = mailer.transport().send(&mail(&to)).await.unwrap();
        assert_eq!(receipt.refused(), 2);
        assert_eq!(receipt.detail().unwrap(), "550 5.1.1 <address> no such user");
        let bounced = Verdict::Bounced { detail: "550 5.1.1 <address> no such user".into(), hard: true };
        let deferred = Verdict::Deferred("450 4.2.0 <address> greylisted".into());
        assert_eq!(receipt.verdicts, [bounced, Verdict::Sent, deferred, Verdict::Sent]);
        assert_eq!(server.next("accepted").await["to"], json!(["a@example.com", "b@example.com"]));
    }
}

#[tokio::test]
async fn if_nobody_is_taken_one_later_is_worth_another_try() {
    let server = SmtpServer::start(json!({})).await;
    let mailer = mailer(&server.settings(&[]));
    let send = async |to: &[&str]| mailer.transport().send(&mail(to)).await.unwrap_err();
    let refused = send(&["refuse@example.com"]).await;
    assert!(matches!(refused, CallError::Refused { .. }), "{refused}");
    for to in [["refuse@example.com", "defer@example.com"], ["defer@example.com", "refuse@example.com"]] {
        let receipt = mailer.transport().send(&mail(&to)).await.unwrap();
        let count = |wanted: fn(&Verdict) -> bool| receipt.verdicts.iter().filter(|verdict| wanted(verdict)).count();
        assert_eq!(count(|verdict| matches!(verdict, Verdict::Bounced { .. })), 1);
        assert_eq!(count(|verdict| matches!(verdict, Verdict::Deferred(_))), 1);
    }
    let closing = send(&["a@example.com", "closing@example.com"]).await;
    assert!(matches!(closing, CallError::NotDone(_)), "{closing}");
    for error in [refused, closing] {
        assert!(!error.to_string().contains('@'), "{error}");
    }
    assert!(!server.rest().await.contains(&"accepted".into()));
}

#[tokio::test]
async fn a_failure_after_rcpt_touches_only_those_who_were_taken_before() {
    let to = ["refuse@example.com", "a@example.com", "defer@example.com"];
    for (options, words) in [
        (json!({ "replies": { "data": "554 5.5.1 no" } }), "554 5.5.1 no"),
        (json!({ "replies": { "dot": "554 5.7.1 spam" } }), "554 5.7.1 spam"),
        (json!({ "replies": { "dot": "452 4.3.1 full" } }), "452 4.3.1 full"),
        (json!({ "cut": "dot" }), "no answer after the final dot"),
    ] {
        let server = SmtpServer::start(options.clone()).await;
        let receipt = mailer(&server.settings(&[])).transport().send(&mail(&to)).await.unwrap();
        let [refused, taken, deferred] = receipt.verdicts.as_slice() else { panic!("{receipt:?}") };
        assert!(matches!(refused, Verdict::Bounced { hard: true, .. }), "{options}: {refused:?}");
        assert!(matches!(deferred, Verdict::Deferred(said) if said.starts_with("450")), "{options}: {deferred:?}");
        match taken {
            Verdict::Bounced { detail, hard: false } => assert!(words.starts_with("554") && detail.contains(words)),
            Verdict::Deferred(detail) => assert!(words.starts_with("452") && detail.contains(words)),
            Verdict::Unknown(detail) => assert!(words.starts_with("no answer") && detail.contains(words)),
            other => panic!("{options}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_refused_mail_leaves_nothing_for_the_next_one() {
    let mut server = SmtpServer::start(json!({})).await;
    let mailer = mailer(&server.settings(&[]));
    mailer.transport().send(&mail(&["refuse@example.com"])).await.unwrap_err();
    mailer.transport().send(&mail(&["b@example.com"])).await.unwrap();
    assert_eq!(server.next("accepted").await["to"], json!(["b@example.com"]));
    // The connection of the first was used again: nobody connected in between.
    assert!(!server.rest().await.contains(&"connected".into()));
}
