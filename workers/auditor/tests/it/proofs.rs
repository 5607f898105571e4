//! Proofs, and every way of tampering with the database behind them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use omnibus_auditor::export;
use omnibus_auditor::note::{Checkpoint, VerifierKey};
use omnibus_auditor::tree::{self, Hash};
use omnibus_schemas::auditor::{ConsistencyProof, EntryProof, LogHead};

use crate::scene::{Scene, eventually};

pub(crate) fn hash(text: &str) -> Hash {
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
    scene.log_is_gone().await;
    let running = scene.run().await;
    for n in 0..10 {
        scene.greeted("acme", &format!("other-{n}")).await;
    }
    scene.grown("acme", 10).await;
    let key = scene.key("acme").await;
    let shorter = scene.export("acme", None).await;
    let flaw = export::check(shorter.as_bytes(), &key, Some(&kept)).unwrap_err();
    assert!(flaw.index == Some(10) && flaw.what.contains("old head"), "{flaw}");
    let (well, said) = second_opinion(&scene, &shorter, &key, Some(&kept));
    assert!(!well && said.contains("entry 10: an old head"), "{said}");
    assert!(export::check(shorter.as_bytes(), &key, None).is_ok(), "in itself it is well: only a kept head tells");
    for n in 10..40 {
        scene.greeted("acme", &format!("other-{n}")).await;
    }
    scene.grown("acme", 40).await;
    let longer = scene.export("acme", Some(&kept)).await;
    let flaw = export::check(longer.as_bytes(), &key, Some(&kept)).unwrap_err();
    assert!(flaw.what.contains("forked"), "{flaw}");
    let (well, said) = second_opinion(&scene, &longer, &key, Some(&kept));
    assert!(!well && said.contains("forked"), "{said}");
    running.stop().await;
}

/// What the second verifier, which shares no code with the first, says of an export.
pub(crate) fn second_opinion(scene: &Scene, export: &str, key: &VerifierKey, kept: Option<&str>) -> (bool, String) {
    let (file, kept_file) = (scene.dir.path().join("export.jsonl"), scene.dir.path().join("kept"));
    std::fs::write(&file, export).unwrap();
    let python = std::env::var_os("OMNIBUS_PYTHON").unwrap_or_else(|| "python3".into());
    let mut command = std::process::Command::new(python);
    let verifier = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/audit-verifier/verify.py");
    command.arg("-B").arg(verifier).arg(&file).arg(key.to_string());
    if let Some(kept) = kept {
        std::fs::write(&kept_file, kept).unwrap();
        command.arg(&kept_file);
    }
    let ended = command.output().unwrap();
    let said = [ended.stdout, ended.stderr].concat();
    (ended.status.success(), String::from_utf8(said).unwrap().trim().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_verifiers_that_share_no_code_say_the_same() {
    let scene = Scene::new().await;
    let running = scene.run().await;
    log_of(&scene, 10).await;
    let kept = scene.asks("acme", &LogHead {}).await.unwrap().checkpoint;
    log_of(&scene, 300).await;
    let (good, key) = (scene.export("acme", Some(&kept)).await, scene.key("acme").await);
    let (well, said) = second_opinion(&scene, &good, &key, Some(&kept));
    assert!(well && said.starts_with("OK: 300 entries"), "{said}");

    let line = |start: &str| good.lines().position(|line| line.starts_with(start)).unwrap();
    let (at, tile) = (line(r#"{"index":270,"#), line(r#"{"tile":1,"#));
    let lines: Vec<String> = good.lines().map(str::to_owned).collect();
    let changed = |change: &dyn Fn(&mut Vec<String>)| {
        let mut lines = lines.clone();
        change(&mut lines);
        lines.join("\n")
    };
    let size = export::check(good.as_bytes(), &key, None).unwrap().size;
    for (what, bad) in [
        ("a byte", changed(&|lines| lines[at] = lines[at].replace("greeter", "greeteR"))),
        ("a deletion", changed(&|lines| drop(lines.remove(at)))),
        ("a swap", changed(&|lines| lines.swap(at, at + 1))),
        ("a repetition", changed(&|lines| lines.insert(at, lines[at].clone()))),
        ("a cut", changed(&|lines| lines.truncate(at))),
        ("all cut", changed(&|lines| lines.truncate(1))),
        ("another tile's hashes", changed(&|lines| lines[tile] = lines[1].replace(r#"{"tile":0,"#, r#"{"tile":1,"#))),
        (
            "a head",
            changed(&|lines| lines[0] = lines[0].replace(&format!("\\n{size}\\n"), &format!("\\n{}\\n", size + 1))),
        ),
        ("a fork", changed(&|lines| lines[0] = lines[0].replace("\"consistency\":[\"", "\"consistency\":[\"AAAA"))),
        ("another count", changed(&|lines| lines[0] = lines[0].replace("\"count\":300,", "\"count\":301,"))),
        ("another range", changed(&|lines| lines[0] = lines[0].replace("\"to\":300,", "\"to\":299,"))),
        ("what no filter withholds", changed(&|lines| lines[at] = r#"{"withheld":270}"#.to_owned())),
    ] {
        assert_ne!(bad, good, "{what}");
        let flaw = export::check(bad.as_bytes(), &key, None).unwrap_err();
        let (well, said) = second_opinion(&scene, &bad, &key, None);
        assert!(!well && said.starts_with("NOT OK: "), "{what}: {said}");
        let index = flaw.index.map(|index| format!("entry {index}:"));
        assert!(index.is_none_or(|index| said.contains(&index)), "{what}: {flaw} / {said}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_files_are_a_mirror_that_proves_itself() {
    let scene = Scene::new().await;
    let running = scene.run().await;
    log_of(&scene, 300).await;
    let head = scene.asks("acme", &LogHead {}).await.unwrap();
    let folder = scene.dir.path().join("logs/acme");
    eventually("the checkpoint is written", || async {
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
    eventually("it is there again", || async { folder.join("checkpoint").exists() }).await;
    assert_eq!(read("tile/0/000"), leaves[..256]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_ahead_of_the_log_stays_as_it_is_until_the_log_outgrows_it_and_its_head_is_kept() {
    let scene = Scene::new().await;
    let running = scene.run().await;
    log_of(&scene, 30).await;
    let (old, key) = (scene.asks("acme", &LogHead {}).await.unwrap().checkpoint, scene.key("acme").await);
    let folder = scene.dir.path().join("logs/acme");
    let lies = || std::fs::read_to_string(folder.join("checkpoint")).unwrap_or_default();
    eventually("the checkpoint is written", || async { lies() == old }).await;
    running.stop().await;

    scene.log_is_gone().await;
    let running = scene.run().await;
    log_of(&scene, 10).await;
    eventually("readiness names it", || async {
        running
            .health
            .missing()
            .get("audit-folder")
            .is_some_and(|why| why.contains("acme") && why.contains("30 entries"))
    })
    .await;
    assert_eq!(lies(), old);
    for n in 10..40 {
        scene.greeted("acme", &format!("e-{n}")).await;
    }
    let head = scene.grown("acme", 40).await;
    eventually("the folder has the head", || async { lies() == head.checkpoint }).await;
    eventually("readiness is content", || async { !running.health.missing().contains_key("audit-folder") }).await;
    let leaves: Vec<Hash> = std::fs::read(folder.join("tile/0/000.p/40"))
        .unwrap()
        .chunks_exact(32)
        .map(|chunk| chunk.try_into().unwrap())
        .collect();
    assert_eq!(tree::root_of(&leaves), Checkpoint::open(&head.checkpoint, &key).unwrap().root);
    let kept = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .find(|entry| entry.file_name().to_str().is_some_and(|name| name.starts_with("checkpoint.30.")));
    assert_eq!(std::fs::read_to_string(kept.unwrap().path()).unwrap(), old);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_that_another_sequencer_has_written_since_is_not_written_over_and_named() {
    let scene = Scene::new().await;
    let running = scene.run().await;
    log_of(&scene, 10).await;
    let head = scene.asks("acme", &LogHead {}).await.unwrap();
    let checkpoint = scene.dir.path().join("logs/acme/checkpoint");
    let lies = || std::fs::read_to_string(&checkpoint).unwrap_or_default();
    eventually("the checkpoint is written", || async { lies() == head.checkpoint }).await;
    let newer = head.checkpoint.replacen("\n10\n", "\n1000\n", 1);
    std::fs::write(&checkpoint, &newer).unwrap();
    log_of(&scene, 12).await;
    eventually("readiness names it", || async {
        let missing = running.health.missing();
        missing.get("audit-folder").is_some_and(|why| why.contains("acme") && why.contains("1000 entries"))
    })
    .await;
    assert_eq!(lies(), newer);

    // Whoever has put it away has the log's own written again.
    std::fs::remove_file(&checkpoint).unwrap();
    log_of(&scene, 13).await;
    let head = scene.asks("acme", &LogHead {}).await.unwrap();
    eventually("the folder has the head", || async { lies() == head.checkpoint }).await;
    eventually("readiness is content", || async { !running.health.missing().contains_key("audit-folder") }).await;
    running.stop().await;
}
