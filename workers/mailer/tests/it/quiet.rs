//! What the logs hold, and what they don't.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use omnibus_mailer::worker;
use omnibus_runtime::testing::Stage;
use omnibus_schemas::mailer::SendEmail;
use omnibus_schemas::platform::Outcome;
use omnibus_schemas::{Catalogue, Command};
use serde_json::json;

use crate::server::SmtpServer;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The log is the whole process's, so other tests' lines stand in it too; these words are of this test alone.
#[tokio::test]
async fn no_address_text_or_password_gets_into_a_log() {
    let log = Log::default();
    let to = log.clone();
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::DEBUG)
        .with_writer(move || to.clone())
        .with_ansi(false)
        .try_init()
        .unwrap();
    let options = json!({ "user": "quietuser", "password": "quietpassword", "cut": "rcpt", "times": 1 });
    let server = SmtpServer::start(options).await;
    let login = ["--smtp-username", "quietuser", "--smtp-password", "quietpassword"];
    let stage = Stage::new(Catalogue::omnibus()).await;
    let running = stage.run(worker(server.settings(&login)).unwrap()).await;
    let text = SendEmail { body: "quietbody".into(), subject: "quietsubject".into(), ..SendEmail::example() };
    let sent = SendEmail { to: vec!["quiet.one@example.com".into()], ..text.clone() };
    let sent = stage.publish("acme", &sent).await;
    assert_eq!(stage.outcome(sent).await.outcome, Some(Outcome::Succeeded));
    let refused = SendEmail { to: vec!["refuse.quiet@example.com".into()], ..text };
    let refused = stage.publish("acme", &refused).await;
    assert_eq!(stage.outcome(refused).await.outcome, Some(Outcome::Rejected));
    running.stop().await;

    let log = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
    assert!(log.contains("SMTP_TLS=none") && log.contains(&sent.to_string()), "{log}");
    for word in ["quiet.one", "refuse.quiet", "quietbody", "quietsubject", "quietpassword"] {
        let line = log.lines().find(|line| line.contains(word));
        assert_eq!(line, None, "{word}");
    }
}
