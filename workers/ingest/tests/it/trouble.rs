//! The bus is full, away, or slow to come back; the door stops.

use std::time::Duration;

use futures_util::StreamExt;
use omnibus_bus::Topology;
use omnibus_schemas::Catalogue;
use serde_json::{Value, json};

use crate::stage::{PATIENCE, Stage, problem, publish_outcome};

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
    let named = async {
        loop {
            let missing: Value = stage.get("/readyz").send().await.unwrap().json().await.unwrap();
            if missing["missing"]["ingest.streams"].as_str().is_some_and(|why| why.contains("CMD_GREETER")) {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, named).await.expect("readiness names the missing stream");
}

#[tokio::test]
async fn a_stream_that_comes_back_within_a_moment_is_waited_for() {
    let stage = Stage::new().await;
    let (key, _) = stage.key("acme", &["*"]).await;
    stage.operator.jetstream().delete_stream("CMD_GREETER").await.unwrap();
    // Like a leader election: nobody takes the subject, then somebody does. The first refused try is the signal.
    let mut tries = stage.operator.client().subscribe("cmd.greeter.>").await.unwrap();
    stage.operator.client().flush().await.unwrap();
    let js = stage.operator.jetstream().clone();
    let back = async {
        tries.next().await.expect("the door tries");
        drop(tries);
        omnibus_bus::apply(&js, &Topology::of(&Catalogue::omnibus(), &Default::default())).await.unwrap();
    };
    let (response, ()) = tokio::join!(stage.greet(&key).send(), back);
    let _ = response;
    assert_eq!(stage.greet(&key).send().await.unwrap().status(), 202);
}

#[tokio::test]
async fn without_a_server_commands_and_queries_are_refused_and_afterwards_all_is_well() {
    let mut stage = Stage::new().await;
    let (key, _) = stage.key("acme", &["*"]).await;
    stage.nats.kill9().await;
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
    let mut questions = stage.operator.client().subscribe("qry.greeter.greetings").await.unwrap();
    stage.operator.client().flush().await.unwrap();
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
    let mut commands = stage.operator.client().subscribe("cmd.greeter.>").await.unwrap();
    stage.operator.client().flush().await.unwrap();
    let waiting = tokio::spawn(stage.greet(&key).header("prefer", "wait=30").send());
    commands.next().await.unwrap();
    stage.stop.cancel();
    let answered = tokio::time::timeout(Duration::from_secs(10), waiting).await.expect("nobody waits for long");
    assert_eq!(answered.unwrap().unwrap().status(), 202);
}

#[tokio::test]
async fn a_wait_outlives_a_restart_of_the_server() {
    let mut stage = Stage::new().await;
    let (key, _) = stage.key("acme", &["*"]).await;
    let mut commands = stage.operator.client().subscribe("cmd.greeter.>").await.unwrap();
    stage.operator.client().flush().await.unwrap();
    let waiting = tokio::spawn(stage.greet(&key).header("prefer", "wait=30").send());
    let command = commands.next().await.unwrap();
    let id = command.headers.unwrap().get("ce-id").unwrap().as_str().to_owned();
    // The event is said again until it is heard: when the door is back on the bus is not to be seen from here.
    stage.nats.restart().await.unwrap();
    let bus = stage.operator.clone();
    let said = async {
        let mut up = bus.connected();
        loop {
            up.wait_for(|up| *up).await.unwrap();
            publish_outcome(&bus, "greeted", "acme", &id, "succeeded", &json!({})).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let answered = tokio::select! {
        answered = waiting => answered.unwrap().unwrap(),
        () = said => unreachable!(),
    };
    assert!(matches!(answered.status().as_u16(), 200 | 503), "{}", answered.status());
}

#[tokio::test]
async fn readiness_asserts_the_durability_that_it_was_told_to_expect() {
    let stage = Stage::unready(|door, _| {
        door.expect_sync_always = true;
        door.expect_replicas = Some(3);
        door.nats_monitor_url = Some("real".into());
    })
    .await;
    let named = async {
        loop {
            let answer = stage.get("/readyz").send().await.unwrap();
            assert_eq!(answer.status(), 503);
            let missing: Value = answer.json().await.unwrap();
            if let Some(why) = missing["missing"]["ingest.durability"].as_str() {
                return why.to_owned();
            }
        }
    };
    let why = tokio::time::timeout(PATIENCE, named).await.expect("the door looks");
    assert!(why.contains("sync_interval"), "{why}");
    assert!(why.contains("CMD_GREETER has 1 copies, expected 3"), "{why}");
}
