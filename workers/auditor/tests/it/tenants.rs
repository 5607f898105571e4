//! One tenant's log tells and touches nothing of another's.

use omnibus_auditor::note::{Checkpoint, VerifierKey};
use omnibus_schemas::Query;
use omnibus_schemas::auditor::{
    ConsistencyProof, EntryProof, EraseSubject, Erasures, ExportPage, HoldPlaced, Holds, LiftHold, LogEntries, LogHead,
    PersonalFields, PlaceHold, Receipt,
};

use crate::scene::Scene;

async fn unknown<Q: Query>(scene: &Scene, query: Q) {
    let answer = scene.asks("globex", &query).await;
    assert_eq!(answer.err().map(|(code, _)| code), Some(404), "{}", Q::NAME);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_can_neither_see_nor_touch_what_is_anothers() {
    let scene = Scene::new().await;
    let running = scene.run().await;
    scene.consent("acme", "e-1", "+14155552671").await;
    scene.grown("acme", 1).await;
    let placed = scene.does("acme", &PlaceHold { reason: "matter 1".into() }).await;
    let placed: HoldPlaced = serde_json::from_value(placed.data).unwrap();
    scene.grown("acme", 3).await;

    unknown(&scene, LogHead {}).await;
    unknown(&scene, EntryProof { index: 0 }).await;
    unknown(&scene, ConsistencyProof { from: 1, to: None }).await;
    unknown(&scene, Receipt { message_id: "e-1".into() }).await;
    unknown(&scene, PersonalFields { index: 0 }).await;
    unknown(&scene, ExportPage { tile: 0, size: None }).await;
    assert_eq!(scene.asks("globex", &LogEntries { from: 0, limit: 10 }).await.unwrap().entries, []);
    assert_eq!(scene.asks("globex", &Holds {}).await.unwrap().holds, []);
    assert_eq!(scene.asks("globex", &Erasures { limit: 10 }).await.unwrap().erasures, []);

    let lift = LiftHold { hold_id: placed.hold_id, reason: "not mine".into() };
    assert_eq!(scene.does("globex", &lift).await.data["code"], "no_such_hold");
    let erase = EraseSubject { subject: "+14155552671".into(), reason: "request 1".into() };
    assert_eq!(scene.does("globex", &erase).await.data["known"], false);
    assert_eq!(scene.asks("acme", &Holds {}).await.unwrap().holds.len(), 1);
    let personal = scene.asks("acme", &PersonalFields { index: 0 }).await.unwrap();
    assert_eq!(personal.fields[0].value.as_deref(), Some("+14155552671"));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_tenants_proofs_reveal_nothing_of_each_other() {
    let scene = Scene::new().await;
    let running = scene.run().await;
    for n in 0..5 {
        scene.greeted("acme", &format!("e-{n}")).await;
    }
    let alone = scene.grown("acme", 5).await;
    // What globex does moves nothing of acme's: not its size, not its root, not one hash of a path.
    let path = scene.asks("acme", &EntryProof { index: 2 }).await.unwrap().path;
    for n in 0..700 {
        scene.greeted("globex", &format!("g-{n}")).await;
    }
    let theirs = scene.grown("globex", 700).await;
    let ours = scene.grown("acme", 5).await;
    assert_eq!((ours.size, &ours.root, &ours.checkpoint), (5, &alone.root, &alone.checkpoint));
    assert_eq!(scene.asks("acme", &EntryProof { index: 2 }).await.unwrap().path, path);
    // And one log's key believes nothing of another's.
    let key = VerifierKey::parse(&ours.key).unwrap();
    assert!(Checkpoint::open(&theirs.checkpoint, &key).is_err());
    running.stop().await;
}
