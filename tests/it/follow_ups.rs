//! What a command sets going: now, later, and never into nowhere.

use omnibus_bus::Settings;
use omnibus_runtime::bus::PublishError;
use omnibus_schemas::platform::Outcome;
use uuid::Uuid;

use crate::scene::{Scene, headers};

/// The id of a command's n-th message, if that is a command.
fn follow_up(id: Uuid, n: usize) -> Uuid {
    Uuid::new_v5(&id, n.to_string().as_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follow_up_is_a_command_of_its_own_with_an_id_that_a_repetition_repeats() {
    let scene = Scene::new().await;
    let _running = scene.run().await;
    let id = scene.put("then").await;
    let told = scene.stage.outcome(follow_up(id, 0)).await;
    assert_eq!(told.outcome, Some(Outcome::Succeeded));
    assert_eq!(told.header("ce-correlationid"), Some(id.to_string().as_str()));
    assert_eq!(scene.stage.outcome(id).await.id, format!("{id}/1"));
    assert_eq!(scene.things(follow_up(id, 0)).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scheduled_command_comes_at_its_time_and_at_once_if_that_is_past() {
    let scene = Scene::new().await;
    let _running = scene.run().await;
    let (later, past) = (scene.put("later:1500").await, scene.put("past").await);
    let at_once = scene.stage.outcome(follow_up(past, 1)).await;
    let in_time = scene.stage.outcome(follow_up(later, 1)).await;
    assert_eq!((at_once.outcome, in_time.outcome), (Some(Outcome::Succeeded), Some(Outcome::Succeeded)));
    let time = |told: &omnibus_runtime::testing::Told| {
        chrono::DateTime::parse_from_rfc3339(told.header("ce-time").unwrap()).unwrap()
    };
    let planned = scene.stage.outcome(later).await;
    let wait = time(&in_time) - time(&planned);
    // The schedule counts whole milliseconds.
    assert!((1499..=1500).contains(&wait.num_milliseconds()), "what comes at a time has that time for its now: {wait}");
    let due = "select count(*) from bus.inbox where message_id = '{id}' and received_at >= '{time}'::timestamptz";
    let due =
        due.replace("{id}", &follow_up(later, 1).to_string()).replace("{time}", in_time.header("ce-time").unwrap());
    assert_eq!(scene.count(&due).await, 1);
    assert_eq!(scene.things(follow_up(later, 1)).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follow_up_that_nobody_would_carry_out_is_not_committed() {
    let scene = Scene::new().await;
    let _running = scene.run_with(|settings| settings.attempts = Some(1)).await;
    let id = scene.put("nowhere").await;
    let told = scene.stage.outcome(id).await;
    assert_eq!(told.outcome, Some(Outcome::DeadLettered));
    assert!(told.data["detail"].as_str().unwrap().contains("nowhere is no lane of shop"), "{}", told.data);
    assert_eq!(scene.things(id).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_stream_pushes_back_and_follow_ups_wait_for_room() {
    let scene = Scene::with(Settings { cmd_max_msgs: Some(4), ..Settings::default() }).await;
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(scene.put("then").await);
    }
    let body = serde_json::to_vec(&crate::scene::put("")).unwrap();
    let one_more = scene.stage.operator.publish("cmd.shop.default.put.acme", headers(&[]), body.into()).await;
    assert!(matches!(one_more, Err(PublishError::Full)), "{one_more:?}");
    // Every command in the full stream wants to add one: room comes from those that are done.
    let _running = scene.run_with(|settings| settings.republish_after_seconds = 1).await;
    for id in ids {
        assert_eq!(scene.stage.outcome(id).await.outcome, Some(Outcome::Succeeded));
        assert_eq!(scene.stage.outcome(follow_up(id, 0)).await.outcome, Some(Outcome::Succeeded));
    }
    assert_eq!(scene.count("select count(*) from shop.things").await, 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follow_up_whose_message_id_another_tenant_took_first_is_carried_out_all_the_same() {
    let scene = Scene::new().await;
    let id = Uuid::from_u128(0xf0);
    let taken = format!("acme:{}", follow_up(id, 0));
    // As globex itself: a bus user may write any message id on its own subjects.
    let globex = scene.stage.connect("tenant_globex").await;
    let body = serde_json::to_vec(&crate::scene::put("nothing")).unwrap();
    let map = headers(&[("Nats-Msg-Id", &taken)]);
    globex.publish("cmd.shop.default.put.globex", map, body.into()).await.unwrap();
    let _running = scene.run().await;
    scene.stage.publish_as(id, "acme", &crate::scene::put("then")).await;
    let told = scene.stage.outcome(follow_up(id, 0)).await;
    assert_eq!((told.outcome, told.tenant.as_str()), (Some(Outcome::Succeeded), "acme"));
    assert_eq!(scene.things(follow_up(id, 0)).await, 1);
}
