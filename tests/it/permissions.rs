//! A worker that can't run says why, at once.

use std::path::Path;
use std::time::Duration;

use omnibus_runtime::RunError;
use omnibus_runtime::bus::PublishError;
use omnibus_runtime::testing::PATIENCE;
use omnibus_tests::life::Life;
use serde_json::json;

use crate::scene::{Scene, refused};

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_under_another_users_name_says_at_once_which_subject_it_was_refused() {
    let scene = Scene::new().await;
    scene.migrate().await;
    let parts = scene.parts("tenant_acme").await;
    let error = scene.fails(parts).await;
    // Whoever waits for an answer instead learns of a time-out, and of no subject.
    assert!(
        matches!(&error, RunError::Refused(refusal)
        if refusal.user == "tenant_acme" && refusal.subject.starts_with("$JS.API.CONSUMER.INFO.CMD_SHOP.")),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_publication_ends_at_once() {
    let scene = Scene::new().await;
    let tenant = scene.stage.connect("tenant_acme").await;
    // Whoever waits for the acknowledgement learns each time that the bus is away, and nothing else.
    let refused = refused(&tenant, "cmd.shop.default.put.globex", "{}").await;
    assert!(
        matches!(&refused, PublishError::Refused(refusal) if refusal.subject == "cmd.shop.default.put.globex"),
        "{refused}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_consumer_a_different_one_and_an_unknown_lane_are_named() {
    let scene = Scene::new().await;
    scene.migrate().await;
    let js = scene.stage.operator.jetstream();
    let stream = js.get_stream("CMD_SHOP").await.unwrap();

    let mut parts = scene.parts("shop").await;
    parts.settings.lanes = vec!["fast".into()];
    let error = scene.fails(parts).await;
    assert_eq!(error.to_string(), "the domain shop has no lane 'fast'; it has: calls, default");

    let config = json!({ "stream_name": "CMD_SHOP", "action": "update", "config": {
        "durable_name": "shop_default", "description": "Lane default of shop", "filter_subject": "cmd.shop.default.put.>",
        "deliver_policy": "all", "ack_policy": "explicit", "replay_policy": "instant", "ack_wait": 30_000_000_000_u64,
        "max_deliver": 1000, "max_ack_pending": 65_536 } });
    let client = scene.stage.operator.client();
    let answer = client
        .request("$JS.API.CONSUMER.CREATE.CMD_SHOP.shop_default.cmd.shop.default.put.>", config.to_string().into())
        .await
        .unwrap();
    assert!(!String::from_utf8_lossy(&answer.payload).contains("\"error\""), "{answer:?}");
    let error = scene.fails(scene.parts("shop").await).await.to_string();
    assert!(error.contains("shop_default") && error.contains("filter_subject"), "{error}");

    stream.delete_consumer("shop_default").await.unwrap();
    let error = scene.fails(scene.parts("shop").await).await.to_string();
    assert!(error.contains("shop_default is missing; run `omnibus bus apply`"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_is_deleted_underfoot_ends_the_worker() {
    let scene = Scene::new().await;
    let running = scene.run().await;
    let id = scene.put("").await;
    scene.stage.outcome(id).await;
    let stream = scene.stage.operator.jetstream().get_stream("CMD_SHOP").await.unwrap();
    stream.delete_consumer("shop_default").await.unwrap();
    let error = running.ended().await.unwrap_err().to_string();
    assert!(error.contains("shop_default") && error.contains("gone"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_without_the_workers_tables_is_named() {
    let scene = Scene::new().await;
    let error = scene.fails(scene.parts("shop").await).await;
    assert_eq!(error.to_string(), "the schema 'shop' lacks migrations (0 of 1 applied); run `omnibus migrate`");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_for_health_that_is_taken_is_named() {
    let scene = Scene::new().await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let program = Path::new(env!("CARGO_BIN_EXE_shop"));
    let mut life = Life::begin(program, &scene.stage, scene.provider.path(), &[("HEALTH_ADDR", &address)]);
    let ended = async {
        loop {
            match life.ended() {
                Some(status) => return status,
                None => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    };
    let status = tokio::time::timeout(PATIENCE, ended).await.expect("ends by itself");
    assert_eq!(status.code(), Some(1));
    assert!(life.log().contains(&format!("can't listen on {address} (--health-addr, HEALTH_ADDR)")), "{}", life.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_contradict_each_other_are_refused() {
    let scene = Scene::new().await;
    scene.migrate().await;
    let mut parts = scene.parts("shop").await;
    parts.settings.keep_inbox_days = 3;
    assert!(
        scene.fails(parts).await.to_string().contains("--keep-inbox-days (3) must be more than --keep-done-days (7)")
    );
}
