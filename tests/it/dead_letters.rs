//! Attempts used up: in the stated order, with everything that a person needs.

use futures_util::StreamExt;
use omnibus_schemas::platform::Outcome;
use uuid::Uuid;

use crate::scene::{Scene, headers};

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_carries_error_attempts_and_the_original() {
    let scene = Scene::new().await;
    let _running = scene.run().await;
    let id = scene.put("fail").await;
    let told = scene.stage.outcome(id).await;
    assert_eq!((told.name.as_str(), told.outcome), ("command_dead_lettered", Some(Outcome::DeadLettered)));
    assert_eq!(told.data["attempts"], 3);
    let letter = scene.stage.event(|told| told.subject == "dlq.shop.put.acme").await;
    assert_eq!(letter.header("omnibus-dlq-code"), Some("attempts_used_up"));
    assert_eq!(letter.header("omnibus-dlq-detail"), Some("told to fail"));
    assert_eq!(letter.header("omnibus-dlq-attempts"), Some("3"));
    assert_eq!(letter.header("omnibus-dlq-subject"), Some("cmd.shop.default.put.acme"));
    assert_eq!(letter.header("omnibus-original-ce-id"), Some(id.to_string().as_str()));
    assert_eq!(letter.header("omnibus-original-ce-actor"), Some("test"));
    assert!(letter.header("traceparent").is_some());
    assert_eq!(letter.data, serde_json::json!({ "thing": "apple", "how": "fail" }));
    assert_eq!(scene.things(id).await, 0);
    let page = scene.page("acme", id).await.unwrap();
    assert_eq!((page.outcome, page.retries), (Some(Outcome::DeadLettered), 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_refusal_the_letter_the_event_and_the_end_come_in_this_order() {
    let scene = Scene::new().await;
    let advisory = "$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.CMD_SHOP.shop_default";
    let mut terminated = scene.stage.operator.client().subscribe(advisory).await.unwrap();
    let _running = scene.run().await;
    let id = scene.put("fail").await;
    scene.stage.outcome(id).await;
    let js = scene.stage.operator.jetstream();
    let at = |stream: &'static str, subject: &'static str| async move {
        let stream = js.get_stream(stream).await.unwrap();
        stream.get_last_raw_message_by_subject(subject).await.unwrap().time.unix_timestamp_nanos()
    };
    let letter = at("DLQ", "dlq.shop.put.acme").await;
    let event = at("EVT", "evt.shop.command_dead_lettered.acme").await;
    assert!(letter < event, "{letter} {event}");
    let micros: i64 = scene
        .count(
            "select (extract(epoch from finished_at) * 1000000)::bigint from bus.inbox where outcome = 'dead_lettered'",
        )
        .await;
    assert!(i128::from(micros) * 1000 <= letter);
    let advisory = terminated.next().await.unwrap();
    let advisory: serde_json::Value = serde_json::from_slice(&advisory.payload).unwrap();
    assert_eq!((advisory["reason"].as_str(), advisory["stream_seq"].as_u64()), (Some("attempts_used_up"), Some(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_sent_again_as_a_new_command_is_no_duplicate() {
    let scene = Scene::new().await;
    let _running = scene.run().await;
    let id = scene.put("fail:3").await;
    assert_eq!(scene.stage.outcome(id).await.outcome, Some(Outcome::DeadLettered));
    let letter = scene.stage.event(|told| told.subject == "dlq.shop.put.acme").await;
    let again = Uuid::from_u128(0x99);
    let map = headers(&[("ce-id", &again.to_string()), ("ce-causationid", &id.to_string())]);
    let body = serde_json::json!({ "thing": letter.data["thing"] }).to_string();
    scene.stage.publish_raw(letter.header("omnibus-dlq-subject").unwrap(), map, body).await;
    assert_eq!(scene.stage.outcome(again).await.outcome, Some(Outcome::Succeeded));
}
