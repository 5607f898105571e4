//! Who may do what, and that nobody is anybody else.

use std::time::Duration;

use chrono::TimeDelta;
use futures_util::TryStreamExt;
use omnibus_bus::Topology;
use omnibus_ingest::keys;
use omnibus_ingest::token::{self, Claims};
use omnibus_runtime::clock;
use omnibus_schemas::{Catalogue, Method, headers};
use reqwest::StatusCode;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use crate::stage::{PATIENCE, Stage, problem, tenant};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

#[tokio::test]
async fn without_a_valid_credential_nothing_is_open() {
    let stage = Stage::new().await;
    let (key, _) = stage.key("acme", &["*"]).await;
    let other_tenant = key.expose().replace("omk_acme_", "omk_globex_");
    let longer = format!("{}0", key.expose());
    for credential in ["", "nonsense", "omk_acme_", &other_tenant, &longer, "a.b.c"] {
        let response = stage.post("/api/v1/greetings").bearer_auth(credential).json(&json!({"name": "Ada"}));
        let response = response.send().await.unwrap();
        assert!(response.headers().contains_key("www-authenticate"));
        assert_eq!(problem(response).await.1, "unauthenticated", "{credential}");
    }
    let basic = stage.get("/api/v1/greetings/Ada").basic_auth("omk", Some(key.expose())).send().await.unwrap();
    assert_eq!(basic.status(), 401);
    let none = stage.get("/api/v1/greetings/Ada").send().await.unwrap();
    assert_eq!(none.status(), 401);
    assert_eq!(stage.stored("greeter").await, 0);
}

#[tokio::test]
async fn every_route_of_the_catalogue_demands_its_own_scope() {
    let stage = Stage::new().await;
    let (key, _) = stage.key("acme", &["unheard:of"]).await;
    let catalogue = Catalogue::omnibus();
    let commands = catalogue.commands().filter_map(|c| Some((c.http.as_ref()?, &c.scope)));
    let queries = catalogue.queries().filter_map(|q| Some((q.http.as_ref()?, &q.scope)));
    let mut walked = 0;
    for (route, scope) in commands.chain(queries) {
        let path: String = route
            .path
            .split('/')
            .skip(1)
            .map(|s| if s.starts_with('{') { "/x" } else { "/-" }.replace('-', s))
            .collect();
        let method = match route.method {
            Method::Get => reqwest::Method::GET,
            Method::Post => reqwest::Method::POST,
            Method::Put => reqwest::Method::PUT,
            Method::Delete => reqwest::Method::DELETE,
        };
        let request = stage.http.request(method, format!("{}{path}", stage.url)).bearer_auth(key.expose());
        let (status, code, document) = problem(request.send().await.unwrap()).await;
        assert_eq!((status, code.as_str(), &document["scope"]), (403, "forbidden", &json!(scope)), "{path}");
        walked += 1;
    }
    assert!(walked > 5);
}

#[tokio::test]
async fn a_revoked_key_is_refused_at_once_and_a_restart_of_the_server_changes_nothing_of_it() {
    let mut stage = Stage::new().await;
    let (first, record) = stage.key("acme", &["*"]).await;
    let (second, _) = stage.key("acme", &["*"]).await;
    keys::revoke(stage.operator.jetstream(), record.id).await.unwrap();
    stage.until(&first, |status| status == StatusCode::UNAUTHORIZED).await;
    assert_eq!(stage.greet(&second).send().await.unwrap().status(), 202);
    assert_eq!(keys::list(stage.operator.jetstream()).await.unwrap().len(), 1);

    let mut up = stage.operator.connected();
    stage.nats.restart().await.unwrap();
    tokio::time::timeout(PATIENCE, up.wait_for(|up| *up)).await.unwrap().unwrap();
    stage.ready().await;
    assert_eq!(stage.greet(&first).send().await.unwrap().status(), 401);
    // The watch lives on: a key minted and revoked after the restart is heard of.
    let (third, record) = stage.key("acme", &["*"]).await;
    keys::revoke(stage.operator.jetstream(), record.id).await.unwrap();
    stage.until(&third, |status| status == StatusCode::UNAUTHORIZED).await;
    let bucket = stage.operator.jetstream().get_stream("KV_keys").await.unwrap();
    // One that was given up for another while the server was slow ends by itself.
    let one = async {
        loop {
            let all: Vec<_> = bucket.consumers().try_collect().await.unwrap();
            let ours = all.iter().filter(|info| info.config.description.as_deref() == Some("keys, for ingest"));
            if ours.count() == 1 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(PATIENCE, one).await.expect("no consumer is left behind");
}

#[tokio::test]
async fn a_bucket_that_was_restored_to_another_state_is_read_anew() {
    let stage = Stage::new().await;
    let (lost, _) = stage.key("acme", &["*"]).await;
    let js = stage.operator.jetstream();
    js.delete_key_value("keys").await.unwrap();
    let topology = Topology::of(&Catalogue::omnibus(), &Default::default());
    omnibus_bus::apply(js, &topology).await.unwrap();
    stage.key("acme", &["*"]).await;
    stage.until(&lost, |status| status == StatusCode::UNAUTHORIZED).await;
}

#[tokio::test]
async fn an_expired_key_is_refused() {
    let stage = Stage::new().await;
    let (key, record) = keys::mint(&tenant("acme"), "old", ["*"], Some(clock::now() - TimeDelta::seconds(1)));
    keys::put(stage.operator.jetstream(), &key, &record).await.unwrap();
    // A later key is known, so the earlier one is too.
    stage.key("acme", &["*"]).await;
    assert_eq!(stage.greet(&key).send().await.unwrap().status(), 401);
}

#[tokio::test]
async fn the_tenant_is_the_credentials_whatever_the_request_says() {
    let stage = Stage::new().await;
    let (key, _) = stage.key("acme", &["*"]).await;
    let forged = stage
        .greet(&key)
        .header("ce-tenant", "globex")
        .header("tenant", "globex")
        .header("x-tenant", "globex")
        .header("ce-id", "00000000-0000-0000-0000-000000000000")
        .header("nats-msg-id", "x")
        .header("traceparent", "00-nonsense");
    assert_eq!(forged.send().await.unwrap().status(), 202);
    let message = stage.command("greeter", 1).await;
    assert_eq!(message.subject.as_str(), "cmd.greeter.default.greet.acme");
    assert_eq!(message.headers.get(headers::TENANT).unwrap().as_str(), "acme");
    assert_ne!(message.headers.get(headers::ID).unwrap().as_str(), "00000000-0000-0000-0000-000000000000");
    for name in ["tenant", "x-tenant", "Tenant"] {
        assert!(message.headers.get(name).is_none(), "{name}");
    }
}

#[tokio::test]
async fn a_token_acts_for_its_tenant_within_its_scopes_and_its_time() {
    let stage = Stage::with(|door, _| door.websocket_secret = Some(SECRET.into())).await;
    let secret = SecretString::from(SECRET);
    let sign = |claims: &Claims| token::sign(&secret, claims).unwrap().expose_secret().to_owned();
    let claims = Claims::new(&tenant("globex"), "ada", ["greeter:*"], clock::now(), 60);
    let post = |token: &str| stage.post("/api/v1/greetings").bearer_auth(token).json(&json!({"name": "Ada"}));
    assert_eq!(post(&sign(&claims)).send().await.unwrap().status(), 202);
    let message = stage.command("greeter", 1).await;
    assert_eq!(message.subject.as_str(), "cmd.greeter.default.greet.globex");
    assert_eq!(message.headers.get(headers::ACTOR).unwrap().as_str(), "jwt:ada");

    let reader = Claims::new(&tenant("globex"), "ada", ["greeter:read"], clock::now(), 60);
    assert_eq!(post(&sign(&reader)).send().await.unwrap().status(), 403);
    let late = Claims::new(&tenant("globex"), "ada", ["*"], clock::now() - TimeDelta::minutes(5), 60);
    assert_eq!(post(&sign(&late)).send().await.unwrap().status(), 401);
    let evil = Claims::new(&tenant("globex"), "a\r\nce-tenant: acme", ["*"], clock::now(), 60);
    assert_eq!(post(&sign(&evil)).send().await.unwrap().status(), 401);
    assert_eq!(stage.stored("greeter").await, 1);
}
