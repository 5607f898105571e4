//! What refunds take back.

use omnibus_schemas::commissioner::{RecordOrder, RecordRefund, RefundLine, RequestPayout, SetPayoutAccount};
use serde_json::json;

use crate::scene::{Scene, line, of, order};

fn refund(id: &str, amount: Option<i64>) -> RecordRefund {
    let lines = amount.map(|amount| RefundLine { line_id: "1".into(), amount });
    RecordRefund {
        program: "main".parse().unwrap(),
        order_id: "1".into(),
        refund_id: id.into(),
        lines: lines.into_iter().collect(),
    }
}

#[tokio::test]
async fn a_hundred_partial_refunds_take_back_what_one_full_refund_does_on_every_level() {
    let scene = Scene::new().await;
    scene.program(|p| p.overrides_bp = vec![333]).await;
    let (ada, code) = scene.partner("ada", None).await;
    let (bob, below) = scene.partner("bob", Some(&code)).await;
    let sold = RecordOrder { lines: vec![line("1", 9_999)], ..order("1", Some(&below)) };
    scene.does(&sold).await;
    assert_eq!((scene.balance(bob, "EUR").await, scene.balance(ada, "EUR").await), (500, 333));
    let mut last = None;
    for n in 0..100 {
        let amount = if n == 99 { 9_999 - 99 * 99 } else { 99 };
        last = Some(scene.stage.publish("acme", &refund(&format!("r{n}"), Some(amount))).await);
    }
    assert_eq!(scene.stage.outcome(last.unwrap()).await.name, "refund_recorded");
    // One that had to be decided twice may be later than the last.
    scene.stage.drain().await;
    assert_eq!((scene.balance(bob, "EUR").await, scene.balance(ada, "EUR").await), (0, 0));
    scene.running.stop().await;
}

#[tokio::test]
async fn a_refund_counts_once_by_its_id_and_never_pays_back_more_than_was_paid() {
    let scene = Scene::new().await;
    scene.program(|_| {}).await;
    let (ada, code) = scene.partner("ada", None).await;
    scene.does(&order("1", Some(&code))).await;
    let first = scene.does(&refund("r1", Some(4_000))).await;
    assert_eq!((&first.data["amount"], &first.data["reversed"]), (&json!(4_000), &json!(1)));
    assert_eq!(of(&scene, &first, "commission_reversed")[0].data["amount"], 200);
    let again = scene.does(&refund("r1", Some(4_000))).await;
    assert_eq!((&again.data["duplicate"], &again.data["amount"]), (&json!(true), &json!(4_000)));
    for (wrong, code) in [
        (refund("r1", Some(3_000)), "refund_differs"),
        (refund("r1", None), "refund_differs"),
        (refund("r2", Some(6_001)), "more_than_paid"),
        (
            RecordRefund { lines: vec![RefundLine { line_id: "9".into(), amount: 1 }], ..refund("r2", None) },
            "no_such_line",
        ),
    ] {
        assert_eq!(scene.does(&wrong).await.data["code"], code);
    }
    assert_eq!(scene.balance(ada, "EUR").await, 300);
    // What is left, whatever that is.
    let rest = scene.does(&refund("r3", None)).await;
    assert_eq!(rest.data["amount"], 6_000);
    assert_eq!(scene.balance(ada, "EUR").await, 0);
    scene.running.stop().await;
}

#[tokio::test]
async fn a_refund_after_the_payout_is_a_debt_that_the_next_payout_pays_first() {
    let scene = Scene::new().await;
    scene.program(|_| {}).await;
    let (ada, code) = scene.partner("ada", None).await;
    scene.does(&SetPayoutAccount { partner_id: ada, account: "DE1".into() }).await;
    let pay = RequestPayout { partner_id: ada, currency: "EUR".parse().unwrap() };
    scene.does(&order("1", Some(&code))).await;
    assert_eq!(scene.does(&pay).await.data["amount"], 500);
    scene.does(&refund("r1", None)).await;
    assert_eq!(scene.balance(ada, "EUR").await, -500);
    scene.does(&order("2", Some(&code))).await;
    let refused = scene.does(&pay).await;
    assert_eq!(refused.data["code"], "below_minimum", "{refused:?}");
    scene.does(&RecordOrder { lines: vec![line("1", 20_000)], ..order("3", Some(&code)) }).await;
    assert_eq!(scene.does(&pay).await.data["amount"], 1_000);
    assert_eq!(scene.balance(ada, "EUR").await, 0);
    scene.running.stop().await;
}

#[tokio::test]
async fn a_refund_that_overtakes_its_order_waits_for_it_and_one_of_no_order_is_refused() {
    let scene = Scene::new().await;
    scene.program(|_| {}).await;
    let (ada, code) = scene.partner("ada", None).await;
    let early = scene.stage.publish("acme", &refund("r1", None)).await;
    // Something of the same lane, so that the refund has been looked at.
    scene.does(&order("other", None)).await;
    scene.does(&order("1", Some(&code))).await;
    assert_eq!(scene.stage.outcome(early).await.data["reversed"], 1);
    assert_eq!(scene.balance(ada, "EUR").await, 0);

    let nothing = RecordRefund { order_id: "9".into(), ..refund("r2", None) };
    let mut map = async_nats::HeaderMap::new();
    map.insert("ce-time", "2026-01-01T00:00:00Z");
    map.insert("ce-id", "old");
    let subject = "cmd.commissioner.orders.record_refund.acme";
    scene.stage.publish_raw(subject, map, serde_json::to_vec(&nothing).unwrap()).await;
    let told = scene.stage.event(|told| told.data["code"] == "no_such_order").await;
    assert_eq!(told.name, "command_rejected");
    scene.running.stop().await;
}
