//! The bus is full, away, or slow to come back; the door stops.

use std::time::{Duration, Instant};

use async_nats::jetstream::stream::{Config, PersistenceMode};
use futures_util::StreamExt;
use serde_json::json;

use crate::stage::{PATIENCE, Stage, problem, publish_outcome};
use crate::waiting::LISTENS;

#[tokio::test]
async fn a_full_stream_pushes_back() {
    let stage = Stage::with(|_, bus| bus.cmd_max_msgs = Some(2)).await;
    let (key, _) = stage.key("acme", &["*"]).await;
    for _ in 0..2 {
        assert_eq!(stage.greet(&key).send().await.unwrap().status(), 202);
    }
    let response = stage.greet(&key).send().await.unwrap();
    assert!(response.headers().contains_key("retry-after"));
    let (status, code, _) = problem(response).await;
    assert_eq!((status, code.as_str()), (503, "queue_full"));
    assert_eq!(stage.stored("greeter").await, 2);
}

#[tokio::test]
async fn without_a_stream_the_answer_is_503_and_readiness_names_it() {
    let stage = Stage::new().await;
    let (key, _) = stage.key("acme", &["*"]).await;
    stage.operator.jetstream().delete_stream("CMD_GREETER").await.unwrap();
    let response = stage.greet(&key).send().await.unwrap();
    assert!(response.headers().contains_key("retry-after"));
    let (status, code, _) = problem(response).await;
    assert_eq!((status, code.as_str()), (503, "bus_away"));
    stage.missing("ingest.streams", "CMD_GREETER").await;
}

#[tokio::test]
async fn a_stream_that_comes_back_within_a_moment_is_waited_for() {
    let stage = Stage::new().await;
    let (key, _) = stage.key("acme", &["*"]).await;
    let js = stage.operator.jetstream();
    let config = js.get_stream("CMD_GREETER").await.unwrap().cached_info().config.clone();
    let response = loop {
        js.delete_stream("CMD_GREETER").await.unwrap();
        // As in an election: first a server without a leader, then nobody at all, then the stream.
        let mut tries = stage.listen("cmd.greeter.>").await;
        let back = async {
            let first = tries.next().await.expect("the door tries");
            let begun = Instant::now();
            drop(tries);
            let no =
                r#"{"error":{"code":503,"err_code":10008,"description":"JetStream system temporarily unavailable"}}"#;
            stage.operator.client().publish(first.reply.unwrap(), no.into()).await.unwrap();
            js.create_stream(config.clone()).await.unwrap();
            begun.elapsed()
        };
        let (response, away) = tokio::join!(stage.greet(&key).send(), back);
        // On a busy machine a stream is not made in a moment: then once more.
        if away < Duration::from_secs(1) {
            break response.unwrap();
        }
    };
    assert_eq!(response.status(), 202);
    assert_eq!(stage.stored("greeter").await, 1);
}

#[tokio::test]
async fn without_a_server_commands_and_queries_are_refused_and_afterwards_all_is_well() {
    let mut stage = Stage::new().await;
    let (key, _) = stage.key("acme", &["*"]).await;
    stage.nats.kill9().await;
    stage.missing("ingest.bus", "no connection").await;
    let away = stage.greet(&key).send().await.unwrap();
    assert_eq!(problem(away).await.1, "bus_away");
    let away = stage.greet(&key).header("idempotency-key", "1").send().await.unwrap();
    assert_eq!(problem(away).await.1, "bus_away");
    let asked = stage.get("/api/v1/greetings/Ada").bearer_auth(key.expose()).send().await.unwrap();
    assert_eq!(asked.status(), 503);
    stage.nats.restart().await.unwrap();
    let mut up = stage.operator.connected();
    tokio::time::timeout(PATIENCE, up.wait_for(|up| *up)).await.unwrap().unwrap();
    stage.ready().await;
    assert_eq!(stage.stored("greeter").await, 0, "what was refused is not sent later");
    assert_eq!(stage.greet(&key).send().await.unwrap().status(), 202);
}

#[tokio::test]
async fn a_door_that_stops_finishes_what_runs() {
    let stage = Stage::new().await;
    let (key, _) = stage.key("acme", &["*"]).await;
    let mut questions = stage.listen("qry.greeter.greetings").await;
    let running = tokio::spawn(stage.get("/api/v1/greetings/Ada").bearer_auth(key.expose()).send());
    let question = questions.next().await.unwrap();
    stage.stop.cancel();
    stage.operator.client().publish(question.reply.unwrap(), "{}".into()).await.unwrap();
    assert_eq!(running.await.unwrap().unwrap().status(), 200);
    tokio::time::timeout(PATIENCE, stage.serving).await.unwrap().unwrap().unwrap();
    assert!(stage.http.get(format!("{}/healthz", stage.url)).send().await.is_err());
}

#[tokio::test]
async fn who_waits_when_the_door_stops_is_sent_away_with_202() {
    let stage = Stage::new().await;
    let (key, _) = stage.key("acme", &["*"]).await;
    let mut commands = stage.listen("cmd.greeter.>").await;
    let waiting = tokio::spawn(stage.greet(&key).header("prefer", "wait=30").send());
    commands.next().await.unwrap();
    stage.stop.cancel();
    let answered = tokio::time::timeout(Duration::from_secs(25), waiting).await.expect("nobody waits for long");
    assert_eq!(answered.unwrap().unwrap().status(), 202);
}

#[tokio::test]
async fn a_wait_outlives_a_restart_of_the_server() {
    let mut stage = Stage::new().await;
    let (key, _) = stage.key("acme", &["*"]).await;
    // One that soon gives up what was lost with a connection.
    let bus = stage.connect("operator").await;
    for _ in 0..5 {
        let mut commands = stage.listen("cmd.greeter.>").await;
        let begun = Instant::now();
        let waiting = tokio::spawn(stage.greet(&key).header("prefer", "wait=30").send());
        let command = commands.next().await.unwrap();
        // Before it stores the command, the door listens; on a machine that stands still for a second it does not.
        let deaf = begun.elapsed() >= LISTENS;
        let id = command.headers.unwrap().get("ce-id").unwrap().as_str().to_owned();
        // The event is said again until it is heard: when the door is back on the bus is not to be seen from here.
        stage.nats.restart().await.unwrap();
        let said = async {
            let mut up = bus.connected();
            loop {
                up.wait_for(|up| *up).await.unwrap();
                // What a connection takes along that is lost just now is said once more too.
                let _ = publish_outcome(&bus, "greeted", "acme", &id, "succeeded", &json!({})).await;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let answered = tokio::select! {
            answered = waiting => answered.unwrap().unwrap(),
            () = said => unreachable!(),
        };
        if answered.status() == 202 && deaf {
            let mut up = stage.operator.connected();
            up.wait_for(|up| *up).await.unwrap();
            stage.ready().await;
            continue;
        }
        assert!(matches!(answered.status().as_u16(), 200 | 503), "{}", answered.status());
        return;
    }
    panic!("the door never waits");
}

#[tokio::test]
async fn readiness_asserts_the_durability_that_it_was_told_to_expect() {
    let stage = Stage::unready(|door, _| {
        door.expect_sync_always = true;
        door.expect_replicas = Some(3);
        door.nats_monitor_url = Some("real".into());
    })
    .await;
    let why = stage.missing("ingest.durability", "copies").await;
    assert!(why.contains("sync_interval"), "{why}");
    assert!(why.contains("CMD_GREETER has 1 copies, expected 3"), "{why}");

    // Whatever the server does, such a stream says yes before it has written.
    let js = stage.operator.jetstream();
    let kept = js.get_stream("CMD_GREETER").await.unwrap().cached_info().config.clone();
    js.delete_stream("CMD_GREETER").await.unwrap();
    let hasty = Config { persist_mode: Some(PersistenceMode::Async), allow_atomic_publish: false, ..kept };
    js.create_stream(hasty).await.unwrap();
    let why = stage.missing("ingest.durability", "persist mode").await;
    assert!(why.contains("CMD_GREETER is written after it is acknowledged"), "{why}");
}

#[tokio::test]
async fn a_server_that_syncs_every_write_is_what_readiness_expects() {
    let stage = Stage::with(|door, _| {
        door.expect_sync_always = true;
        door.nats_monitor_url = Some("real".into());
    })
    .await;
    let (key, _) = stage.key("acme", &["*"]).await;
    assert_eq!(stage.greet(&key).send().await.unwrap().status(), 202);
}

#[tokio::test]
async fn who_wants_to_wait_while_the_server_is_away_is_told_so_at_once() {
    let mut stage = Stage::new().await;
    let (key, _) = stage.key("acme", &["*"]).await;
    stage.nats.kill9().await;
    stage.missing("ingest.bus", "no connection").await;
    let waiting = stage.greet(&key).header("prefer", "wait=30").send();
    let response =
        tokio::time::timeout(Duration::from_secs(25), waiting).await.expect("no wait for an outcome").unwrap();
    assert!(response.headers().contains_key("retry-after"));
    let (status, code, _) = problem(response).await;
    assert_eq!((status, code.as_str()), (503, "bus_away"));
    stage.nats.restart().await.unwrap();
}
