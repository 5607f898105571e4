//! Whom an order is due to.

use chrono::{DateTime, TimeDelta, Utc};
use omnibus_runtime::clock;
use omnibus_schemas::commissioner::{DecidePartner, PartnerDecision, PartnerReferrals, RecordClick, RecordOrder};
use uuid::Uuid;

use crate::scene::{Scene, order};

async fn click(scene: &Scene, link: &str, consent: bool, at: DateTime<Utc>) -> Uuid {
    let click = RecordClick { link: link.into(), consent, referrer: None, clicked_at: Some(at) };
    let told = scene.does(&click).await;
    assert_eq!(told.name, "click_recorded", "{told:?}");
    told.data["click_id"].as_str().unwrap().parse().unwrap()
}

async fn due_to(scene: &Scene, order: &RecordOrder) -> (String, Option<String>) {
    let told = scene.does(order).await;
    let partner = told.data["partner_id"].as_str().map(str::to_owned);
    (told.data["attribution"].as_str().unwrap().to_owned(), partner)
}

#[tokio::test]
async fn a_code_beats_a_click_and_who_is_bound_stays_bound() {
    let scene = Scene::new().await;
    scene.program(|_| {}).await;
    let (ada, a) = scene.partner("ada", None).await;
    let (bob, b) = scene.partner("bob", None).await;
    let by_ada = click(&scene, &a, true, clock::now()).await;
    let of_one =
        |id: &str, code: Option<&str>, click_id| RecordOrder { customer_id: "one".into(), click_id, ..order(id, code) };
    let first = due_to(&scene, &of_one("1", Some(&b), Some(by_ada))).await;
    assert_eq!(first, ("code".into(), Some(bob.to_string())));
    let second = due_to(&scene, &of_one("2", Some(&a), Some(by_ada))).await;
    assert_eq!(second, ("bound".into(), Some(bob.to_string())));
    let other = due_to(&scene, &RecordOrder { click_id: Some(by_ada), ..order("3", Some("nobodys")) }).await;
    assert_eq!(other, ("click".into(), Some(ada.to_string())));
    scene.running.stop().await;
}

#[tokio::test]
async fn a_referral_counts_the_order_that_bound_the_customer_and_those_after_it_that_are_the_partners() {
    let scene = Scene::new().await;
    scene.program(|_| {}).await;
    let (ada, a) = scene.partner("ada", None).await;
    let of_one = |id: &str, code: Option<&str>| RecordOrder { customer_id: "one".into(), ..order(id, code) };
    let decide = |decision| DecidePartner { partner_id: ada, decision, note: String::new() };
    assert_eq!(due_to(&scene, &of_one("before", None)).await.0, "none");
    assert_eq!(due_to(&scene, &of_one("first", Some(&a))).await.0, "code");
    assert_eq!(due_to(&scene, &of_one("second", None)).await.0, "bound");
    scene.does(&decide(PartnerDecision::Suspend)).await;
    assert_eq!(due_to(&scene, &of_one("meanwhile", None)).await.0, "none");
    scene.does(&decide(PartnerDecision::Approve)).await;
    assert_eq!(due_to(&scene, &of_one("third", None)).await.0, "bound");
    scene.does(&RecordOrder { customer_id: "two".into(), ..order("another", Some(&a)) }).await;
    let page = scene.asks(&PartnerReferrals { partner_id: ada, after: None, limit: 9 }).await.unwrap();
    let mut counts: Vec<_> = page.items.iter().map(|item| (item.customer_id.as_str(), item.orders)).collect();
    counts.sort_unstable();
    assert_eq!(counts, [("one", 3), ("two", 1)]);
    scene.running.stop().await;
}

#[tokio::test]
async fn a_click_brings_orders_within_the_window_only_and_with_consent_only() {
    let scene = Scene::new().await;
    scene.program(|p| p.window_days = 30).await;
    let (_, code) = scene.partner("ada", None).await;
    // The program's rules begin now, and hold for what came before it too.
    let now = clock::now();
    let ago = |days| now - TimeDelta::days(days);
    let of_click =
        |id: &str, click: Uuid, at| RecordOrder { click_id: Some(click), ordered_at: Some(at), ..order(id, None) };
    let old = click(&scene, &code, true, ago(30)).await;
    assert_eq!(due_to(&scene, &of_click("1", old, now)).await.0, "click");
    assert_eq!(due_to(&scene, &of_click("2", old, now + TimeDelta::seconds(1))).await.0, "none");
    let after = click(&scene, &code, true, now).await;
    assert_eq!(due_to(&scene, &of_click("3", after, ago(1))).await.0, "none");
    let silent = click(&scene, &code, false, ago(1)).await;
    assert_eq!(due_to(&scene, &of_click("4", silent, now)).await.0, "none");
    assert_eq!(due_to(&scene, &of_click("5", Uuid::from_u128(1), now)).await.0, "none");
    scene.running.stop().await;
}
