//! MAIL, RCPT and DATA in one piece, to a server that takes that (RFC 2920).

use omnibus_mailer::transport::Verdict;
use omnibus_runtime::CallError;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::scene::SMTP_TIMEOUT;
use crate::server::{SmtpServer, mail, mailer, settings};

/// What the server below tells.
#[derive(Debug, PartialEq)]
enum Told {
    Connected,
    /// What stood between `DATA` and the final dot.
    Taken(String),
}

/// Says nothing to MAIL and RCPT before it has heard DATA. It refuses `refuse...`, and listens after DATA even if it has
/// taken nobody.
async fn patient() -> (u16, mpsc::UnboundedReceiver<Told>) {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = server.local_addr().unwrap().port();
    let (tell, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = server.accept().await {
            let tell = tell.clone();
            let _ = tell.send(Told::Connected);
            tokio::spawn(async move {
                let (reading, mut writing) = stream.into_split();
                let mut lines = BufReader::new(reading).lines();
                writing.write_all(b"220 patient\r\n").await?;
                let (mut answers, mut text) = (String::new(), None::<String>);
                while let Some(line) = lines.next_line().await? {
                    match &mut text {
                        Some(whole) if line == "." => {
                            let _ = tell.send(Told::Taken(std::mem::take(whole)));
                            text = None;
                            writing.write_all(b"250 taken\r\n").await?;
                        }
                        Some(whole) => whole.push_str(&format!("{line}\n")),
                        None if line.starts_with("EHLO") => {
                            writing.write_all(b"250-patient\r\n250-PIPELINING\r\n250 8BITMIME\r\n").await?;
                        }
                        None if line.starts_with("MAIL") => answers.push_str("250 sender\r\n"),
                        None if line.starts_with("RCPT TO:<refuse") => answers.push_str("550 5.1.1 nobody\r\n"),
                        None if line.starts_with("RCPT") => answers.push_str("250 recipient\r\n"),
                        None if line == "DATA" => {
                            answers.push_str("354 go on\r\n");
                            writing.write_all(std::mem::take(&mut answers).as_bytes()).await?;
                            text = Some(String::new());
                        }
                        None => writing.write_all(b"250 ok\r\n").await?,
                    }
                }
                Ok::<_, std::io::Error>(())
            });
        }
    });
    (port, told)
}

#[tokio::test]
async fn all_is_said_before_anything_is_answered_and_each_answer_is_its_recipients() {
    let (port, mut told) = patient().await;
    let mailer = mailer(&settings(port, &SMTP_TIMEOUT));
    for _ in 0..2 {
        let receipt = mailer.transport().send(&mail(&["refuse@example.com", "a@example.com"])).await.unwrap();
        let bounced = Verdict::Bounced { detail: "550 5.1.1 nobody".into(), hard: true };
        assert_eq!(receipt.verdicts, [bounced, Verdict::Sent]);
    }
    let taken = || Told::Taken("Subject: Test\n\nHello\n".into());
    for expected in [Told::Connected, taken(), taken()] {
        assert_eq!(told.recv().await, Some(expected));
    }
    assert!(told.try_recv().is_err());
}

#[tokio::test]
async fn a_server_that_listens_though_it_took_nobody_never_takes_the_next_mails_commands_for_a_text() {
    let (port, mut told) = patient().await;
    let mailer = mailer(&settings(port, &SMTP_TIMEOUT));
    let error = mailer.transport().send(&mail(&["refuse@example.com"])).await.unwrap_err();
    assert!(matches!(error, CallError::Refused { code: "refused", .. }), "{error}");
    let receipt = mailer.transport().send(&mail(&["refuse-1@example.com", "refuse-2@example.com"])).await.unwrap();
    assert_eq!(receipt.refused(), 2);
    mailer.transport().send(&mail(&["a@example.com"])).await.unwrap();
    for _ in 0..3 {
        assert_eq!(told.recv().await, Some(Told::Connected));
    }
    assert_eq!(told.recv().await, Some(Told::Taken("Subject: Test\n\nHello\n".into())));
    assert!(told.try_recv().is_err());
}

#[tokio::test]
async fn a_real_server_judges_mails_that_are_said_in_one_piece_as_it_judges_others() {
    let pipelining = |mut options: serde_json::Value| {
        options["pipelining"] = json!(true);
        SmtpServer::start(options)
    };
    for place in ["greeting", "mail", "rcpt", "data"] {
        let server = pipelining(json!({ "cut": place })).await;
        let error = mailer(&server.settings(&[])).transport().send(&mail(&["a@example.com"])).await.unwrap_err();
        assert!(matches!(error, CallError::NotDone(_)), "{place}: {error}");
        assert!(!server.rest().await.contains(&"accepted".into()), "{place}");
    }
    for (place, said) in [("mail", "550 5.7.1 no"), ("data", "554 5.5.1 no"), ("dot", "554 5.7.1 spam")] {
        let server = pipelining(json!({ "replies": { place: said } })).await;
        let error = mailer(&server.settings(&[])).transport().send(&mail(&["a@example.com"])).await.unwrap_err();
        assert!(matches!(error, CallError::Refused { code: "refused", .. }), "{place}: {error}");
        assert!(error.to_string().contains(said), "{error}");
    }
    let server = pipelining(json!({ "cut": "dot" })).await;
    let error = mailer(&server.settings(&[])).transport().send(&mail(&["a@example.com"])).await.unwrap_err();
    assert!(matches!(error, CallError::Unknown(_)), "{error}");

    // Somebody whom it tells good-bye to ends the talk for all; what was refused leaves nothing for the next mail.
    let mut server = pipelining(json!({})).await;
    let mailer = mailer(&server.settings(&[]));
    let closing = mailer.transport().send(&mail(&["a@example.com", "closing@example.com"])).await.unwrap_err();
    assert!(matches!(closing, CallError::NotDone(_)), "{closing}");
    mailer.transport().send(&mail(&["refuse@example.com"])).await.unwrap_err();
    mailer.transport().send(&mail(&["b@example.com"])).await.unwrap();
    assert_eq!(server.next("accepted").await["to"], json!(["b@example.com"]));
    assert!(!server.rest().await.contains(&"accepted".into()));
}

#[tokio::test]
async fn encryption_and_login_come_before_what_is_said_in_one_piece() {
    let options = json!({ "user": "ada", "password": "right", "tls": "starttls", "pipelining": true });
    let mut server = SmtpServer::start(options).await;
    let cert = server.cert.clone().unwrap();
    let login =
        ["--smtp-tls", "starttls", "--smtp-ca-file", &cert, "--smtp-username", "ada", "--smtp-password", "right"];
    mailer(&server.settings(&login)).transport().send(&mail(&["test@example.com"])).await.unwrap();
    let accepted = server.next("accepted").await;
    assert_eq!((&accepted["user"], &accepted["tls"]), (&json!("ada"), &json!(true)));
}
