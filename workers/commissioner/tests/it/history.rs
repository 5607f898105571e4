//! What is frozen at order time, and what base and currency commissions are taken in.

use chrono::{DateTime, TimeDelta, Utc};
use omnibus_runtime::clock;
use omnibus_schemas::commissioner::{
    ApplyTiers, MovePartner, OrderLine, RecordOrder, ReviewDecision, ReviewOrder, SetTier, Tier, TierThresholds,
};
use serde_json::json;

use crate::scene::{Scene, line, of, order};

fn at(order: RecordOrder, time: DateTime<Utc>) -> RecordOrder {
    RecordOrder { ordered_at: Some(time), ..order }
}

#[tokio::test]
async fn later_changes_of_rate_tier_and_tree_change_nothing_that_was() {
    let scene = Scene::new().await;
    scene.program(|_| {}).await;
    let (ada, code) = scene.partner("ada", None).await;
    let (eve, _) = scene.partner("eve", None).await;
    let (bob, below) = scene.partner("bob", Some(&code)).await;
    scene.does(&order("1", Some(&below))).await;
    let before = clock::now();
    scene.does(&SetTier { partner_id: bob, tier: Tier::Platinum, effective_from: None }).await;
    scene.does(&MovePartner { partner_id: bob, parent_id: Some(eve) }).await;
    scene.program(|p| (p.rates.platinum_bp, p.overrides_bp) = (3_000, vec![100])).await;
    // Made before all that and reported after it: the rules, tier and parent of its own time.
    scene.does(&at(order("2", Some(&below)), before)).await;
    assert_eq!((scene.balance(bob, "EUR").await, scene.balance(ada, "EUR").await), (1_000, 400));
    scene.does(&order("3", Some(&below))).await;
    assert_eq!((scene.balance(bob, "EUR").await, scene.balance(eve, "EUR").await), (4_000, 100));
    assert_eq!(scene.balance(ada, "EUR").await, 400);
    scene.running.stop().await;
}

#[tokio::test]
async fn a_tier_begins_when_it_is_said_to_and_never_in_the_past() {
    let scene = Scene::new().await;
    scene.program(|_| {}).await;
    let (ada, code) = scene.partner("ada", None).await;
    let later = clock::now() + TimeDelta::minutes(4);
    scene.does(&SetTier { partner_id: ada, tier: Tier::Gold, effective_from: Some(later) }).await;
    scene.does(&order("1", Some(&code))).await;
    scene.does(&at(order("2", Some(&code)), later)).await;
    assert_eq!(scene.balance(ada, "EUR").await, 500 + 1_500);
    let past = Some(clock::now() - TimeDelta::days(1));
    let refused = scene.does(&SetTier { partner_id: ada, tier: Tier::Gold, effective_from: past }).await;
    assert_eq!(refused.data["code"], "in_the_past");
    let ahead = scene.does(&at(order("3", Some(&code)), clock::now() + TimeDelta::hours(1))).await;
    assert_eq!(ahead.data["code"], "in_the_future");
    scene.running.stop().await;
}

#[tokio::test]
async fn a_tier_by_rule_follows_sales_and_leaves_those_given_by_hand() {
    let scene = Scene::new().await;
    scene.program(|p| p.tiers_from = TierThresholds { silver: 10_000, gold: 20_000, platinum: 0 }).await;
    let (ada, code) = scene.partner("ada", None).await;
    let (bob, other) = scene.partner("bob", None).await;
    scene.does(&SetTier { partner_id: bob, tier: Tier::Bronze, effective_from: None }).await;
    for (n, code) in [(1, &code), (2, &code), (3, &other)] {
        scene.does(&order(&n.to_string(), Some(code))).await;
    }
    let told = scene.does(&ApplyTiers { program: "main".parse().unwrap() }).await;
    assert_eq!((told.name.as_str(), &told.data["changed"]), ("tiers_applied", &json!(1)));
    let changed = of(&scene, &told, "tier_changed");
    assert_eq!((&changed[0].data["partner_id"], &changed[0].data["tier"]), (&json!(ada), &json!("gold")));
    assert_eq!(scene.does(&ApplyTiers { program: "main".parse().unwrap() }).await.data["changed"], 0);
    scene.does(&order("4", Some(&code))).await;
    assert_eq!(scene.balance(ada, "EUR").await, 500 + 500 + 1_500);
    scene.running.stop().await;
}

#[tokio::test]
async fn a_partners_own_purchase_raises_no_tier_until_it_is_cleared() {
    let scene = Scene::new().await;
    scene.program(|p| p.tiers_from = TierThresholds { silver: 10_000, gold: 0, platinum: 0 }).await;
    let (_, code) = scene.partner("ada", None).await;
    let own = RecordOrder { customer_email: Some("ada@ada.example".into()), ..order("1", Some(&code)) };
    assert_eq!(scene.does(&own).await.data["review"], "held");
    let (program, apply) = ("main".parse().unwrap(), ApplyTiers { program: "main".parse().unwrap() });
    assert_eq!(scene.does(&apply).await.data["changed"], 0);
    let clear = ReviewOrder { program, order_id: "1".into(), decision: ReviewDecision::Clear, note: String::new() };
    assert_eq!(scene.does(&clear).await.data["review"], "cleared");
    assert_eq!(scene.does(&apply).await.data["changed"], 1);
    scene.running.stop().await;
}

#[tokio::test]
async fn the_base_leaves_out_what_the_program_says() {
    let scene = Scene::new().await;
    let sold = OrderLine { discount: 1_000, tax: 1_900, shipping: 500, ..line("1", 12_400) };
    for (n, (leaves_out, earned)) in
        [([true, true, true], 500), ([false, true, true], 595), ([true, false, true], 525), ([true, true, false], 550)]
            .into_iter()
            .enumerate()
    {
        scene.program(|p| [p.without_tax, p.without_shipping, p.without_discount] = leaves_out).await;
        let (partner, code) = scene.partner(&format!("p{n}"), None).await;
        scene.does(&RecordOrder { lines: vec![sold.clone()], ..order(&n.to_string(), Some(&code)) }).await;
        assert_eq!(scene.balance(partner, "EUR").await, earned, "{leaves_out:?}");
    }
    let wrong = OrderLine { tax: 12_000, ..sold };
    let told = scene.does(&RecordOrder { lines: vec![wrong], ..order("9", None) }).await;
    assert_eq!(told.data["code"], "parts_exceed_amount");
    scene.running.stop().await;
}

#[tokio::test]
async fn currencies_are_never_added_and_a_rate_stands_with_its_line() {
    let scene = Scene::new().await;
    scene.program(|_| {}).await;
    let (ada, code) = scene.partner("ada", None).await;
    let usd = |id: &str| RecordOrder { currency: "USD".parse().unwrap(), ..order(id, Some(&code)) };
    scene.does(&order("1", Some(&code))).await;
    scene.does(&usd("2")).await;
    assert_eq!((scene.balance(ada, "EUR").await, scene.balance(ada, "USD").await), (500, 500));
    let told = scene.does(&RecordOrder { fx_rate_e9: Some(920_000_000), ..usd("3") }).await;
    let earned = &of(&scene, &told, "commission_earned")[0].data;
    assert_eq!((&earned["base"], &earned["amount"], &earned["currency"]), (&json!(9_200), &json!(460), &json!("EUR")));
    assert_eq!((scene.balance(ada, "EUR").await, scene.balance(ada, "USD").await), (960, 500));
    let rate: i64 = sqlx::query_scalar("select fx_rate_e9 from commissioner.lines where order_id = '3'")
        .fetch_one(scene.db())
        .await
        .unwrap();
    assert_eq!(rate, 920_000_000);
    let needless = scene.does(&RecordOrder { fx_rate_e9: Some(1), ..order("4", Some(&code)) }).await;
    assert_eq!(needless.data["code"], "rate_not_needed");
    scene.running.stop().await;
}

#[tokio::test]
async fn the_lines_of_an_order_are_rounded_each_and_come_to_its_sum() {
    let scene = Scene::new().await;
    scene.program(|_| {}).await;
    let (ada, code) = scene.partner("ada", None).await;
    let lines = vec![line("1", 10), line("2", 9), line("3", 30)];
    let told = scene.does(&RecordOrder { lines, ..order("1", Some(&code)) }).await;
    let amounts: Vec<_> =
        of(&scene, &told, "commission_earned").iter().map(|told| told.data["amount"].as_i64().unwrap()).collect();
    assert_eq!((amounts.as_slice(), told.data["commissions"].as_i64()), (&[1, 0, 2][..], Some(3)));
    assert_eq!(scene.balance(ada, "EUR").await, 3);
    let twice = scene.does(&RecordOrder { lines: vec![line("1", 1), line("1", 2)], ..order("2", None) }).await;
    assert_eq!(twice.data["code"], "line_twice");
    scene.running.stop().await;
}
