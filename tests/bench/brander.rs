//! A brand: from an accepted activation until every reader has it, and from a host's name to its page in memory.

use std::time::{Duration, Instant};

use anyhow::Context;
use futures_util::StreamExt;
use omnibus_brander::pages::Shelf;
use omnibus_runtime::local::Postgres;
use omnibus_runtime::testing::Stage;
use omnibus_schemas::Catalogue;
use omnibus_schemas::brand::{BUCKET, Brand};
use omnibus_schemas::brander::{ActivateBranding, Look, Page, SetBranding};
use tokio::sync::watch;

use crate::figures::{Series, Table, percentile};

/// Who follows the bucket at the same time: mailers, pages, doors.
const READERS: usize = 16;
const HOSTS: usize = 10_000;

pub(crate) async fn run(postgres: &Postgres, rounds: usize, switches: usize) -> anyhow::Result<Table> {
    let stage = Stage::with(Catalogue::omnibus(), omnibus_bus::Settings::default(), postgres).await;
    let worker = stage.run(omnibus_brander::worker(omnibus_brander::Settings::defaults())?).await;
    for name in ["One", "Two"] {
        let id = stage.publish("acme", &SetBranding(Look::plain(name))).await;
        stage.outcome(id).await;
    }
    let mut readers = Vec::new();
    for _ in 0..READERS {
        let store = stage.connect("operator").await.jetstream().get_key_value(BUCKET).await?;
        let mut following = store.watch_with_history(">").await?;
        let (seen, reader) = watch::channel((0_u64, Instant::now()));
        tokio::spawn(async move {
            while let Some(Ok(entry)) = following.next().await {
                let revision = serde_json::from_slice::<Brand>(&entry.value).map_or(0, |brand| brand.revision);
                seen.send_replace((revision, Instant::now()));
            }
        });
        readers.push(reader);
    }
    let (mut p50, mut p99, mut most) = (Series::default(), Series::default(), Series::default());
    for round in 0..=rounds {
        let mut times = Vec::new();
        for n in 0..switches {
            let began = Instant::now();
            let id = stage.publish("acme", &ActivateBranding { version: Some(1 + (n % 2) as u32) }).await;
            let told = stage.outcome(id).await;
            let revision = told.data["revision"].as_u64().context("an activation has a revision")?;
            let mut last = began;
            for reader in &mut readers {
                let (_, at) = *reader.wait_for(|(seen, _)| *seen >= revision).await?;
                last = last.max(at);
            }
            times.push(last - began);
        }
        if round > 0 {
            p50.push(percentile(&mut times, 0.5));
            p99.push(percentile(&mut times, 0.99));
            most.push(percentile(&mut times, 1.0));
        }
    }
    worker.stop().await;
    let mut found = looked_up();
    let in_memory = |share: f64, times: &mut [Duration]| format!("{:.4}", percentile(times, share));
    let lookup = vec![
        format!("host to page in memory, {HOSTS} hosts"),
        in_memory(0.5, &mut found),
        in_memory(0.99, &mut found),
        in_memory(1.0, &mut found),
    ];
    let activation =
        vec![format!("activation seen by {READERS} readers"), p50.to_string(), p99.to_string(), most.to_string()];
    Ok(Table {
        title: format!("A brand: {switches} switches a round, median (least..most) of {rounds} rounds"),
        columns: vec!["", "p50 ms", "p99 ms", "max ms"],
        rows: vec![activation, lookup],
    })
}

/// One time for each host, each of which was asked before.
fn looked_up() -> Vec<Duration> {
    let shelf = Shelf::default();
    let host = |n: usize| format!("portal-{n}.northwind-coffee.com");
    for n in 0..HOSTS {
        shelf.hosts.set(&host(n), Some(&format!("tenant-{n}")));
        shelf.dress(&format!("tenant-{n}"), Some(Brand { revision: 1, ..Brand::plain(format!("Tenant {n}")) }));
        shelf.page(&host(n), Page::Login);
    }
    (0..HOSTS)
        .map(|n| {
            let host = host(n * 7919 % HOSTS);
            let began = Instant::now();
            let page = shelf.page(&host, Page::Login);
            let took = began.elapsed();
            assert!(page.is_some(), "the host serves");
            took
        })
        .collect()
}
