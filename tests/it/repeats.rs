//! The same command more than once: it is done once.

use std::time::Duration;

use omnibus_bus::Settings;
use omnibus_schemas::platform::Outcome;
use omnibus_schemas::{Encoding, body::encode};
use uuid::Uuid;

use crate::scene::{Scene, eventually, headers, names, put};

const SUBJECT: &str = "cmd.shop.default.put.acme";

async fn idle(scene: &Scene, lane: &str) {
    eventually("the lane is empty", || async { scene.stage.lane("shop", lane).await == (0, 0) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_published_again_is_dropped_inside_the_servers_window_and_known_outside_of_it() {
    let scene = Scene::new().await;
    let _running = scene.run().await;
    let id = scene.put("").await;
    scene.stage.publish_as(id, "acme", &put("")).await;
    scene.stage.outcome(id).await;
    // Another Nats-Msg-Id is what the window's end looks like.
    for n in 0..3 {
        let map = headers(&[("ce-id", &id.to_string()), ("Nats-Msg-Id", &format!("again-{n}"))]);
        scene.stage.publish_raw(SUBJECT, map, serde_json::to_vec(&put("")).unwrap()).await;
    }
    idle(&scene, "default").await;
    assert_eq!(scene.things(id).await, 1);
    let stream = scene.stage.operator.jetstream().get_stream("CMD_SHOP").await.unwrap();
    assert_eq!(stream.cached_info().state.messages, 4, "one of two, and three that the server did not recognise");
}

#[tokio::test(flavor = "multi_thread")]
async fn duplicates_in_one_batch_are_carried_out_once() {
    let scene = Scene::new().await;
    let id = Uuid::from_u128(0x77);
    for _ in 0..20 {
        let map = headers(&[("ce-id", &id.to_string())]);
        scene.stage.publish_raw(SUBJECT, map, serde_json::to_vec(&put("")).unwrap()).await;
    }
    let _running = scene.run().await;
    scene.stage.outcome(id).await;
    idle(&scene, "default").await;
    assert_eq!(scene.things(id).await, 1);
    assert_eq!(scene.stage.caused_by(id).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redelivered_command_publishes_the_same_event_ids_and_changes_nothing() {
    let short = Settings { duplicate_window: Duration::from_millis(100), ..Settings::default() };
    let scene = Scene::with(short).await;
    let _running = scene.run().await;
    let id = scene.put("").await;
    let first = scene.stage.outcome(id).await;
    // Past the window the server takes the same event ids once more; who reads them keeps an inbox.
    eventually("the events are told again", || async {
        let map = headers(&[("ce-id", &id.to_string())]);
        scene.stage.publish_raw(SUBJECT, map, serde_json::to_vec(&put("")).unwrap()).await;
        idle(&scene, "default").await;
        scene.stage.caused_by(id).len() > 1
    })
    .await;
    for told in scene.stage.caused_by(id) {
        assert_eq!((&told.id, &told.message_id, &told.data), (&first.id, &first.message_id, &first.data));
        assert_eq!(told.header("ce-time"), first.header("ce-time"));
    }
    assert_eq!(scene.things(id).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_on_one_lane_do_everything_once() {
    let scene = Scene::new().await;
    let _workers = (scene.run_with(|s| s.batch = 7).await, scene.run_with(|s| s.batch = 7).await);
    let mut ids = Vec::new();
    for n in 0..200 {
        let id = scene.put("").await;
        if n % 3 == 0 {
            let map = headers(&[("ce-id", &id.to_string())]);
            scene.stage.publish_raw(SUBJECT, map, serde_json::to_vec(&put("")).unwrap()).await;
        }
        ids.push(id);
    }
    for id in &ids {
        assert_eq!(scene.stage.outcome(*id).await.outcome, Some(Outcome::Succeeded));
    }
    idle(&scene, "default").await;
    assert_eq!(scene.count("select count(*) from shop.things").await, 200);
    assert_eq!(scene.count("select count(distinct command_id) from shop.things").await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_id_from_two_tenants_is_two_commands() {
    let scene = Scene::new().await;
    let _running = scene.run().await;
    let id = Uuid::from_u128(0x78);
    for tenant in ["acme", "globex"] {
        let map = headers(&[("ce-id", &id.to_string())]);
        let subject = format!("cmd.shop.default.put.{tenant}");
        scene.stage.publish_raw(&subject, map, serde_json::to_vec(&put("")).unwrap()).await;
        scene.stage.event(|told| told.causation == id.to_string() && told.tenant == tenant).await;
    }
    assert_eq!(scene.count("select count(distinct tenant) from shop.things").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bare_publication_without_a_header_works_in_json_and_message_pack_says_so() {
    let scene = Scene::new().await;
    let _running = scene.run().await;
    let plain = scene.stage.connect("tenant_acme").await;
    plain.client().publish(SUBJECT, r#"{"thing":"pear"}"#.into()).await.unwrap();
    plain.client().flush().await.unwrap();
    let bare = scene.stage.event(|told| told.data["thing"] == "pear").await;
    assert_eq!((bare.name.as_str(), bare.outcome), ("put_done", Some(Outcome::Succeeded)));
    for (encoding, thing) in [(Encoding::Json, "plum"), (Encoding::MessagePack, "fig")] {
        let map = headers(&[("Content-Type", encoding.content_type())]);
        let body = encode(encoding, &serde_json::json!({ "thing": thing }));
        scene.stage.publish_raw(SUBJECT, map, body).await;
        scene.stage.event(|told| told.data["thing"] == thing).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_is_no_uuid_is_one_identity_all_the_same() {
    let scene = Scene::new().await;
    let _running = scene.run().await;
    for _ in 0..2 {
        let map = headers(&[("ce-id", "order-17")]);
        scene.stage.publish_raw(SUBJECT, map, serde_json::to_vec(&put("")).unwrap()).await;
    }
    scene.stage.event(|told| told.causation == "order-17").await;
    idle(&scene, "default").await;
    assert_eq!(scene.count("select count(*) from shop.things").await, 1);
}

/// Found by the chaos campaign (round 1): it came again and again, until the server gave up on it.
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_that_comes_twice_is_acknowledged_and_told_once() {
    let scene = Scene::new().await;
    let running = scene.run().await;
    let id = omnibus_runtime::clock::new_id();
    for _ in 0..2 {
        let map = headers(&[("ce-id", &id.to_string())]);
        scene.stage.publish_raw("cmd.shop.default.juggle.acme", map, "{}").await;
        assert_eq!(scene.stage.outcome(id).await.outcome, Some(Outcome::DeadLettered));
    }
    idle(&scene, "default").await;
    running.stop().await;
    // Two streams: which of them is heard first is not said.
    let caused = scene.stage.caused_by(id);
    let mut told = names(&caused);
    told.sort_unstable();
    assert_eq!(told, ["command_dead_lettered", "juggle"]);
}
