//! Mails at the HTTP door: asked for, and unsubscribed from.

use omnibus_runtime::testing::{Running, Stage};
use omnibus_schemas::mailer::{EmailState, EmailStatus, SendEmail};
use omnibus_schemas::{Catalogue, Command};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::catalogue::mailer;
use crate::opened::Opened;
use crate::scene::eventually;

async fn run(stage: &Stage, folder: &tempfile::TempDir) -> Running {
    stage.run(omnibus_mailer::worker(mailer(folder.path())).unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_is_accepted_is_not_delivered_yet_and_may_never_be() {
    let (stage, folder) = (Stage::new(Catalogue::omnibus()).await, tempfile::tempdir().unwrap());
    let door = Opened::on(&stage).await;
    // Nobody is there to send it, and the tenant may not send as this.
    let mail = json!({ "to": ["ada@example.com"], "from": "ceo@bank.example", "subject": "Test", "body": "Hello" });
    let answer = door.ask(Method::POST, "/api/v1/email/send").json(&mail).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    let accepted: Value = answer.json().await.unwrap();
    let status_url = accepted["status_url"].as_str().unwrap();

    let _running = run(&stage, &folder).await;
    eventually("it has failed, and its status says so", || async {
        let answer = door.ask(Method::GET, status_url).send().await.unwrap();
        answer.json::<Value>().await.unwrap()["status"] == "failed"
    })
    .await;
}

/// How far a newsletter comes that is sent now.
async fn newsletter(stage: &Stage) -> EmailState {
    let id = stage.publish("acme", &SendEmail { stream: "marketing".into(), ..SendEmail::example() }).await;
    stage.outcome(id).await;
    stage.ask("mailer", "acme", &EmailStatus { email_id: id }).await.unwrap().status
}

#[tokio::test(flavor = "multi_thread")]
async fn one_click_wants_no_cookie_and_leads_nowhere_else_and_whoever_only_follows_the_link_stays_subscribed() {
    let (stage, folder) = (Stage::new(Catalogue::omnibus()).await, tempfile::tempdir().unwrap());
    let _running = run(&stage, &folder).await;
    let door = Opened::on(&stage).await;
    assert_eq!(newsletter(&stage).await, EmailState::Sent);
    let mut files = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let file = files.find(|path| path.extension().is_some_and(|ending| ending == "eml")).unwrap();
    let text = std::fs::read_to_string(file).unwrap().replace("\r\n ", " ");
    let (_, link) = text.split_once("List-Unsubscribe: <http://localhost:8080").expect("a newsletter has a link");
    let (path, _) = link.split_once('>').unwrap();

    let page = door.visit(Method::GET, path).send().await.unwrap();
    assert_eq!((page.status(), page.headers().get("set-cookie")), (StatusCode::OK, None));
    assert_eq!(newsletter(&stage).await, EmailState::Sent);

    // As a mail client does it, which has no cookie and follows no redirect.
    let click = door.visit(Method::POST, path).header("content-type", "application/x-www-form-urlencoded");
    let clicked = click.body("List-Unsubscribe=One-Click").send().await.unwrap();
    assert_eq!((clicked.status(), clicked.headers().get("location")), (StatusCode::OK, None));
    stage.event(|told| told.name == "recipient_unsubscribed").await;
    assert_eq!(newsletter(&stage).await, EmailState::Suppressed);
}
