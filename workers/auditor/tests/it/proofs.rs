//! Proofs, and every way of tampering with the database behind them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use omnibus_auditor::export;
use omnibus_auditor::note::Checkpoint;
use omnibus_auditor::tree::{self, Hash};
use omnibus_schemas::auditor::{ConsistencyProof, EntryProof, LogHead};

use crate::scene::Scene;

fn hash(text: &str) -> Hash {
    STANDARD.decode(text).unwrap().try_into().unwrap()
}

async fn log_of(scene: &Scene, entries: u64) {
    for n in 0..entries {
        scene.greeted("acme", &format!("e-{n}")).await;
    }
    scene.grown("acme", entries).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_and_a_continuation_are_proved_to_whoever_has_the_key() {
    let scene = Scene::new().await;
    let running = scene.run().await;
    log_of(&scene, 20).await;
    let old = scene.asks("acme", &LogHead {}).await.unwrap();
    log_of(&scene, 300).await;

    let proved = scene.asks("acme", &EntryProof { index: 17 }).await.unwrap();
    let key = scene.key("acme").await;
    let head = Checkpoint::open(&proved.head.checkpoint, &key).unwrap();
    let path: Vec<Hash> = proved.path.iter().map(|text| hash(text)).collect();
    let leaf = tree::leaf_hash(proved.leaf.unwrap().as_bytes());
    assert!(tree::includes(&leaf, 17, head.size, &path, &head.root));

    let proof = scene.asks("acme", &ConsistencyProof { from: old.size, to: Some(head.size) }).await.unwrap();
    let path: Vec<Hash> = proof.path.iter().map(|text| hash(text)).collect();
    assert!(tree::continues(old.size, &hash(&old.root), head.size, &head.root, &path));
    let report = scene.checked("acme", Some(&old.checkpoint)).await.unwrap();
    assert_eq!((report.checked, report.continues), (300, Some(old.size)));

    assert_eq!(scene.asks("acme", &EntryProof { index: 300 }).await.unwrap_err().0, 404);
    assert_eq!(scene.asks("acme", &EntryProof { index: u64::MAX }).await.unwrap_err().0, 404);
    assert_eq!(scene.asks("acme", &ConsistencyProof { from: 9, to: Some(301) }).await.unwrap_err().0, 422);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_byte_flipped_in_the_database_is_found_at_its_index() {
    let scene = Scene::new().await;
    let running = scene.run().await;
    log_of(&scene, 300).await;
    assert!(scene.checked("acme", None).await.is_ok());
    scene.sql("update auditor.entries set leaf = replace(leaf, 'greeter', 'greeteR') where idx = 270").await;
    assert_eq!(scene.checked("acme", None).await.unwrap_err().index, Some(270));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_deleted_or_cut_off_and_two_rows_swapped_are_found_at_the_first_of_them() {
    let scene = Scene::new().await;
    let running = scene.run().await;
    log_of(&scene, 30).await;
    scene.sql("create table kept as select * from auditor.entries").await;
    let restore = "insert into auditor.entries select * from kept on conflict do nothing";

    scene.sql("delete from auditor.entries where idx = 7").await;
    let flaw = scene.checked("acme", None).await.unwrap_err();
    assert_eq!((flaw.index, flaw.what.as_str()), (Some(7), "it is missing"));
    scene.sql(restore).await;

    scene.sql("delete from auditor.entries where idx > 20").await;
    assert_eq!(scene.checked("acme", None).await.unwrap_err().index, Some(21));
    scene.sql(restore).await;
    assert!(scene.checked("acme", None).await.is_ok());

    scene
        .sql(
            "update auditor.entries e set leaf = k.leaf from kept k
         where (e.idx = 11 and k.idx = 12) or (e.idx = 12 and k.idx = 11)",
        )
        .await;
    assert_eq!(scene.checked("acme", None).await.unwrap_err().index, Some(11));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_rolled_back_and_written_anew_does_not_continue_what_was_kept() {
    let scene = Scene::new().await;
    let running = scene.run().await;
    log_of(&scene, 30).await;
    let kept = scene.asks("acme", &LogHead {}).await.unwrap().checkpoint;
    running.stop().await;
    // Whoever has the database and the secret begins the log anew.
    for table in ["entries", "tiles", "heads", "past_heads", "ids", "arrivals"] {
        scene.sql(&format!("delete from auditor.{table}")).await;
    }
    let running = scene.run().await;
    for n in 0..10 {
        scene.greeted("acme", &format!("other-{n}")).await;
    }
    scene.grown("acme", 10).await;
    let key = scene.key("acme").await;
    let shorter = scene.export("acme", None).await;
    let flaw = export::check(shorter.as_bytes(), &key, Some(&kept)).unwrap_err();
    assert!(flaw.what.contains("old head"), "{flaw}");
    assert!(export::check(shorter.as_bytes(), &key, None).is_ok(), "in itself it is well: only a kept head tells");
    for n in 10..40 {
        scene.greeted("acme", &format!("other-{n}")).await;
    }
    scene.grown("acme", 40).await;
    let flaw = scene.checked("acme", Some(&kept)).await.unwrap_err();
    assert!(flaw.what.contains("forked"), "{flaw}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_files_are_a_mirror_that_proves_itself() {
    let scene = Scene::new().await;
    let running = scene.run().await;
    log_of(&scene, 300).await;
    let head = scene.asks("acme", &LogHead {}).await.unwrap();
    let folder = scene.dir.path().join("logs/acme");
    crate::scene::eventually("the checkpoint is written", || async {
        std::fs::read_to_string(folder.join("checkpoint")).is_ok_and(|note| note == head.checkpoint)
    })
    .await;
    let read = |path: &str| -> Vec<Hash> {
        let bytes = std::fs::read(folder.join(path)).unwrap();
        bytes.chunks_exact(32).map(|chunk| chunk.try_into().unwrap()).collect()
    };
    let leaves = [read("tile/0/000"), read("tile/0/001.p/44")].concat();
    assert_eq!(tree::root_of(&leaves), hash(&head.root));
    assert_eq!(read("tile/1/000.p/1"), [tree::root_of(&leaves[..256])]);

    // A folder that was lost is written again.
    running.stop().await;
    std::fs::remove_dir_all(&folder).unwrap();
    let running = scene.run().await;
    crate::scene::eventually("it is there again", || async { folder.join("checkpoint").exists() }).await;
    assert_eq!(read("tile/0/000"), leaves[..256]);
    running.stop().await;
}
