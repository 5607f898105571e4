//! `POST /api/v1/websocket/connect`: tickets for sockets.

use omnibus_ingest::token::{Claims, sign};
use omnibus_runtime::clock;
use reqwest::StatusCode;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use crate::stage::Stage;

const PATH: &str = "/api/v1/websocket/connect";
const SECRET: &str = "a secret of tests, thirty-two characters long";

async fn stage() -> Stage {
    Stage::with(|settings, _| settings.websocket_secret = Some(SECRET.to_owned().into())).await
}

/// What a ticket says, unchecked.
fn said(ticket: &Value) -> Value {
    let payload = ticket.as_str().unwrap().split('.').nth(1).unwrap().to_owned();
    let engine = base64::engine::general_purpose::URL_SAFE_NO_PAD;
    serde_json::from_slice(&base64::Engine::decode(&engine, payload).unwrap()).unwrap()
}

#[tokio::test]
async fn a_back_end_gets_a_ticket_for_the_user_it_names_with_no_more_than_its_own_scopes() {
    let stage = stage().await;
    let (key, record) = stage.key("acme", &["websocket:connect", "websocket:read", "email:*"]).await;
    let ask = |body: Value| stage.post(PATH).bearer_auth(key.expose()).json(&body).send();
    let answer: Value = ask(json!({ "user": "ada" })).await.unwrap().json().await.unwrap();
    let ticket = said(&answer["ticket"]);
    assert_eq!((&ticket["tenant"], &ticket["sub"]), (&json!("acme"), &json!("ada")));
    assert_eq!(ticket["scope"], "websocket:read", "not all that the key may is for browsers");
    assert_eq!(ticket["ticket"]["key"], json!(record.id));
    assert_eq!(ticket["exp"].as_i64().unwrap() - ticket["iat"].as_i64().unwrap(), 30, "seconds that it is good for");
    let url = answer["url"].as_str().unwrap();
    assert!(url.starts_with("ws://127.0.0.1:") && url.contains("/ws?ticket="), "{url}");
    let other: Value = ask(json!({ "user": "ada" })).await.unwrap().json().await.unwrap();
    assert_ne!(said(&other["ticket"])["ticket"]["id"], ticket["ticket"]["id"]);

    let asked: Value = ask(json!({ "user": "ada", "scopes": ["email:read"] })).await.unwrap().json().await.unwrap();
    assert_eq!(said(&asked["ticket"])["scope"], "email:read");
    for (body, pointer) in [
        (json!({}), "/user"),
        (json!({ "user": "Ada Lovelace" }), "/user"),
        (json!({ "user": "ada", "scopes": ["websocket:read", "sms:send"] }), "/scopes/1"),
        (json!({ "user": "ada", "scopes": ["*"] }), "/scopes/0"),
        (json!({ "user": "ada", "scopes": ["email:read sms:send"] }), "/scopes"),
    ] {
        let answer = ask(body.clone()).await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNPROCESSABLE_ENTITY, "{body}");
        let problem: Value = answer.json().await.unwrap();
        let named = problem["faults"][0]["pointer"].as_str().unwrap();
        assert!(named.starts_with(pointer), "{body}: {problem}");
    }
}

#[tokio::test]
async fn a_users_token_gets_tickets_for_that_user_alone() {
    let stage = stage().await;
    let claims =
        Claims::new(&"acme".parse().unwrap(), "ada", ["websocket:connect", "websocket:write"], clock::now(), 60);
    let token = sign(&SecretString::from(SECRET.to_owned()), &claims).unwrap().expose_secret().to_owned();
    let ask = |body: Value| stage.post(PATH).bearer_auth(&token).json(&body).send();
    let answer: Value = ask(json!({})).await.unwrap().json().await.unwrap();
    let ticket = said(&answer["ticket"]);
    assert_eq!((&ticket["sub"], &ticket["ticket"]["until"]), (&json!("ada"), &json!(claims.exp)));
    assert_eq!(ask(json!({ "user": "bob" })).await.unwrap().status(), StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn a_ticket_opens_nothing_at_this_door() {
    let stage = stage().await;
    let (key, _) = stage.key("acme", &["*"]).await;
    let answer: Value = stage
        .post(PATH)
        .bearer_auth(key.expose())
        .json(&json!({ "user": "ada", "scopes": ["*"] }))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let ticket = answer["ticket"].as_str().unwrap();
    for path in [PATH, "/api/v1/greetings"] {
        let answer = stage.post(path).bearer_auth(ticket).json(&json!({})).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{path}");
    }
}

#[tokio::test]
async fn without_a_scope_or_a_secret_there_are_no_tickets() {
    let ours = stage().await;
    let (key, _) = ours.key("acme", &["websocket:read"]).await;
    let answer = ours.post(PATH).bearer_auth(key.expose()).json(&json!({ "user": "ada" })).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    let without = Stage::new().await;
    let (key, _) = without.key("acme", &["*"]).await;
    let answer = without.post(PATH).bearer_auth(key.expose()).json(&json!({ "user": "ada" })).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::NOT_IMPLEMENTED);
    assert_eq!(answer.json::<Value>().await.unwrap()["code"], "no_tickets");
}
