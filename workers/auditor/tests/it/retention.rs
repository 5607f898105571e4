//! Months go as a whole when their time is over, unless they are held.

use chrono::{Datelike, Months, TimeDelta};
use omnibus_runtime::clock;
use omnibus_schemas::auditor::{EntryProof, Hold, HoldPlaced, Holds, LiftHold, PlaceHold, RecordAct};

use crate::proofs::second_opinion;
use crate::scene::{Scene, eventually};

async fn old_entries(scene: &Scene) {
    for n in 0..6 {
        scene.greeted("acme", &format!("e-{n}")).await;
        scene.greeted("globex", &format!("g-{n}")).await;
    }
    scene.grown("acme", 6).await;
    scene.grown("globex", 6).await;
    scene
        .sql(
            "create table auditor.entries_2015_03 partition of auditor.entries
             for values from ('2015-03-01 00:00:00Z') to ('2015-04-01 00:00:00Z')",
        )
        .await;
    scene.sql("update auditor.entries set sequenced_at = '2015-03-09 12:00:00Z' where idx < 4").await;
}

async fn there(scene: &Scene) -> bool {
    scene.count("select count(*) from pg_class where relname = 'entries_2015_03'").await == 1
}

#[tokio::test(flavor = "multi_thread")]
async fn a_month_past_its_retention_leaves_a_signed_tombstone_and_every_proof() {
    let scene = Scene::new().await;
    let running = scene.run().await;
    old_entries(&scene).await;
    let head = scene.grown("acme", 6).await;
    running.stop().await;
    // What is due is looked after at the start.
    let running = scene.run().await;
    eventually("the month is removed", || async { !there(&scene).await }).await;
    let report = scene.checked("acme", Some(&head.checkpoint)).await.unwrap();
    assert_eq!((report.checked, report.removed), (2, 4));
    let key = scene.key("acme").await;
    let (well, said) = second_opinion(&scene, &scene.export("acme", None).await, &key, None);
    assert!(well && said.starts_with("OK: 2 entries"), "{said}");
    let proved = scene.asks("acme", &EntryProof { index: 1 }).await.unwrap();
    assert_eq!((proved.leaf, proved.path.is_empty()), (None, false));

    // Without its tombstone, it is a hole.
    scene.sql("delete from auditor.tombstones where tenant = 'acme'").await;
    assert_eq!(scene.checked("acme", None).await.unwrap_err().index, Some(0));
    let (well, said) = second_opinion(&scene, &scene.export("acme", None).await, &key, None);
    assert!(!well && said.contains("entry 0: it is missing"), "{said}");
    running.stop().await;
}

/// Waits until the upkeep of the start is done: the sequencer does it before it gives a place to anything.
async fn upkept(scene: &Scene) {
    let act = RecordAct { act: "tried".into(), target: "upkeep".into(), detail: String::new() };
    scene.does("_", &act).await;
    let placed = "select count(*) from auditor.entries where tenant = '_' and leaf like '%\"auditor.act_recorded\"%'";
    eventually("what was done has a place", || async { scene.count(placed).await > 0 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_log_outlives_its_retention_until_the_hold_is_lifted() {
    let scene = Scene::new().await;
    let running = scene.run().await;
    old_entries(&scene).await;
    let told = scene.does("globex", &PlaceHold { reason: "matter 1".into() }).await;
    let placed: HoldPlaced = serde_json::from_value(told.data).unwrap();
    let holds = scene.asks("globex", &Holds {}).await.unwrap().holds;
    assert!(matches!(holds.as_slice(), [Hold { hold_id, .. }] if *hold_id == placed.hold_id));
    running.stop().await;

    let running = scene.run().await;
    upkept(&scene).await;
    assert!(there(&scene).await);
    let lift = LiftHold { hold_id: placed.hold_id, reason: "settled".into() };
    assert_eq!(scene.does("globex", &lift).await.name, "hold_lifted");
    assert_eq!(scene.does("globex", &lift).await.data["code"], "no_such_hold");
    running.stop().await;

    let running = scene.run().await;
    eventually("the month is removed", || async { !there(&scene).await }).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_hold_keeps_is_not_taken_once_more_though_a_later_month_has_gone() {
    let scene = Scene::new().await;
    let running = scene.run().await;
    old_entries(&scene).await;
    scene
        .sql(
            "create table auditor.entries_2015_02 partition of auditor.entries
             for values from ('2015-02-01 00:00:00Z') to ('2015-03-01 00:00:00Z')",
        )
        .await;
    scene
        .sql("update auditor.entries set sequenced_at = '2015-02-09 12:00:00Z' where tenant = 'globex' and idx < 4")
        .await;
    scene.sql("update auditor.ids i set seen_at = e.sequenced_at from auditor.entries e where e.key = i.key").await;
    assert_eq!(scene.does("globex", &PlaceHold { reason: "matter 1".into() }).await.name, "hold_placed");
    scene.grown("globex", 8).await;
    running.stop().await;

    let running = scene.run().await;
    eventually("the later month is removed", || async { !there(&scene).await }).await;
    scene.greeted("globex", "g-0").await;
    scene.greeted("globex", "later").await;
    scene.grown("globex", 9).await;
    let leaves = scene.leaves("globex").await;
    let of = |id: &str| leaves.iter().filter(|leaf| leaf["id"] == id).count();
    assert_eq!((of("g-0"), of("later")), (1, 1), "the month before is held");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_known_again_for_as_long_as_its_entry_is_kept() {
    let scene = Scene::new().await;
    let running = scene.run().await;
    old_entries(&scene).await;
    // More than the six years that are asked for, and less than the seven that are set.
    let at = clock::now() - TimeDelta::days(2500);
    let month = at.date_naive().with_day(1).unwrap();
    scene
        .sql(&format!(
            "create table auditor.entries_{} partition of auditor.entries
             for values from ('{month} 00:00:00Z') to ('{} 00:00:00Z')",
            month.format("%Y_%m"),
            month + Months::new(1)
        ))
        .await;
    scene.sql(&format!("update auditor.entries set sequenced_at = '{}' where idx >= 4", at.to_rfc3339())).await;
    scene.sql("update auditor.ids i set seen_at = e.sequenced_at from auditor.entries e where e.key = i.key").await;
    running.stop().await;

    let running = scene.run().await;
    eventually("the older month is removed", || async { !there(&scene).await }).await;
    for id in ["e-4", "e-5", "later"] {
        scene.greeted("acme", id).await;
    }
    scene.grown("acme", 7).await;
    let ids: Vec<_> = scene.leaves("acme").await.iter().map(|leaf| leaf["id"].clone()).collect();
    assert_eq!(ids, ["e-4", "e-5", "later"]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_month_of_which_something_was_taken_stays_and_the_log_goes_on() {
    let scene = Scene::new().await;
    let running = scene.run().await;
    old_entries(&scene).await;
    scene.sql("delete from auditor.entries where tenant = 'acme' and idx = 2").await;
    running.stop().await;

    let running = scene.run().await;
    upkept(&scene).await;
    scene.greeted("globex", "later").await;
    scene.grown("globex", 7).await;
    assert!(there(&scene).await);
    assert_eq!(scene.count("select count(*) from auditor.tombstones").await, 0);
    assert_eq!(scene.checked("acme", None).await.unwrap_err().index, Some(2));
    assert!(scene.checked("globex", None).await.is_ok());
    running.stop().await;
}
