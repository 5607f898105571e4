//! Tiles and checkpoints in a bucket: the same as on disk, in the right order, whatever the store does meanwhile.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use omnibus_auditor::Settings;
use omnibus_auditor::note::{Checkpoint, VerifierKey};
use omnibus_auditor::settings::S3Settings;
use omnibus_auditor::tree::{Place, Tiles};
use omnibus_runtime::testing::Running;

use crate::fake_s3::{FakeS3, SECRET_KEY};
use crate::scene::{Scene, eventually, settings};

const PREFIX: &str = "mirror/logs/";
const PART: &str = "audit-bucket";

impl Scene {
    async fn run_into(&self, s3: S3Settings) -> Running {
        self.run_with(Settings { s3, ..settings(self.dir.path()) }).await
    }

    async fn log(&self, from: u64, to: u64) {
        for n in from..to {
            self.greeted("acme", &format!("e-{n}")).await;
        }
        self.grown("acme", to).await;
    }

    /// Waits until the bucket has the head that the database has.
    pub(crate) async fn mirrored(&self, store: &FakeS3, size: u64) {
        let head = self.grown("acme", size).await;
        eventually("the bucket has the head", || async {
            store.objects().get(&name("checkpoint")).is_some_and(|note| *note == head.checkpoint.as_bytes())
        })
        .await;
    }
}

fn name(file: &str) -> String {
    format!("{PREFIX}acme/{file}")
}

/// The size of the checkpoint that lies there, which every tile that it needs bears out.
fn stands(objects: &BTreeMap<String, Vec<u8>>, key: &VerifierKey) -> u64 {
    let note = String::from_utf8(objects[&name("checkpoint")].clone()).unwrap();
    let head = Checkpoint::open(&note, key).unwrap();
    let mut tiles = Tiles::default();
    for (place, width) in Place::grown(0, head.size) {
        let tile = objects.get(&name(&place.path(width))).unwrap_or_else(|| panic!("{} is missing", place.path(width)));
        assert_eq!(tile.len() as u64, 32 * width);
        tiles.insert(place, tile.chunks_exact(32).map(|hash| hash.try_into().unwrap()).collect());
    }
    assert_eq!(tiles.root(head.size).unwrap(), head.root);
    head.size
}

/// The sizes of acme's checkpoints, in the order in which they came. Whenever one came, all that it needs was there.
pub(crate) fn borne_out(store: &FakeS3, key: &VerifierKey) -> Vec<u64> {
    let (mut so_far, mut sizes) = (BTreeMap::new(), Vec::new());
    for (object, bytes) in store.puts() {
        let checkpoint = object == name("checkpoint");
        so_far.insert(object, bytes);
        if checkpoint {
            sizes.push(stands(&so_far, key));
        }
    }
    sizes
}

/// Every file below a folder, by its name from there.
fn files(folder: &Path, below: &str, into: &mut BTreeMap<String, Vec<u8>>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{below}{}", entry.file_name().into_string().unwrap());
        match entry.file_type().unwrap().is_dir() {
            true => files(&entry.path(), &format!("{name}/"), into),
            false => drop(into.insert(name, std::fs::read(entry.path()).unwrap())),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_has_what_a_folder_has_byte_for_byte_and_no_checkpoint_before_its_tiles() {
    let (scene, store) = (Scene::new().await, FakeS3::start().await);
    let running = scene.run_into(store.settings()).await;
    for (from, to) in [(0, 10), (10, 300), (300, 600)] {
        scene.log(from, to).await;
        scene.mirrored(&store, to).await;
    }
    let key = scene.key("acme").await;
    eventually("the beginnings of full tiles are gone", || async {
        !store.objects().keys().any(|object| object.contains("/tile/0/000.p/") || object.contains("/tile/0/001.p/"))
    })
    .await;
    running.stop().await;
    assert!(!scene.dir.path().join("logs").exists(), "a bucket is instead of a folder");

    let sizes = borne_out(&store, &key);
    assert!(sizes.is_sorted() && sizes.last() == Some(&600), "{sizes:?}");

    let running = scene.run().await;
    let folder = scene.dir.path().join("logs");
    eventually("the folder has the head", || async {
        std::fs::read(folder.join("acme/checkpoint")).is_ok_and(|note| note == store.objects()[&name("checkpoint")])
    })
    .await;
    running.stop().await;
    let mut on_disk = BTreeMap::new();
    files(&folder.join("acme"), "acme/", &mut on_disk);
    let objects = store.objects();
    assert!(on_disk.len() >= 5, "{:?}", on_disk.keys());
    for (file, bytes) in &on_disk {
        assert!(objects.get(&format!("{PREFIX}{file}")) == Some(bytes), "{file} differs");
    }
    for object in objects.keys().filter(|object| object.starts_with(&name("")) && !object.contains(".p/")) {
        assert!(on_disk.contains_key(object.strip_prefix(PREFIX).unwrap()), "{object}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_loses_nothing_and_keeps_nobody_waiting() {
    let (scene, store) = (Scene::new().await, FakeS3::start().await);
    let running = scene.run_into(store.settings()).await;
    scene.log(0, 10).await;
    scene.mirrored(&store, 10).await;
    assert_eq!(running.health.missing().get(PART), None);
    store.away(true);
    // The log goes on.
    scene.log(10, 270).await;
    eventually("readiness says so", || async {
        running.health.missing().get(PART).is_some_and(|why| why.contains("503 SlowDown"))
    })
    .await;
    store.away(false);
    scene.mirrored(&store, 270).await;
    eventually("readiness says so again", || async { !running.health.missing().contains_key(PART) }).await;

    // Nor does a worker that ends meanwhile.
    store.away(true);
    scene.log(270, 300).await;
    running.stop().await;
    let running = scene.run_into(store.settings()).await;
    scene.log(300, 530).await;
    eventually("readiness says so", || async { running.health.missing().contains_key(PART) }).await;
    let key = scene.key("acme").await;
    assert_eq!(stands(&store.objects(), &key), 270, "what lies there still stands");
    store.away(false);
    scene.mirrored(&store, 530).await;
    assert_eq!(stands(&store.objects(), &key), 530);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setting_that_is_wrong_is_named_and_no_secret_told() {
    let (scene, store) = (Scene::new().await, FakeS3::start().await);
    let wrong = |change: &dyn Fn(&mut S3Settings)| {
        let mut settings = store.settings();
        change(&mut settings);
        settings
    };
    let nobody = "http://127.0.0.1:1".to_owned();
    for (n, (setting, s3)) in [
        ("AUDIT_S3_SECRET_KEY", wrong(&|s| s.audit_s3_secret_key = Some("not the secret".to_owned().into()))),
        ("AUDIT_S3_ACCESS_KEY", wrong(&|s| s.audit_s3_access_key = Some("AKIAOTHER".into()))),
        ("AUDIT_S3_BUCKET", wrong(&|s| s.audit_s3_bucket = Some("another".into()))),
        ("AUDIT_S3_REGION", wrong(&|s| s.audit_s3_region = Some("us-east-1".into()))),
        ("AUDIT_S3_ENDPOINT", wrong(&|s| s.audit_s3_endpoint = Some(nobody.clone()))),
    ]
    .into_iter()
    .enumerate()
    {
        let running = scene.run_into(s3).await;
        let said = || running.health.missing().get(PART).cloned().unwrap_or_default();
        eventually(setting, || async { said().starts_with(setting) }).await;
        let why = said();
        assert!(!why.contains("not the secret") && !why.contains(SECRET_KEY) && !why.contains("X-Amz"), "{why}");
        // The log does not mind.
        scene.log(n as u64, n as u64 + 1).await;
        running.stop().await;
    }
    assert!(store.puts().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_written_anew_is_put_anew_and_the_head_that_lay_there_is_kept() {
    let (scene, store) = (Scene::new().await, FakeS3::start().await);
    let running = scene.run_into(store.settings()).await;
    scene.log(0, 300).await;
    scene.mirrored(&store, 300).await;
    let key = scene.key("acme").await;
    let old = store.objects()[&name("checkpoint")].clone();
    running.stop().await;

    scene.log_is_gone().await;
    store.away(true);
    let running = scene.run_into(store.settings()).await;
    scene.log(0, 600).await;
    store.away(false);
    scene.mirrored(&store, 600).await;
    let objects = store.objects();
    assert_eq!(stands(&objects, &key), 600);
    let kept = objects.iter().find(|(object, _)| object.starts_with(&name("checkpoint.300.")));
    assert!(kept.is_some_and(|(_, note)| *note == old), "{:?}", objects.keys());
    eventually("the beginnings of the old log's tiles are gone", || async {
        !store.objects().contains_key(&name("tile/0/001.p/44"))
    })
    .await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_that_is_ahead_of_the_log_or_another_logs_is_not_written_over_and_named() {
    let (scene, store) = (Scene::new().await, FakeS3::start().await);
    let running = scene.run_into(store.settings()).await;
    scene.log(0, 300).await;
    scene.mirrored(&store, 300).await;
    let key = scene.key("acme").await;
    running.stop().await;

    scene.log_is_gone().await;
    let before = store.objects();
    let named = async |running: &Running, what: &str| {
        eventually(what, || async {
            running
                .health
                .missing()
                .get(PART)
                .is_some_and(|why| why.starts_with("AUDIT_S3_BUCKET: acme") && why.contains(what))
        })
        .await;
    };
    let running = scene.run_into(store.settings()).await;
    scene.log(0, 10).await;
    named(&running, "300 entries").await;
    assert!(store.objects() == before, "nothing was put");
    assert_eq!(stands(&store.objects(), &key), 300);
    running.stop().await;

    // As another installation does that was given the same bucket.
    let other =
        Settings { audit_origin: "other.test/audit".into(), s3: store.settings(), ..settings(scene.dir.path()) };
    let running = scene.run_with(other).await;
    named(&running, "another log").await;
    assert!(store.objects() == before, "nothing was put");
    running.stop().await;

    // Whoever has put away what lay there has it written again.
    store.lose(&name(""));
    let running = scene.run_into(store.settings()).await;
    scene.log(10, 20).await;
    scene.mirrored(&store, 20).await;
    assert_eq!(stands(&store.objects(), &key), 20);
    assert_eq!(running.health.missing().get(PART), None);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_for_a_moment_turns_nobody_away_and_a_wrong_key_is_named_at_once() {
    let (scene, store) = (Scene::new().await, FakeS3::start().await);
    let patient = || S3Settings { patience: Some(Duration::from_secs(600)), ..store.settings() };
    let running = scene.run_into(patient()).await;
    scene.log(0, 5).await;
    scene.mirrored(&store, 5).await;
    store.away(true);
    scene.log(5, 10).await;
    // All tries of one request, and the first of the next round.
    eventually("it is tried for long", || async { store.refused() > 4 }).await;
    assert_eq!(running.health.missing().get(PART), None);
    store.away(false);
    scene.mirrored(&store, 10).await;
    running.stop().await;

    let wrong = S3Settings { audit_s3_secret_key: Some("not the secret".to_owned().into()), ..patient() };
    let running = scene.run_into(wrong).await;
    eventually("readiness names it", || async {
        running.health.missing().get(PART).is_some_and(|why| why.starts_with("AUDIT_S3_SECRET_KEY"))
    })
    .await;
    running.stop().await;
    // What was copied with a line's end is the same secret.
    let spaced = S3Settings { audit_s3_secret_key: Some(format!(" {SECRET_KEY}\n").into()), ..patient() };
    let running = scene.run_into(spaced).await;
    scene.log(10, 12).await;
    scene.mirrored(&store, 12).await;
    running.stop().await;
}

#[test]
fn settings_of_a_bucket_are_whole_or_refused_in_words() {
    let dir = tempfile::tempdir().unwrap();
    let all = || S3Settings {
        audit_s3_endpoint: Some("https://s3.example.com".into()),
        audit_s3_bucket: Some("mirror".into()),
        audit_s3_access_key: Some("AKIATEST".into()),
        audit_s3_secret_key: Some("hush".to_owned().into()),
        ..S3Settings::default()
    };
    let with = |change: &dyn Fn(&mut S3Settings)| {
        let mut s3 = all();
        change(&mut s3);
        Settings { s3, ..settings(dir.path()) }
    };
    let refused = |change: &dyn Fn(&mut S3Settings)| omnibus_auditor::worker(with(change)).err().unwrap().to_string();
    assert!(omnibus_auditor::worker(with(&|_| {})).is_ok());
    assert!(omnibus_auditor::worker(with(&|s| *s = S3Settings::default())).is_ok());
    let missing = refused(&|s| s.audit_s3_secret_key = None);
    assert_eq!(missing, "AUDIT_S3_SECRET_KEY is missing: AUDIT_S3_ENDPOINT is set");
    assert!(refused(&|s| s.audit_s3_secret_key = Some(" \n".to_owned().into())).starts_with("AUDIT_S3_SECRET_KEY is"));
    assert!(refused(&|s| s.audit_s3_bucket = Some(" ".into())).starts_with("AUDIT_S3_BUCKET is missing"));
    for endpoint in ["s3.example.com", "ftp://s3.example.com", "https://key:hush@s3.example.com"] {
        let words = refused(&|s| s.audit_s3_endpoint = Some(endpoint.into()));
        assert!(words.starts_with("AUDIT_S3_ENDPOINT") && !words.contains("hush"), "{words}");
    }
    for prefix in ["a/../b", "a//b", "a b", ".."] {
        assert!(refused(&|s| s.audit_s3_prefix = Some(prefix.into())).starts_with("AUDIT_S3_PREFIX"), "{prefix}");
    }
    assert!(refused(&|s| s.audit_s3_bucket = Some("../x".into())).starts_with("AUDIT_S3_BUCKET"));
    assert!(!format!("{:?}", with(&|_| {})).contains("hush"));
}
