//! What happens at the same moment.

use std::collections::BTreeSet;

use omnibus_schemas::commissioner::{
    CheckLedger, MovePartner, RecordOrder, RecordRefund, RefundLine, RequestPayout, RunPayouts, SetPayoutAccount,
};

use crate::scene::{Scene, order};

async fn sound(scene: &Scene) {
    let check = CheckLedger { program: "main".parse().unwrap() };
    let told = scene.does(&check).await;
    assert_eq!(told.data["differences"], 0, "{told:?}");
}

#[tokio::test]
async fn no_cycle_comes_of_moves_at_the_same_moment() {
    let scene = Scene::racing().await;
    scene.program(|p| p.max_depth = 10).await;
    let mut all = vec![];
    for n in 0..4 {
        all.push(scene.partner(&format!("p{n}"), None).await.0);
    }
    let mut moves = vec![];
    for round in 0..10 {
        for n in 0..all.len() {
            let parent_id = Some(all[(n + 1 + round % 3) % all.len()]);
            moves.push(MovePartner { partner_id: all[n], parent_id });
        }
    }
    let told = scene.do_at_once(&moves).await;
    assert!(told.iter().any(|told| told.data["code"] == "cycle"), "nothing was tried that had to be refused");
    let looped: i64 = sqlx::query_scalar(
        "with recursive up as (
            select partner_id as start, parent_id, 1 as level from commissioner.partners
            union all
            select up.start, p.parent_id, up.level + 1 from up
            join commissioner.partners p on p.partner_id = up.parent_id where up.level < 50)
         select count(*) from up where level = 50 or parent_id = start",
    )
    .fetch_one(scene.db())
    .await
    .unwrap();
    assert_eq!(looped, 0);
    scene.running.stop().await;
}

#[tokio::test]
async fn a_customers_first_orders_at_the_same_moment_bind_to_one_partner() {
    let scene = Scene::racing().await;
    scene.program(|_| {}).await;
    let codes = [scene.partner("ada", None).await.1, scene.partner("bob", None).await.1];
    let orders: Vec<_> = (0..40)
        .map(|n| RecordOrder { customer_id: "one".into(), ..order(&n.to_string(), Some(&codes[n % 2])) })
        .collect();
    let told = scene.do_at_once(&orders).await;
    let due: BTreeSet<_> = told.iter().map(|told| told.data["partner_id"].to_string()).collect();
    assert_eq!(due.len(), 1, "{due:?}");
    assert_eq!(told.iter().filter(|told| told.data["attribution"] == "code").count(), 1);
    sound(&scene).await;
    scene.running.stop().await;
}

#[tokio::test]
async fn one_order_that_comes_many_times_at_the_same_moment_counts_once() {
    let scene = Scene::racing().await;
    scene.program(|_| {}).await;
    let (ada, code) = scene.partner("ada", None).await;
    let told = scene.do_at_once(&vec![order("1", Some(&code)); 30]).await;
    assert_eq!(told.iter().filter(|told| told.data["duplicate"] == true).count(), 29, "{told:?}");
    assert_eq!(scene.balance(ada, "EUR").await, 500);
    scene.running.stop().await;
}

#[tokio::test]
async fn refunds_and_payouts_at_the_same_moment_neither_pay_nor_take_twice() {
    let scene = Scene::racing().await;
    scene.program(|_| {}).await;
    let (ada, code) = scene.partner("ada", None).await;
    scene.does(&SetPayoutAccount { partner_id: ada, account: "DE1".into() }).await;
    scene.do_at_once(&(0..10).map(|n| order(&n.to_string(), Some(&code))).collect::<Vec<_>>()).await;
    let mut sent = vec![];
    for n in 0..50 {
        let refund = RecordRefund {
            program: "main".parse().unwrap(),
            order_id: (n % 10).to_string(),
            refund_id: format!("r{n}"),
            lines: vec![RefundLine { line_id: "1".into(), amount: 1_234 }],
        };
        sent.push(scene.stage.publish("acme", &refund).await);
        if n % 5 == 0 {
            let pay = RequestPayout { partner_id: ada, currency: "EUR".parse().unwrap() };
            sent.push(scene.stage.publish("acme", &pay).await);
        }
    }
    let mut paid = 0;
    for id in sent {
        let told = scene.stage.outcome(id).await;
        if told.name == "payout_reserved" {
            paid += told.data["amount"].as_i64().unwrap();
        }
    }
    // Of each 100.00, 61.70 came back: of each 5.00 earned, 3.09 (3.085, halves up) was taken back.
    assert_eq!(scene.balance(ada, "EUR").await, 10 * (500 - 309) - paid);
    sound(&scene).await;
    scene.running.stop().await;
}

#[tokio::test]
async fn payout_runs_at_the_same_moment_beside_refunds_pay_every_partner_once() {
    let scene = Scene::racing().await;
    scene.program(|_| {}).await;
    let mut partners = vec![];
    for n in 0..6 {
        let (partner_id, code) = scene.partner(&format!("p{n}"), None).await;
        scene.does(&SetPayoutAccount { partner_id, account: "DE1".into() }).await;
        partners.push((partner_id, code));
    }
    let orders: Vec<_> = (0..24).map(|n| order(&n.to_string(), Some(&partners[n % 6].1))).collect();
    scene.do_at_once(&orders).await;
    let (mut runs, mut refunds) = (vec![], vec![]);
    for n in 0..24 {
        let refund = RecordRefund {
            program: "main".parse().unwrap(),
            order_id: n.to_string(),
            refund_id: "r".into(),
            lines: vec![RefundLine { line_id: "1".into(), amount: 2_000 }],
        };
        refunds.push(scene.stage.publish("acme", &refund).await);
        if n % 4 == 0 {
            runs.push(scene.stage.publish("acme", &RunPayouts { program: "main".parse().unwrap() }).await);
        }
    }
    for id in refunds {
        assert_eq!(scene.stage.outcome(id).await.name, "refund_recorded");
    }
    let mut paid = std::collections::BTreeMap::new();
    for id in runs {
        assert_eq!(scene.stage.outcome(id).await.name, "payouts_run");
        for told in scene.stage.caused_by(id).iter().filter(|told| told.name == "payout_reserved") {
            *paid.entry(told.data["partner_id"].to_string()).or_insert(0) += told.data["amount"].as_i64().unwrap();
        }
    }
    // Each earned four times 5.00, of which 1.00 each came back, before or after it was paid.
    for (partner, _) in &partners {
        let paid = paid.get(&format!("\"{partner}\"")).copied().unwrap_or_default();
        assert_eq!(scene.balance(*partner, "EUR").await, 4 * 400 - paid, "{partner}");
    }
    let twice: i64 = sqlx::query_scalar(
        "select count(*) from (select transfer_id from commissioner.payout_items where live
         group by transfer_id having count(*) > 1) t",
    )
    .fetch_one(scene.db())
    .await
    .unwrap();
    assert_eq!(twice, 0);
    sound(&scene).await;
    scene.running.stop().await;
}

#[tokio::test]
async fn orders_beside_moves_of_the_tree_are_each_judged_by_one_tree() {
    let scene = Scene::racing().await;
    scene.program(|p| p.overrides_bp = vec![200, 100]).await;
    let (ada, a) = scene.partner("ada", None).await;
    let (bob, _) = scene.partner("bob", None).await;
    let (cleo, c) = scene.partner("cleo", Some(&a)).await;
    let mut sent = vec![];
    for n in 0..40 {
        sent.push(scene.stage.publish("acme", &order(&n.to_string(), Some(&c))).await);
        let parent_id = Some(if n % 2 == 0 { bob } else { ada });
        sent.push(scene.stage.publish("acme", &MovePartner { partner_id: cleo, parent_id }).await);
    }
    for id in sent {
        scene.stage.outcome(id).await;
    }
    // Each order has one parent, and what is owed follows from that.
    let other: i64 = sqlx::query_scalar(
        "select count(*) from commissioner.orders where parents <> array[$1::uuid] and parents <> array[$2::uuid]",
    )
    .bind(ada)
    .bind(bob)
    .fetch_one(scene.db())
    .await
    .unwrap();
    assert_eq!(other, 0);
    let earned = scene.balance(ada, "EUR").await + scene.balance(bob, "EUR").await;
    assert_eq!((earned, scene.balance(cleo, "EUR").await), (40 * 200, 40 * 500));
    sound(&scene).await;
    scene.running.stop().await;
}
