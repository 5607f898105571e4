//! `Prefer: wait`.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use omnibus_runtime::clock;
use omnibus_schemas::platform::{CausedMessage, CommandReport, Outcome};
use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};

use crate::stage::{Stage, problem, publish_outcome};

/// As long as `wait=20`.
const WAIT: Duration = Duration::from_secs(20);
/// How long the door tries to listen for an outcome.
pub(crate) const LISTENS: Duration = Duration::from_secs(1);
/// How often a command is sent for whose outcome the door could not listen.
const TRIES: usize = 20;

/// Sends a command that is waited for. The door has a second to listen for the outcome; on a machine that stands still for
/// so long it does not wait, and the next is sent. An answer without an outcome that comes sooner, or when the wait is over,
/// stands.
async fn waited(request: impl Fn() -> RequestBuilder) -> Response {
    for _ in 0..TRIES {
        let begun = Instant::now();
        let response = request().header("prefer", "wait=20").send().await.unwrap();
        if response.status() != 202 || !(LISTENS..WAIT).contains(&begun.elapsed()) {
            return response;
        }
    }
    panic!("the door never waits");
}

#[tokio::test]
async fn whoever_waits_gets_the_outcome_event() {
    let stage = Stage::new().await;
    let (key, _) = stage.key("acme", &["*"]).await;
    stage.worker("succeeded", "greeted", json!({"name": "Ada"})).await;
    // The subscription comes and goes with those who wait.
    for _ in 0..3 {
        let response = waited(|| stage.greet(&key)).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["preference-applied"], "wait=20");
        let location = response.headers()["location"].to_str().unwrap().to_owned();
        let body: Value = response.json().await.unwrap();
        assert_eq!(body["status_url"], location);
        assert_eq!(body["outcome"], "succeeded");
        assert_eq!(body["event"]["type"], "omnibus.greeter.greeted.v1");
        assert_eq!(body["event"]["data"], json!({"name": "Ada"}));
    }
}

#[tokio::test]
async fn many_who_wait_each_get_their_own() {
    let stage = Stage::new().await;
    let (key, _) = stage.key("acme", &["*"]).await;
    stage.worker("succeeded", "greeted", json!({})).await;
    let greet = || stage.greet(&key);
    let requests = (0..50).map(|_| waited(greet));
    for response in futures_util::future::join_all(requests).await {
        assert_eq!(response.status(), 200);
        let body: Value = response.json().await.unwrap();
        assert_eq!(body["event"]["id"], format!("{}/1", body["id"].as_str().unwrap()));
    }
}

#[tokio::test]
async fn a_rejection_is_a_problem_with_the_events_code() {
    let stage = Stage::new().await;
    let (key, _) = stage.key("acme", &["*"]).await;
    let said =
        json!({"code": "too_early", "detail": "not before noon", "faults": [{"pointer": "/name", "reason": "x"}]});
    stage.worker("rejected", "command_rejected", said).await;
    let response = waited(|| stage.greet(&key)).await;
    let (status, code, document) = problem(response).await;
    assert_eq!((status, code.as_str()), (422, "too_early"));
    assert_eq!(document["detail"], "not before noon");
    assert_eq!(document["outcome"], "rejected");
    assert_eq!(document["faults"][0]["pointer"], "/name");
    assert_eq!(document["event"]["type"], "omnibus.greeter.command_rejected.v1");
}

#[tokio::test]
async fn a_held_command_is_accepted_with_its_outcome_and_a_slow_one_without() {
    let stage = Stage::new().await;
    let (key, _) = stage.key("acme", &["*"]).await;
    let slow = stage.greet(&key).header("prefer", "wait=1").send().await.unwrap();
    assert_eq!(slow.status(), 202);
    assert!(slow.json::<Value>().await.unwrap().get("outcome").is_none());
    stage.worker("held", "command_held", json!({})).await;
    let mut held = Value::Null;
    for _ in 0..TRIES {
        let begun = Instant::now();
        let response = stage.greet(&key).header("prefer", "wait=20").send().await.unwrap();
        assert_eq!(response.status(), 202);
        held = response.json().await.unwrap();
        // As in `waited`.
        if held.get("outcome").is_some() || !(LISTENS..WAIT).contains(&begun.elapsed()) {
            break;
        }
    }
    assert_eq!(held["outcome"], "held");
}

#[tokio::test]
async fn an_event_of_another_tenant_answers_for_nobody() {
    let stage = Stage::new().await;
    let (key, _) = stage.key("acme", &["*"]).await;
    let mut commands = stage.listen("cmd.greeter.>").await;
    let bus = stage.operator.clone();
    let forging = async move {
        while let Some(command) = commands.next().await {
            let id = command.headers.unwrap().get("ce-id").unwrap().as_str().to_owned();
            publish_outcome(&bus, "greeted", "globex", &id, "succeeded", &json!({"forged": true})).await.unwrap();
            publish_outcome(&bus, "greeted", "acme", &id, "succeeded", &json!({"forged": false})).await.unwrap();
        }
    };
    let response = tokio::select! {
        response = waited(|| stage.greet(&key)) => response,
        () = forging => unreachable!("it goes on as long as there is a bus"),
    };
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["event"]["data"], json!({"forged": false}));
}

#[tokio::test]
async fn a_repeated_command_whose_outcome_is_past_is_answered_from_its_page() {
    let stage = Stage::new().await;
    let (key, _) = stage.key("acme", &["*"]).await;
    let first = stage.greet(&key).header("idempotency-key", "1").send().await.unwrap();
    let id: uuid::Uuid = first.json::<Value>().await.unwrap()["id"].as_str().unwrap().parse().unwrap();
    let report = CommandReport {
        deliveries: 1,
        command_id: id,
        command: "greet".into(),
        outcome: Some(Outcome::Succeeded),
        received_at: clock::now(),
        finished_at: Some(clock::now()),
        published_at: None,
        retries: 0,
        last_error: None,
        attempts: vec![],
        events: vec![CausedMessage {
            id: format!("{id}/1"),
            subject: "evt.greeter.greeted.acme".into(),
            payload: json!({"name": "Ada"}),
        }],
    };
    let mut questions = stage.listen("qry.greeter.command").await;
    let client = stage.operator.client().clone();
    tokio::spawn(async move {
        while let Some(question) = questions.next().await {
            assert_eq!(question.headers.unwrap().get("ce-tenant").unwrap().as_str(), "acme");
            let answer = serde_json::to_vec(&report).unwrap();
            client.publish(question.reply.unwrap(), answer.into()).await.unwrap();
        }
    });
    let again = waited(|| stage.greet(&key).header("idempotency-key", "1")).await;
    assert_eq!(again.status(), 200);
    let body: Value = again.json().await.unwrap();
    assert_eq!(body["event"]["type"], "omnibus.greeter.greeted.v1");
    assert_eq!(body["id"], id.to_string());
}
