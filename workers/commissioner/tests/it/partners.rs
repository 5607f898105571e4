//! Who is a partner, by what they are known, and above whom nobody stands twice.

use omnibus_schemas::commissioner::{AddCode, AddLink, DecidePartner, MovePartner, PartnerDecision, PartnerPage};
use serde_json::json;
use uuid::Uuid;

use crate::scene::{Scene, order, registration};

#[tokio::test]
async fn only_an_approved_partner_earns() {
    let scene = Scene::new().await;
    scene.program(|p| p.auto_approve = false).await;
    let told = scene.does(&registration("ada", None)).await;
    let (id, code): (Uuid, _) =
        (told.data["partner_id"].as_str().unwrap().parse().unwrap(), told.data["code"].as_str().unwrap().to_owned());
    assert_eq!(told.data["status"], "pending");
    let decide = |decision| DecidePartner { partner_id: id, decision, note: "because".into() };
    let attribution = |n: u32| {
        let (scene, code) = (&scene, &code);
        async move { scene.does(&order(&n.to_string(), Some(code))).await.data["attribution"].clone() }
    };
    assert_eq!(attribution(1).await, "none");
    let wrong = scene.does(&decide(PartnerDecision::Suspend)).await;
    assert_eq!(wrong.data["code"], "wrong_status");
    let approved = scene.does(&decide(PartnerDecision::Approve)).await;
    assert_eq!((&approved.data["status"], &approved.data["revision"]), (&json!("approved"), &json!(2)));
    assert_eq!(attribution(2).await, "code");
    scene.does(&decide(PartnerDecision::Suspend)).await;
    assert_eq!(attribution(3).await, "none");
    assert_eq!(scene.balance(id, "EUR").await, 500);
    scene.running.stop().await;
}

#[tokio::test]
async fn recruiting_earns_nothing_and_a_suspended_parent_costs_nobody_else() {
    let scene = Scene::new().await;
    scene.program(|p| p.overrides_bp = vec![200, 100]).await;
    let (ada, a) = scene.partner("ada", None).await;
    let (bob, b) = scene.partner("bob", Some(&a)).await;
    let (cleo, c) = scene.partner("cleo", Some(&b)).await;
    assert_eq!(scene.count("transfers").await, 0);
    let suspend = DecidePartner { partner_id: bob, decision: PartnerDecision::Suspend, note: String::new() };
    scene.does(&suspend).await;
    scene.does(&order("1", Some(&c))).await;
    let mut balances = vec![];
    for id in [cleo, bob, ada] {
        balances.push(scene.balance(id, "EUR").await);
    }
    assert_eq!(balances, [500, 0, 100]);
    scene.running.stop().await;
}

#[tokio::test]
async fn codes_know_no_case_and_have_one_owner() {
    let scene = Scene::new().await;
    scene.program(|_| {}).await;
    let (ada, _) = scene.partner("ada", None).await;
    let (bob, _) = scene.partner("bob", None).await;
    let add = |partner_id, code: &str| AddCode { partner_id, code: code.into() };
    assert_eq!(scene.does(&add(ada, "SPRING")).await.data["code"], "spring");
    assert_eq!(scene.does(&add(ada, "Spring")).await.name, "code_added");
    assert_eq!(scene.does(&add(bob, "sprinG")).await.data["code"], "code_taken");
    let again = scene.does(&registration("ada", None)).await;
    assert_eq!(again.data["code"], "already_registered");
    let elsewhere = AddLink { partner_id: ada, destination: "https://evil.example/".into() };
    assert_eq!(scene.does(&elsewhere).await.data["code"], "bad_destination");
    let page = scene.asks(&PartnerPage { partner_id: ada }).await.unwrap();
    assert_eq!((page.codes.len(), page.links.len(), page.codes.contains(&"spring".to_owned())), (2, 1, true));
    scene.running.stop().await;
}

#[tokio::test]
async fn nobody_stands_above_themselves_and_the_tree_is_no_deeper_than_the_program_says() {
    let scene = Scene::new().await;
    scene.program(|p| p.max_depth = 2).await;
    let (ada, a) = scene.partner("ada", None).await;
    let (bob, b) = scene.partner("bob", Some(&a)).await;
    let (_, c) = scene.partner("cleo", Some(&b)).await;
    assert_eq!(scene.does(&registration("dora", Some(&c))).await.data["code"], "too_deep");
    let moved = |partner_id, parent| MovePartner { partner_id, parent_id: parent };
    assert_eq!(scene.does(&moved(ada, Some(bob))).await.data["code"], "cycle");
    assert_eq!(scene.does(&moved(ada, Some(ada))).await.data["code"], "cycle");
    let (eve, _) = scene.partner("eve", None).await;
    assert_eq!(scene.does(&moved(ada, Some(eve))).await.data["code"], "too_deep");
    assert_eq!(scene.does(&moved(bob, Some(eve))).await.name, "partner_moved");
    assert_eq!(scene.does(&moved(bob, None)).await.name, "partner_moved");
    assert_eq!(scene.does(&moved(bob, Some(Uuid::from_u128(1)))).await.data["code"], "no_such_parent");
    scene.running.stop().await;
}

#[tokio::test]
async fn a_code_can_not_be_told_from_the_one_before_it() {
    let scene = Scene::new().await;
    scene.program(|_| {}).await;
    let mut codes: Vec<String> = vec![];
    for n in 0..8 {
        codes.push(scene.partner(&format!("p{n}"), None).await.1);
    }
    for pair in codes.windows(2) {
        let same = pair[0].chars().zip(pair[1].chars()).filter(|(one, other)| one == other).count();
        // Of ten characters, each one of thirty-two, six agree by chance once in millions.
        assert!(same < 6, "{pair:?} follow each other");
    }
    scene.running.stop().await;
}

#[tokio::test]
async fn who_is_turned_down_earns_nothing_and_may_be_approved_later() {
    let scene = Scene::new().await;
    scene.program(|p| p.auto_approve = false).await;
    let told = scene.does(&registration("ada", None)).await;
    let partner_id: Uuid = told.data["partner_id"].as_str().unwrap().parse().unwrap();
    let code = told.data["code"].as_str().unwrap().to_owned();
    let decide = |decision| DecidePartner { partner_id, decision, note: String::new() };
    let rejected = scene.does(&decide(PartnerDecision::Reject)).await;
    assert_eq!((rejected.name.as_str(), &rejected.data["status"]), ("partner_status_changed", &json!("rejected")));
    assert_eq!(scene.does(&decide(PartnerDecision::Reject)).await.data["code"], "wrong_status");
    assert_eq!(scene.does(&order("1", Some(&code))).await.data["attribution"], "none");
    assert_eq!(scene.does(&registration("bob", Some(&code))).await.data["code"], "no_such_code");
    assert_eq!(scene.does(&decide(PartnerDecision::Approve)).await.data["status"], "approved");
    assert_eq!(scene.does(&order("2", Some(&code))).await.data["attribution"], "code");
    assert_eq!(scene.balance(partner_id, "EUR").await, 500);
    scene.running.stop().await;
}
