//! Killed at any moment: nothing is missing, nothing doubled, each stream's order kept.

use std::collections::BTreeMap;
use std::time::Duration;

use omnibus_runtime::clock;
use omnibus_runtime::local::{Postgres, PostgresOptions};
use omnibus_runtime::testing::Stage;
use omnibus_schemas::Catalogue;
use omnibus_schemas::greeter::Greet;

use crate::scene::{Scene, eventually};

/// Every stream's sequences, in the order of the log, without gaps or repetitions, and a log that proves itself.
async fn whole(scene: &Scene, tenant: &str, commands: usize, events: usize) {
    let leaves = scene.leaves(tenant).await;
    let mut streams: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for (n, leaf) in leaves.iter().enumerate() {
        assert_eq!(leaf["index"], n);
        streams.entry(leaf["stream"].as_str().unwrap()).or_default().push(leaf["sequence"].as_u64().unwrap());
    }
    for (stream, count) in [("CMD_GREETER", commands), ("EVT", events)] {
        let sequences = streams.get(stream).map(Vec::as_slice).unwrap_or_default();
        let mut once = sequences.to_vec();
        once.sort_unstable();
        once.dedup();
        assert_eq!((sequences.len(), once.len()), (count, count), "{stream}");
    }
    let report = scene.checked(tenant, None).await.unwrap();
    assert_eq!(report.checked as usize, leaves.len());
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
        {
            let mut nats = scene.stage.nats.lock().await;
            nats.kill9().await;
            nats.restart().await.unwrap();
        }
        let mut connected = scene.stage.operator.connected();
        connected.wait_for(|connected| *connected).await.unwrap();
    }
    eventually("the operator publishes again", || async {
        let publish = scene.stage.operator.publish("evt.greeter.greeted.acme", Default::default(), "{}".into());
        publish.await.is_ok()
    })
    .await;
    scene.grown("acme", 901).await;
    let events = scene.leaves("acme").await.iter().filter(|leaf| leaf["kind"] == "event").count();
    whole(&scene, "acme", 900, events).await;
    running.stop().await;
}
