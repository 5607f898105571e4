//! What the logs hold, and what they don't.

use omnibus_mailer::worker;
use omnibus_runtime::testing::{Log, Stage};
use omnibus_schemas::mailer::{SendEmail, SendTemplate};
use omnibus_schemas::platform::Outcome;
use omnibus_schemas::{Catalogue, Command};
use serde_json::json;

use crate::server::SmtpServer;

/// The log is the whole process's, so other tests' lines stand in it too; these words are of this test alone.
#[tokio::test]
async fn no_address_text_secret_or_password_gets_into_a_log() {
    let log = Log::begin();
    let options =
        json!({ "user": "quietuser", "password": "quietpassword", "cut": "rcpt", "times": 1, "defer_times": 1 });
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
    // Told "later", so that its attempt is told of as well; and one that is found fault with.
    let mut reset = SendTemplate { to: vec!["defer.quiet@example.com".into()], ..SendTemplate::example() };
    reset.variables["reset_url"] = json!("https://example.com/reset/quietlink");
    let later = stage.publish("acme", &reset).await;
    assert_eq!(stage.outcome(later).await.outcome, Some(Outcome::Succeeded));
    reset.variables["reset_url"] = json!("quietnonsense");
    let unfit = stage.publish("acme", &reset).await;
    assert_eq!(stage.outcome(unfit).await.outcome, Some(Outcome::Rejected));
    running.stop().await;

    assert!(log.says("SMTP_TLS=none") && log.says(&sent.to_string()), "nothing of this test was logged");
    let addresses = ["quiet.one", "refuse.quiet", "defer.quiet"];
    let words = ["quietbody", "quietsubject", "quietpassword", "quietlink", "quietnonsense"];
    for word in addresses.into_iter().chain(words) {
        assert_eq!(log.line_with(word), None, "{word}");
    }
}
