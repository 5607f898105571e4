//! A command that waits for its time in `SCHEDULE` and is sourced into its stream.

use async_nats::HeaderMap;
use async_nats::jetstream::consumer::PullConsumer;
use futures_util::StreamExt;
use omnibus_schemas::subject;
use serde_json::json;

use crate::server::{Bus, PATIENCE, User};

const TARGET: &str = "cmd.greeter.default.greet.acme";
const PAST: &str = "@at 2020-01-01T00:00:00Z";
const FAR: &str = "@at 2999-01-01T00:00:00Z";

async fn schedule(user: &User, id: &str, when: &str) {
    let mut headers = HeaderMap::new();
    headers.insert("Nats-Schedule", when);
    headers.insert("Nats-Schedule-Target", subject::due(TARGET).as_str());
    headers.insert("ce-id", id);
    let ack = user.js.publish_with_headers(subject::scheduled(id), headers, "{}".into()).await.unwrap();
    ack.await.unwrap();
}

async fn next_id(worker: &User) -> String {
    let consumer: PullConsumer = worker.js.get_consumer_from_stream("greeter_default", "CMD_GREETER").await.unwrap();
    let mut batch = consumer.batch().max_messages(1).expires(PATIENCE).messages().await.unwrap();
    let message = batch.next().await.expect("a command arrives").unwrap();
    assert_eq!(message.subject.as_str(), TARGET);
    message.double_ack().await.unwrap();
    message.headers.as_ref().unwrap().get("ce-id").unwrap().as_str().to_owned()
}

#[tokio::test]
async fn a_schedule_in_the_past_fires_at_once_into_the_lane_with_its_headers() {
    let bus = Bus::provisioned().await;
    let worker = bus.user("greeter").await;
    schedule(&worker, "one", PAST).await;
    assert_eq!(next_id(&worker).await, "one");
}

#[tokio::test]
async fn a_purged_schedule_does_not_fire() {
    let bus = Bus::provisioned().await;
    let worker = bus.user("greeter").await;
    let operator = bus.user("operator").await;
    schedule(&worker, "cancelled", FAR).await;
    schedule(&worker, "kept", FAR).await;
    let purged = worker.api("STREAM.PURGE.SCHEDULE", json!({ "filter": subject::scheduled("cancelled") })).await;
    assert_eq!(purged["purged"], 1);
    let left = operator.api("STREAM.INFO.SCHEDULE", json!({ "subjects_filter": ">" })).await;
    assert_eq!(left["state"]["subjects"], json!({ "sched.at.kept": 1 }));
}

#[tokio::test]
async fn publishing_a_schedule_again_replaces_it() {
    let bus = Bus::provisioned().await;
    let worker = bus.user("greeter").await;
    let operator = bus.user("operator").await;
    schedule(&worker, "moved", FAR).await;
    schedule(&worker, "moved", PAST).await;
    assert_eq!(next_id(&worker).await, "moved");
    let left = operator.api("STREAM.INFO.SCHEDULE", json!({ "subjects_filter": "sched.at.>" })).await;
    assert_eq!(left["state"].get("subjects"), None, "{left}");
}

/// How many messages of `SCHEDULE` are due and not yet taken over by a lane.
async fn due(operator: &User) -> u64 {
    let info = operator.api("STREAM.INFO.SCHEDULE", json!({ "subjects_filter": "sched.due.>" })).await;
    info["state"]["subjects"].as_object().into_iter().flatten().filter_map(|(_, count)| count.as_u64()).sum()
}

/// Takes ten seconds: that long the server waits before it takes up a source that stalled.
#[tokio::test]
async fn what_fires_into_a_full_lane_waits_over_a_restart_and_arrives_once_there_is_room() {
    let mut bus = Bus::provisioned().await;
    let operator = bus.user("operator").await;
    let worker = bus.user("greeter").await;
    let mut config = operator.api("STREAM.INFO.CMD_GREETER", json!({})).await["config"].take();
    config["max_msgs"] = json!(1);
    operator.api("STREAM.UPDATE.CMD_GREETER", config.clone()).await;
    operator.publish(TARGET).await;
    for id in ["a", "b", "c"] {
        schedule(&worker, id, PAST).await;
    }
    let fired = async { while due(&operator).await < 3 {} };
    tokio::time::timeout(PATIENCE, fired).await.expect("all three fire");

    bus.restart().await;
    let operator = bus.user("operator").await;
    let worker = bus.user("greeter").await;
    assert_eq!(due(&operator).await, 3);
    config["max_msgs"] = json!(-1);
    operator.api("STREAM.UPDATE.CMD_GREETER", config).await;
    operator.api("STREAM.PURGE.CMD_GREETER", json!({})).await;
    let mut arrived = Vec::new();
    for _ in 0..3 {
        arrived.push(next_id(&worker).await);
    }
    arrived.sort();
    assert_eq!(arrived, ["a", "b", "c"]);
}
