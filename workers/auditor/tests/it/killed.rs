//! Killed at any moment: nothing is missing, nothing doubled, and what has its place keeps it.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::jetstream::consumer::PullConsumer;
use omnibus_auditor::settings::ComplianceMode;
use omnibus_auditor::tree::{self, Hash};
use omnibus_auditor::{Settings, worker};
use omnibus_runtime::clock;
use omnibus_runtime::local::{Postgres, PostgresOptions};
use omnibus_runtime::settings::WorkSettings;
use omnibus_runtime::testing::{Running, Stage};
use omnibus_schemas::Catalogue;
use omnibus_schemas::auditor::{ComplianceReport, ConsistencyProof, Framework, Head, LogHead};
use omnibus_schemas::greeter::Greet;

use crate::bucket::borne_out;
use crate::fake_s3::FakeS3;
use crate::proofs::hash;
use crate::scene::{Scene, eventually, settings};

/// Every message of each stream once, in the stream's order, and a log that proves itself.
async fn whole(scene: &Scene, tenant: &str, commands: usize, events: usize) {
    let leaves = scene.leaves(tenant).await;
    let mut streams: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for (n, leaf) in leaves.iter().enumerate() {
        assert_eq!(leaf["index"], n);
        streams.entry(leaf["stream"].as_str().unwrap()).or_default().push(leaf["sequence"].as_u64().unwrap());
    }
    for (stream, count) in [("CMD_GREETER", commands), ("EVT", events)] {
        let sequences = streams.get(stream).map(Vec::as_slice).unwrap_or_default();
        assert!(sequences.is_sorted_by(|one, next| one < next), "{stream}: {sequences:?}");
        assert_eq!(sequences.len(), count, "{stream}");
    }
    let report = scene.checked(tenant, None).await.unwrap();
    assert_eq!(report.checked as usize, leaves.len());
}

/// The log begins as each of these heads says.
async fn continues(scene: &Scene, tenant: &str, heads: &[Head]) {
    let head = scene.asks(tenant, &LogHead {}).await.unwrap();
    for old in heads {
        let proof = scene.asks(tenant, &ConsistencyProof { from: old.size, to: Some(head.size) }).await.unwrap();
        let path: Vec<Hash> = proof.path.iter().map(|text| hash(text)).collect();
        let (was, is) = (hash(&old.root), hash(&head.root));
        assert!(tree::continues(old.size, &was, head.size, &is, &path), "{} of {}", old.size, head.size);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_missing_or_doubled_when_the_auditor_is_killed_again_and_again() {
    let scene = Scene::new().await;
    for round in 0..8 {
        let running = scene.run().await;
        scene.stage.backlog("acme", 100, |n| Greet { name: format!("{round}-{n}") }).await;
        for n in 0..20 {
            scene.greeted("acme", &format!("{round}-{n}")).await;
        }
        tokio::time::sleep(Duration::from_millis((clock::chance() * 300.0) as u64)).await;
        running.abort().await;
    }
    let running = scene.run().await;
    scene.grown("acme", 960).await;
    whole(&scene, "acme", 800, 160).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_missing_or_doubled_when_postgres_and_nats_are_killed() {
    let mut postgres = Postgres::start(PostgresOptions::default()).await.unwrap();
    let stage = Stage::with(Catalogue::omnibus(), omnibus_bus::Settings::default(), &postgres).await;
    let scene = Scene::of(stage);
    let running = scene.run().await;
    for round in 0..3 {
        scene.stage.backlog("acme", 200, |n| Greet { name: format!("{round}-{n}") }).await;
        postgres.kill9().await;
        scene.stage.backlog("acme", 100, |n| Greet { name: format!("{round}-{n}") }).await;
        postgres.restart().await.unwrap();
        kill_nats(&scene).await;
        // And one event of each round.
        scene.greeted("acme", &format!("{round}")).await;
    }
    scene.grown("acme", 903).await;
    whole(&scene, "acme", 900, 3).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_auditor_had_in_hand_keeps_its_place_before_what_came_later() {
    let limits = omnibus_bus::Settings { ack_wait: Duration::from_secs(1), ..omnibus_bus::Settings::default() };
    let postgres = Postgres::shared().await.unwrap();
    let scene = Scene::of(Stage::with(Catalogue::omnibus(), limits, postgres).await);
    let running = scene.run().await;
    scene.greeted("acme", "first").await;
    scene.grown("acme", 1).await;
    // Nothing can be written, so what is read stays in its hands.
    let mut lock = scene.stage.db.begin().await.unwrap();
    sqlx::query("lock table auditor.entries in access exclusive mode").execute(&mut *lock).await.unwrap();
    for n in 0..50 {
        scene.greeted("acme", &format!("early-{n}")).await;
    }
    let js = scene.stage.operator.jetstream();
    let mut log: PullConsumer = js.get_consumer_from_stream("auditor_log", "EVT").await.unwrap();
    eventually("they are out", || async { log.clone().info().await.unwrap().num_ack_pending > 0 }).await;
    running.abort().await;
    lock.rollback().await.unwrap();
    assert!(log.info().await.unwrap().num_ack_pending > 0);
    for n in 0..50 {
        scene.greeted("acme", &format!("late-{n}")).await;
    }
    let running = scene.run().await;
    scene.grown("acme", 101).await;
    whole(&scene, "acme", 0, 101).await;
    running.stop().await;
}

/// Kills nats-server, and returns when the operator publishes again.
async fn kill_nats(scene: &Scene) {
    let mut nats = scene.stage.nats.lock().await;
    nats.kill9().await;
    nats.restart().await.unwrap();
    drop(nats);
    let mut connected = scene.stage.operator.connected();
    connected.wait_for(|connected| *connected).await.unwrap();
    // Of a tenant that nobody looks at: it may be stored more often than it is acknowledged.
    eventually("the operator publishes again", || async {
        let publish = scene.stage.operator.publish("evt.greeter.greeted.other", Default::default(), "{}".into());
        // However patient the operator is: what was lost with the connection is said once more, and soon.
        matches!(tokio::time::timeout(Duration::from_secs(5), publish).await, Ok(Ok(_)))
    })
    .await;
}

/// Rounds of killing; `OMNIBUS_KILL_ROUNDS=200` goes on for longer.
fn rounds() -> usize {
    std::env::var("OMNIBUS_KILL_ROUNDS").ok().map_or(6, |rounds| rounds.parse().expect("a number"))
}

/// Kills the auditor, PostgreSQL or nats-server, as chance has it, and has it back.
async fn kill(scene: &Scene, postgres: &mut Postgres, running: Running, again: impl AsyncFn() -> Running) -> Running {
    match (clock::chance() * 3.0) as u8 {
        0 => {
            running.abort().await;
            return again().await;
        }
        1 => {
            postgres.kill9().await;
            postgres.restart().await.unwrap();
        }
        _ => kill_nats(scene).await,
    }
    running
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_killed_whenever_the_record_is_whole_and_the_law_holds_for_each_tenant() {
    const EACH: [(&str, usize); 2] = [("acme", 12), ("globex", 5)];
    let rounds = rounds();
    let mut postgres = Postgres::start(PostgresOptions::default()).await.unwrap();
    let stage = Stage::with(Catalogue::omnibus(), omnibus_bus::Settings::default(), &postgres).await;
    let scene = Scene::of(stage);
    let (mut running, mut heads) = (scene.run_as(ComplianceMode::Watch).await, Vec::new());
    for round in 0..rounds {
        for (tenant, count) in EACH {
            for n in 0..count {
                scene.accepted(tenant, &format!("c-{round}-{n}")).await;
                scene.ended(tenant, &format!("o-{round}-{n}"), &format!("c-{round}-{n}"), "succeeded").await;
            }
        }
        tokio::time::sleep(Duration::from_millis((clock::chance() * 200.0) as u64)).await;
        if round == 0 {
            // The first head is waited for, so that there is one to compare with.
            heads.push(scene.grown("acme", 1).await);
        }
        heads.extend(scene.asks("acme", &LogHead {}).await.ok());
        running = kill(&scene, &mut postgres, running, async || scene.run_as(ComplianceMode::Watch).await).await;
    }
    for (tenant, count) in EACH {
        let all = rounds * count;
        scene.grown(tenant, 2 * all as u64).await;
        eventually("every command is accounted for", || async {
            let report = scene.asks(tenant, &ComplianceReport { framework: Framework::Soc2 }).await;
            report.is_ok_and(|report| report.log.accepted == all as u64 && report.log.succeeded == all as u64)
        })
        .await;
        let log = scene.asks(tenant, &ComplianceReport { framework: Framework::Soc2 }).await.unwrap().log;
        assert_eq!((log.open, log.held, log.doubled, log.unaccounted), (0, 0, 0, 0), "{log:?}");
        whole(&scene, tenant, all, all).await;
    }
    assert!(!heads.is_empty(), "no head was seen");
    continues(&scene, "acme", &heads).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_killed_whenever_each_file_is_filed_once_and_the_bucket_bears_its_checkpoints_out() {
    const EVENTS: usize = 20;
    let rounds = rounds();
    let store = FakeS3::start().await;
    let mut postgres = Postgres::start(PostgresOptions::default()).await.unwrap();
    // What a killed worker held is soon another's.
    let limits = omnibus_bus::Settings { ack_wait: Duration::from_secs(5), ..omnibus_bus::Settings::default() };
    let scene = Scene::of(Stage::with(Catalogue::omnibus(), limits, &postgres).await);
    let starts = async || {
        let auditor = worker(Settings { s3: store.settings(), ..settings(scene.dir.path()) }).unwrap();
        scene.stage.run_with(auditor, WorkSettings { lease_seconds: 5, ..WorkSettings::defaults() }).await
    };
    // Several parts of a file each, to be killed between.
    let bytes = |round: usize| -> Vec<u8> { (0..400_000).map(|n| ((n + round) % 251) as u8).collect() };
    let (mut running, mut ids) = (starts().await, Vec::new());
    for round in 0..rounds {
        let upload = scene.uploaded("acme", &bytes(round)).await;
        for n in 0..EVENTS {
            scene.greeted("acme", &format!("{round}-{n}")).await;
        }
        ids.push(scene.stage.publish("acme", &upload).await);
        tokio::time::sleep(Duration::from_millis((clock::chance() * 300.0) as u64)).await;
        running = kill(&scene, &mut postgres, running, &starts).await;
    }
    let all = rounds as i64;
    let filed = "select count(*) from auditor.evidence where tenant = 'acme'";
    eventually("every file is filed", || async { scene.count(filed).await == all }).await;
    eventually("no copy is under way", || async {
        scene.count("select count(*) from auditor.evidence_copies").await == 0
    })
    .await;
    for (round, id) in ids.iter().enumerate() {
        assert!(scene.kept(&format!("acme/{id}")).await == Some(bytes(round)), "the file of round {round}");
    }

    // The events, and of each file its acceptance and that it was filed.
    let size = rounds * (EVENTS + 2);
    scene.grown("acme", size as u64).await;
    let leaves = scene.leaves("acme").await;
    assert_eq!(leaves.len(), size);
    for (what, of) in [("auditor.upload_evidence", "id"), ("auditor.evidence_filed", "target")] {
        let told = leaves.iter().filter(|leaf| leaf["what"] == what);
        let mut told: Vec<&str> = told.map(|leaf| leaf[of].as_str().unwrap()).collect();
        told.sort_unstable();
        let mut wanted: Vec<String> = ids.iter().map(ToString::to_string).collect();
        wanted.sort();
        assert_eq!(told, wanted, "{what}");
    }
    assert_eq!(scene.checked("acme", None).await.unwrap().checked as usize, size);
    scene.mirrored(&store, size as u64).await;
    let sizes = borne_out(&store, &scene.key("acme").await);
    assert_eq!(sizes.last(), Some(&(size as u64)), "{sizes:?}");
    running.stop().await;
}
