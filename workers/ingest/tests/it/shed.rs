//! A lane whose commands wait too long is refused until they do no longer.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::consumer::PullConsumer;
use futures_util::StreamExt;
use futures_util::future::join_all;
use omnibus_runtime::Bus;
use omnibus_schemas::Command;
use omnibus_schemas::mailer::SendEmail;
use reqwest::{RequestBuilder, Response};
use tokio_util::sync::CancellationToken;

use crate::stage::{PATIENCE, Stage, problem};

/// Commands that wait already.
const BACKLOG: usize = 300;
/// Between two commands of a slow worker: at this pace the backlog is a matter of fifteen seconds.
const PACE: Duration = Duration::from_millis(50);

async fn backlog(stage: &Stage) {
    let publish = || stage.operator.publish("cmd.greeter.default.greet.acme", HeaderMap::new(), "{}".into());
    for stored in join_all((0..BACKLOG).map(|_| publish())).await {
        stored.unwrap();
    }
}

/// The worker's part: takes one command after the other, slowly until it is told to hurry.
async fn work(bus: Bus, hurry: CancellationToken) {
    let js = bus.jetstream();
    let lane: PullConsumer = js.get_consumer_from_stream("greeter_default", "CMD_GREETER").await.unwrap();
    loop {
        let mut batch = lane.batch().max_messages(1).expires(PATIENCE).messages().await.unwrap();
        if let Some(message) = batch.next().await {
            message.unwrap().ack().await.unwrap();
        }
        hurry.run_until_cancelled(tokio::time::sleep(PACE)).await;
    }
}

/// Sends again and again until an answer has this status. Which try that was, and the answer.
async fn until(wanted: u16, request: impl Fn(usize) -> RequestBuilder) -> (usize, Response) {
    let tries = async {
        for n in 0.. {
            let answer = request(n).send().await.unwrap();
            if answer.status().as_u16() == wanted {
                return (n, answer);
            }
            tokio::time::sleep(PACE).await;
        }
        unreachable!("there are enough numbers")
    };
    tokio::time::timeout(PATIENCE, tries).await.unwrap_or_else(|_| panic!("no answer is {wanted}"))
}

#[tokio::test]
async fn a_lane_whose_commands_wait_too_long_is_refused_until_they_are_taken() {
    let stage = Stage::with(|door, _| door.shed_after_ms = 500).await;
    let (key, _) = stage.key("acme", &["*"]).await;
    backlog(&stage).await;
    let hurry = CancellationToken::new();
    tokio::spawn(work(stage.connect("greeter").await, hurry.clone()));

    let (accepted, refused) = until(503, |_| stage.greet(&key)).await;
    let after: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    let (_, code, document) = problem(refused).await;
    assert_eq!(code, "overloaded");
    let detail = document["detail"].as_str().unwrap();
    assert!(after >= 1 && detail.contains(&format!("again in {after} s")), "{after} {detail}");
    assert_eq!(stage.stored("greeter").await, (BACKLOG + accepted) as u64, "what is refused is not published");

    // Nor is its key remembered: with another body it would be refused for good.
    let with_key = |n: usize, name: &str| {
        let post = stage.post("/api/v1/greetings").bearer_auth(key.expose()).header("idempotency-key", n.to_string());
        post.body(format!(r#"{{"name": "{name}"}}"#))
    };
    let (n, _) = until(503, |n| with_key(n, "Ada")).await;

    // Another lane is not this one.
    let email = stage.post("/api/v1/email/send").bearer_auth(key.expose()).json(&SendEmail::example());
    assert_eq!(email.send().await.unwrap().status(), 202);

    hurry.cancel();
    until(202, |_| with_key(n, "Bob")).await;
}

#[tokio::test]
async fn a_lane_that_nobody_attends_keeps_what_comes() {
    let stage = Stage::with(|door, _| door.shed_after_ms = 1).await;
    let (key, _) = stage.key("acme", &["*"]).await;
    backlog(&stage).await;
    let mut looks = stage.listen("$JS.API.CONSUMER.INFO.CMD_GREETER.greeter_default").await;
    for _ in 0..30 {
        assert_eq!(stage.greet(&key).send().await.unwrap().status(), 202);
        tokio::time::timeout(PATIENCE, looks.next()).await.expect("the door looks").unwrap();
    }
}

#[tokio::test]
async fn a_lane_of_which_nothing_can_be_known_keeps_what_comes() {
    let stage = Stage::with(|door, _| door.shed_after_ms = 1).await;
    let (key, _) = stage.key("acme", &["*"]).await;
    stage.operator.jetstream().delete_consumer_from_stream("greeter_default", "CMD_GREETER").await.unwrap();
    let mut looks = stage.listen("$JS.API.CONSUMER.INFO.CMD_GREETER.greeter_default").await;
    for _ in 0..3 {
        assert_eq!(stage.greet(&key).send().await.unwrap().status(), 202);
        tokio::time::timeout(PATIENCE, looks.next()).await.expect("the door looks").unwrap();
    }
    assert_eq!(stage.greet(&key).send().await.unwrap().status(), 202);
}
