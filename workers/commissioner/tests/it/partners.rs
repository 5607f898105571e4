//! Who is a partner, by what they are known, and above whom nobody stands twice.

use omnibus_runtime::settings::WorkSettings;
use omnibus_runtime::testing::Stage;
use omnibus_schemas::Catalogue;
use omnibus_schemas::commissioner::{
    AddCode, AddLink, DecidePartner, MovePartner, PartnerDecision, PartnerPage, SetProgram,
};
use serde_json::json;
use uuid::Uuid;

use crate::scene::{Scene, order, program, registration, settings};

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
async fn no_cycle_comes_of_moves_at_the_same_moment() {
    // Every command in a transaction of its own, eight at a time: the widest race there is.
    let dir = tempfile::tempdir().unwrap();
    let stage = Stage::new(Catalogue::omnibus()).await;
    let work = WorkSettings { loops: 8, batch: 1, ..WorkSettings::defaults() };
    let worker = omnibus_commissioner::worker(settings(dir.path())).unwrap();
    let running = stage.run_with(worker, work).await;
    let id = stage.publish("acme", &program(|p: &mut SetProgram| p.max_depth = 10)).await;
    stage.outcome(id).await;
    let mut all = vec![];
    for n in 0..4 {
        let id = stage.publish("acme", &registration(&format!("p{n}"), None)).await;
        stage.outcome(id).await;
        all.push(id);
    }
    let mut sent = vec![];
    for round in 0..10 {
        for n in 0..all.len() {
            let parent_id = Some(all[(n + 1 + round % 3) % all.len()]);
            sent.push(stage.publish("acme", &MovePartner { partner_id: all[n], parent_id }).await);
        }
    }
    let mut refused = 0;
    for id in sent {
        refused += u32::from(stage.outcome(id).await.data["code"] == "cycle");
    }
    assert!(refused > 0, "nothing was tried that had to be refused");
    let looped: i64 = sqlx::query_scalar(
        "with recursive up as (
            select partner_id as start, parent_id, 1 as level from commissioner.partners
            union all
            select up.start, p.parent_id, up.level + 1 from up
            join commissioner.partners p on p.partner_id = up.parent_id where up.level < 50)
         select count(*) from up where level = 50 or parent_id = start",
    )
    .fetch_one(&stage.db)
    .await
    .unwrap();
    assert_eq!(looped, 0);
    running.stop().await;
}
