//! The shadow, and what-if.

use omnibus_schemas::commissioner::{
    CheckLedger, LedgerHealth, OverrideBase, Rates, RecordOrder, RecordRefund, RefundLine, RequestPayout,
    SetPayoutAccount, Simulate,
};
use serde_json::json;

use crate::scene::{Scene, line, of, order};

fn check() -> CheckLedger {
    CheckLedger { program: "main".parse().unwrap() }
}

async fn busy() -> (Scene, uuid::Uuid) {
    let scene = Scene::new().await;
    scene.program(|_| {}).await;
    let (_, a) = scene.partner("ada", None).await;
    let (bob, b) = scene.partner("bob", Some(&a)).await;
    for n in 0..6 {
        let lines = vec![line("1", 1_111 * (n + 1)), line("2", 7)];
        scene.does(&RecordOrder { lines, ..order(&n.to_string(), Some(&b)) }).await;
    }
    let refund = RecordRefund {
        program: "main".parse().unwrap(),
        order_id: "3".into(),
        refund_id: "r".into(),
        lines: vec![RefundLine { line_id: "1".into(), amount: 333 }],
    };
    scene.does(&refund).await;
    (scene, bob)
}

#[tokio::test]
async fn a_sound_ledger_has_no_difference_and_a_changed_cent_is_found() {
    let (scene, bob) = busy().await;
    let told = scene.does(&check()).await;
    assert_eq!(told.data, json!({ "program": "main", "orders": 6, "differences": 0, "more": false }));

    // Somebody with the database in hand.
    for change in [
        "alter table commissioner.transfers disable trigger only_added_to",
        "update commissioner.transfers set amount = amount + 1 where order_id = '4' and kind = 'earned'
            and transfer_id = (select commission_id from commissioner.commissions
                where order_id = '4' and line_id = '1' and level = 0)",
        "delete from commissioner.transfers where order_id = '3' and kind = 'reversed'",
    ] {
        sqlx::query(change).execute(scene.db()).await.unwrap();
    }
    let told = scene.does(&check()).await;
    assert_eq!(told.data["differences"], 3);
    let found = of(&scene, &told, "ledger_difference_found");
    let one = found.iter().find(|told| told.data["order_id"] == "4").unwrap();
    assert_eq!((&one.data["partner_id"], &one.data["level"]), (&json!(bob), &json!(0)));
    assert_eq!((one.data["expected"].as_i64(), one.data["booked"].as_i64()), (Some(278), Some(279)));
    let health = scene.asks(&LedgerHealth { program: "main".parse().unwrap() }).await.unwrap();
    assert_eq!((health.orders, health.differences), (Some(6), Some(3)));
    assert_eq!(health.accounts.iter().map(|account| account.money.amount).sum::<i64>(), 0);
    scene.running.stop().await;
}

#[tokio::test]
async fn commissions_from_before_ids_began_with_a_time_are_checked_as_all_are() {
    let (scene, bob) = busy().await;
    for change in [
        "alter table commissioner.transfers disable trigger only_added_to",
        // What such an id was: another beginning, and version 5.
        "update commissioner.commissions set commission_id =
            overlay(overlay(commission_id::text placing 'deadbeef-dead' from 1) placing '5' from 15)::uuid",
        "update commissioner.transfers set commission_id =
            overlay(overlay(commission_id::text placing 'deadbeef-dead' from 1) placing '5' from 15)::uuid",
        "update commissioner.transfers set transfer_id = commission_id where kind = 'earned'",
    ] {
        sqlx::query(change).execute(scene.db()).await.unwrap();
    }
    assert_eq!(scene.does(&check()).await.data["differences"], 0);
    let cent = "update commissioner.transfers set amount = amount + 1 where transfer_id = (
        select commission_id from commissioner.commissions where order_id = '4' and line_id = '1' and level = 0)";
    sqlx::query(cent).execute(scene.db()).await.unwrap();
    let told = scene.does(&check()).await;
    assert_eq!(told.data["differences"], 1);
    let found = of(&scene, &told, "ledger_difference_found")[0].data.clone();
    assert_eq!((&found["partner_id"], &found["line_id"]), (&json!(bob), &json!("1")));
    scene.running.stop().await;
}

#[tokio::test]
async fn a_check_beside_orders_and_refunds_finds_nothing_that_is_not_there() {
    let scene = Scene::racing().await;
    scene.program(|_| {}).await;
    let (_, code) = scene.partner("ada", None).await;
    let mut checks = vec![];
    for n in 0..60 {
        scene.stage.publish("acme", &order(&format!("{:03}", (n * 37) % 101), Some(&code))).await;
        let refund = RecordRefund {
            program: "main".parse().unwrap(),
            order_id: format!("{:03}", (n * 37) % 101),
            refund_id: "r".into(),
            lines: vec![RefundLine { line_id: "1".into(), amount: 333 }],
        };
        scene.stage.publish("acme", &refund).await;
        if n % 6 == 5 {
            checks.push(scene.stage.publish("acme", &check()).await);
        }
    }
    for id in checks {
        assert_eq!(scene.stage.outcome(id).await.data["differences"], 0);
    }
    scene.stage.drain().await;
    assert_eq!(scene.does(&check()).await.data["orders"], 60);
    scene.running.stop().await;
}

#[tokio::test]
async fn a_base_that_does_not_follow_from_what_was_paid_is_found() {
    let (scene, _) = busy().await;
    sqlx::query("update commissioner.lines set tax = 100 where order_id = '5' and line_id = '1'")
        .execute(scene.db())
        .await
        .unwrap();
    assert_eq!(scene.does(&check()).await.data["differences"], 2);
    scene.running.stop().await;
}

#[tokio::test]
async fn a_payout_that_differs_from_its_account_or_from_what_it_settles_is_found() {
    let (scene, bob) = busy().await;
    scene.does(&SetPayoutAccount { partner_id: bob, account: "DE1".into() }).await;
    let paid = scene.does(&RequestPayout { partner_id: bob, currency: "EUR".parse().unwrap() }).await;
    let amount = paid.data["amount"].as_i64().unwrap();
    scene.stage.event(|told| told.name == "payout_submitted").await;
    assert_eq!(scene.does(&check()).await.data["differences"], 0);

    // It settles less than it pays: the rest could be paid once more.
    let item = "update commissioner.payout_items set live = false where transfer_id = (
        select commission_id from commissioner.commissions where order_id = '4' and line_id = '1' and level = 0)";
    sqlx::query(item).execute(scene.db()).await.unwrap();
    let told = scene.does(&check()).await;
    assert_eq!(told.data["differences"], 1);
    let found = of(&scene, &told, "ledger_difference_found")[0].data.clone();
    assert_eq!((&found["partner_id"], &found["order_id"]), (&json!(bob), &json!(null)));
    // Of 55.55, five per cent are 2.78.
    assert_eq!((found["expected"].as_i64(), found["booked"].as_i64()), (Some(amount), Some(amount - 278)));

    sqlx::query("update commissioner.payout_items set live = true").execute(scene.db()).await.unwrap();
    sqlx::query("update commissioner.payouts set status = 'confirmed'").execute(scene.db()).await.unwrap();
    let told = scene.does(&check()).await;
    // Not at the bank, and still on its way.
    assert_eq!(told.data["differences"], 2);
    let found = of(&scene, &told, "ledger_difference_found");
    let mut sides: Vec<_> =
        found.iter().map(|told| (told.data["expected"].as_i64(), told.data["booked"].as_i64())).collect();
    sides.sort_unstable();
    assert_eq!(sides, [(Some(0), Some(amount)), (Some(amount), Some(0))]);
    scene.running.stop().await;
}

#[tokio::test]
async fn what_if_tells_what_partners_would_have_earned_and_changes_nothing() {
    let (scene, _) = busy().await;
    let before = scene.count("transfers").await;
    let what_if = |rates: Rates, overrides_bp: &[u32]| Simulate {
        program: "main".parse().unwrap(),
        from: None,
        until: None,
        rates,
        overrides_bp: overrides_bp.to_vec(),
        override_base: OverrideBase::Sale,
    };
    let same = scene.does(&what_if(Rates::default(), &[200])).await;
    let total = &same.data["totals"][0];
    assert_eq!((&same.data["orders"], &total["currency"]), (&json!(6), &json!("EUR")));
    assert_eq!(total["earned"], total["simulated"]);
    let owed: i64 =
        sqlx::query_scalar("select sum(balance)::bigint from commissioner.balances where account = 'partner'")
            .fetch_one(scene.db())
            .await
            .unwrap();
    assert_eq!(total["earned"], owed);
    let more = scene.does(&what_if(Rates { bronze_bp: 1_000, ..Rates::default() }, &[100])).await;
    let total = &more.data["totals"][0];
    assert_eq!((&total["more"], &total["less"]), (&json!(1), &json!(1)));
    assert!(total["simulated"].as_i64() > total["earned"].as_i64());
    assert_eq!(scene.count("transfers").await, before);
    scene.running.stop().await;
}
