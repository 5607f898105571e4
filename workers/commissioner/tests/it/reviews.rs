//! Orders that look like a partner's own.

use omnibus_schemas::commissioner::{
    HeldOrders, RecordOrder, RecordRefund, RefundLine, RequestPayout, ReviewDecision, ReviewOrder, SetPayoutAccount,
};
use serde_json::json;

use crate::scene::{Scene, of, order};

#[tokio::test]
async fn a_partners_own_order_is_held_on_every_level_until_a_person_decides() {
    let scene = Scene::new().await;
    scene.program(|_| {}).await;
    let (ada, a) = scene.partner("ada", None).await;
    let (bob, b) = scene.partner("bob", Some(&a)).await;
    let own = |id: &str| RecordOrder { customer_email: Some("BOB+shop@bob.example".into()), ..order(id, Some(&b)) };
    let told = scene.does(&own("1")).await;
    assert_eq!((&told.data["review"], &told.data["reasons"]), (&json!("held"), &json!(["email"])));
    assert!(of(&scene, &told, "commission_earned").iter().all(|told| told.data["held"] == json!(true)));
    scene.does(&RecordOrder { customer_email: Some("colleague@bob.example".into()), ..order("2", Some(&b)) }).await;

    let pay = |partner_id| RequestPayout { partner_id, currency: "EUR".parse().unwrap() };
    for partner_id in [ada, bob] {
        scene.does(&SetPayoutAccount { partner_id, account: "DE1".into() }).await;
        assert_eq!(scene.does(&pay(partner_id)).await.data["code"], "below_minimum");
    }
    let held = scene.asks(&HeldOrders { program: "main".parse().unwrap(), after: None, limit: 1 }).await.unwrap();
    assert_eq!((held.items.len(), held.items[0].order_id.as_str()), (1, "1"));
    let rest = HeldOrders { program: "main".parse().unwrap(), after: held.next, limit: 1 };
    let rest = scene.asks(&rest).await.unwrap();
    assert_eq!(
        (rest.items[0].order_id.as_str(), &rest.items[0].reasons, rest.next),
        ("2", &vec!["domain".into()], None)
    );

    let decide = |order_id: &str, decision| ReviewOrder {
        program: "main".parse().unwrap(),
        order_id: order_id.into(),
        decision,
        note: "looked at".into(),
    };
    // Half of it comes back before it is refused: the other half is taken back then, and nothing twice.
    let half = vec![RefundLine { line_id: "1".into(), amount: 5_000 }];
    let refund = |id: &str, lines| RecordRefund {
        program: "main".parse().unwrap(),
        order_id: "1".into(),
        refund_id: id.into(),
        lines,
    };
    scene.does(&refund("r1", half)).await;
    let refused = scene.does(&decide("1", ReviewDecision::Refuse)).await;
    assert_eq!(refused.data["review"], "refused");
    let taken: Vec<_> = of(&scene, &refused, "commission_reversed").iter().map(|t| t.data["amount"].clone()).collect();
    assert_eq!(taken, [json!(250), json!(100)]);
    assert_eq!(scene.does(&refund("r2", vec![])).await.data["reversed"], 0);
    assert_eq!(scene.does(&decide("1", ReviewDecision::Clear)).await.data["code"], "not_held");
    assert_eq!(scene.does(&decide("2", ReviewDecision::Clear)).await.data["review"], "cleared");
    assert_eq!(scene.does(&pay(bob)).await.data["amount"], 500);
    assert_eq!(scene.does(&pay(ada)).await.data["amount"], 200);
    scene.running.stop().await;
}

#[tokio::test]
async fn an_order_of_a_partner_above_who_earns_on_it_is_held_too() {
    let scene = Scene::new().await;
    scene.program(|p| p.overrides_bp = vec![200]).await;
    let (_, a) = scene.partner("ada", None).await;
    let (_, b) = scene.partner("bob", Some(&a)).await;
    let (_, c) = scene.partner("cleo", Some(&b)).await;
    let of = |id: &str, who: &str| RecordOrder { customer_email: Some(who.into()), ..order(id, Some(&c)) };
    let told = scene.does(&of("1", "bob@bob.example")).await;
    assert_eq!((&told.data["review"], &told.data["reasons"]), (&json!("held"), &json!(["above_email"])));
    // Two levels above there is nothing to be earned, so nothing is suspected.
    assert_eq!(scene.does(&of("2", "ada@ada.example")).await.data["review"], "none");
    assert_eq!(scene.does(&of("3", "eve@eve.example")).await.data["review"], "none");
    scene.running.stop().await;
}
