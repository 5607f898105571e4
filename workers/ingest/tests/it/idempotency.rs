//! The same request is the same command.

use omnibus_ingest::token::{Claims, sign};
use omnibus_runtime::clock;
use omnibus_schemas::headers;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::stage::{Stage, problem, tenant};

async fn id_of(request: reqwest::RequestBuilder) -> String {
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 202);
    response.json::<Value>().await.unwrap()["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_repeated_request_is_the_same_command_and_another_body_is_refused() {
    let stage = Stage::new().await;
    let (key, _) = stage.key("acme", &["*"]).await;
    let greet = |body: &str| {
        let post = stage.post("/api/v1/greetings").bearer_auth(key.expose());
        post.header("idempotency-key", "order-1").body(body.to_owned())
    };
    let first = id_of(greet(r#"{"name": "Ada"}"#)).await;
    assert_eq!(first.parse::<Uuid>().unwrap().get_version_num(), 5);
    // The same in other words: white space is no other body.
    assert_eq!(id_of(greet("{\"name\":\n\"Ada\"}")).await, first);
    // A door that may not look at the stored duplicate publishes again: under the same id, which the inbox carries out once.
    let stored = stage.stored("greeter").await;
    for sequence in 1..=stored {
        let message = stage.command("greeter", sequence).await;
        assert_eq!(message.subject.as_str(), "cmd.greeter.default.greet.acme");
        assert_eq!(message.headers.get(headers::ID).unwrap().as_str(), first);
    }
    let (status, code, _) = problem(greet(r#"{"name": "Bob"}"#).send().await.unwrap()).await;
    assert_eq!((status, code.as_str()), (422, "idempotency_key_reused"));
    assert_eq!(stage.stored("greeter").await, stored);
}

#[tokio::test]
async fn keys_of_two_tenants_or_two_routes_have_nothing_to_do_with_each_other() {
    let stage = Stage::new().await;
    let (acme, _) = stage.key("acme", &["*"]).await;
    let (globex, _) = stage.key("globex", &["*"]).await;
    let of_acme = id_of(stage.greet(&acme).header("idempotency-key", "1")).await;
    let of_globex = id_of(stage.greet(&globex).header("idempotency-key", "1")).await;
    assert_ne!(of_acme, of_globex);
    let email = stage.post("/api/v1/email/send").bearer_auth(acme.expose()).header("idempotency-key", "1");
    let email = email.json(&json!({"to": ["a@example.com"], "subject": "x", "body": "y"}));
    assert_ne!(id_of(email).await, of_acme);
}

#[tokio::test]
async fn keys_of_two_users_of_a_tenant_have_nothing_to_do_with_each_other() {
    const SECRET: &str = "0123456789abcdef0123456789abcdef";
    let stage = Stage::with(|settings, _| settings.websocket_secret = Some(SECRET.to_owned().into())).await;
    // Such a body does not say who sends it.
    let greet = |user: &str, name: &str| {
        let claims = Claims::new(&tenant("acme"), user, ["*"], clock::now(), 60);
        let token = sign(&SecretString::from(SECRET.to_owned()), &claims).unwrap();
        let post = stage.post("/api/v1/greetings").bearer_auth(token.expose_secret());
        post.header("idempotency-key", "1").json(&json!({"name": name}))
    };
    let of_ada = id_of(greet("ada", "Ada")).await;
    assert_eq!(id_of(greet("ada", "Ada")).await, of_ada);
    assert_ne!(id_of(greet("bob", "Ada")).await, of_ada);
    assert_ne!(id_of(greet("eve", "Eve")).await, of_ada);
    assert_eq!(problem(greet("ada", "Eve").send().await.unwrap()).await.1, "idempotency_key_reused");
    let (key, _) = stage.key("acme", &["*"]).await;
    assert_ne!(id_of(stage.greet(&key).header("idempotency-key", "1")).await, of_ada);
}

#[tokio::test]
async fn of_many_at_once_with_different_bodies_exactly_one_is_accepted() {
    let stage = Stage::new().await;
    let (key, _) = stage.key("acme", &["*"]).await;
    let requests = (0..20).map(|n| {
        let post = stage.post("/api/v1/greetings").bearer_auth(key.expose()).header("idempotency-key", "race");
        post.json(&json!({"name": format!("n{n}")})).send()
    });
    let answers = futures_util::future::join_all(requests).await;
    let accepted = answers.iter().filter(|a| a.as_ref().unwrap().status() == 202).count();
    let refused = answers.iter().filter(|a| a.as_ref().unwrap().status() == 422).count();
    assert_eq!((accepted, refused), (1, 19));
    assert_eq!(stage.stored("greeter").await, 1);
}

#[tokio::test]
async fn a_repetition_after_a_failed_publication_is_published() {
    let stage = Stage::with(|_, bus| bus.cmd_max_msgs = Some(1)).await;
    let (key, _) = stage.key("acme", &["*"]).await;
    id_of(stage.greet(&key)).await;
    let again = || stage.greet(&key).header("idempotency-key", "1").send();
    assert_eq!(problem(again().await.unwrap()).await.1, "queue_full");
    let stream = stage.operator.jetstream().get_stream("CMD_GREETER").await.unwrap();
    stream.purge().await.unwrap();
    assert_eq!(again().await.unwrap().status(), 202);
    assert_eq!(stage.stored("greeter").await, 1);
}

#[tokio::test]
async fn another_tenant_that_took_the_id_first_swallows_nothing() {
    // An id made from a key is the same on every bus: this one is not.
    let elsewhere = Stage::new().await;
    let (key, _) = elsewhere.key("acme", &["*"]).await;
    let id = id_of(elsewhere.greet(&key).header("idempotency-key", "1")).await;

    let stage = Stage::new().await;
    let (key, _) = stage.key("acme", &["*"]).await;
    let globex = stage.connect("tenant_globex").await;
    let mut map = async_nats::HeaderMap::new();
    map.insert(headers::MSG_ID, id.as_str());
    globex.publish("cmd.greeter.default.greet.globex", map, "{}".into()).await.unwrap();

    assert_eq!(id_of(stage.greet(&key).header("idempotency-key", "1")).await, id);
    assert_eq!(stage.stored("greeter").await, 2);
    let message = stage.command("greeter", 2).await;
    assert_eq!(message.subject.as_str(), "cmd.greeter.default.greet.acme");
    assert_eq!(message.headers.get(headers::ID).unwrap().as_str(), id);
    assert!(message.headers.get(headers::MSG_ID).is_none());
}

#[tokio::test]
async fn a_bad_key_is_refused() {
    let stage = Stage::new().await;
    let (key, _) = stage.key("acme", &["*"]).await;
    for bad in ["", "a b", &"x".repeat(201)] {
        let response = stage.greet(&key).header("idempotency-key", bad).send().await.unwrap();
        assert_eq!(problem(response).await.1, "invalid_idempotency_key", "{bad:?}");
    }
}
