//! The door alone, at 64 connections, beside a bare axum program that publishes the same body and awaits the same
//! PubAck. Closed loop: each connection sends its next request when it has its answer.

use std::time::{Duration, Instant};

use omnibus_ingest::{Door, DoorParts, Settings, keys};
use omnibus_runtime::Health;
use omnibus_runtime::local::Postgres;
use omnibus_runtime::testing::{Scenery, Stage};
use omnibus_schemas::Catalogue;
use reqwest::StatusCode;
use tokio_util::sync::CancellationToken;

use crate::bare_door;
use crate::figures::{Series, Table, percentile, syncing};

const CONNECTIONS: usize = 64;

/// A door on a stage, and a key for it.
pub(crate) struct Open {
    pub(crate) url: String,
    pub(crate) key: String,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<Result<(), omnibus_ingest::DoorError>>,
}

impl Open {
    /// Without limits.
    pub(crate) async fn on(stage: &Stage) -> anyhow::Result<Self> {
        let settings = Settings { rate_limit_ip: 0, rate_limit_tenant: 0, ..Settings::on_a_free_port() };
        Self::with(stage, settings).await
    }

    pub(crate) async fn with(stage: &Stage, settings: Settings) -> anyhow::Result<Self> {
        let (stop, health) = (CancellationToken::new(), Health::default());
        let bus = stage.connect("ingest").await;
        let catalogue = stage.catalogue().clone();
        let door =
            Door::new(DoorParts { bus, catalogue, settings, beside: None, health: health.clone(), stop: stop.clone() })
                .await?;
        let url = door.url();
        let task = tokio::spawn(door.serve());
        let (key, record) = keys::mint(&"acme".parse()?, "bench", ["*"], None);
        keys::put(stage.operator.jetstream(), &key, &record).await?;
        let open = Open { url, key: key.expose().to_owned(), stop, task };
        let client = client();
        let began = Instant::now();
        while open.greet(&client).await? != StatusCode::ACCEPTED {
            anyhow::ensure!(
                began.elapsed() < Duration::from_secs(30),
                "the door does not take the key: {:?}",
                health.missing()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(open)
    }

    pub(crate) async fn greet(&self, client: &reqwest::Client) -> anyhow::Result<StatusCode> {
        post(client, &format!("{}/api/v1/greetings", self.url), &self.key).await
    }

    pub(crate) async fn close(self) -> anyhow::Result<()> {
        self.stop.cancel();
        self.task.await??;
        Ok(())
    }
}

pub(crate) fn client() -> reqwest::Client {
    reqwest::Client::builder().pool_max_idle_per_host(1).build().expect("no setting of this client can fail")
}

async fn post(client: &reqwest::Client, url: &str, key: &str) -> anyhow::Result<StatusCode> {
    let answer = client
        .post(url)
        .bearer_auth(key)
        .header("content-type", "application/json")
        .body(r#"{"name":"Ada Lovelace"}"#)
        .send()
        .await?;
    let status = answer.status();
    answer.bytes().await?;
    Ok(status)
}

pub(crate) struct Round {
    pub(crate) began: Instant,
    pub(crate) accepted: usize,
    rate: f64,
    p50: f64,
    p99: f64,
}

pub(crate) async fn load(url: &str, key: &str, seconds: u64) -> anyhow::Result<Round> {
    // Making one takes milliseconds, which are no part of the load.
    let clients: Vec<_> = (0..CONNECTIONS).map(|_| client()).collect();
    let began = Instant::now();
    let until = began + Duration::from_secs(seconds);
    let loops = clients.into_iter().map(|client| {
        let (url, key) = (url.to_owned(), key.to_owned());
        tokio::spawn(async move {
            let mut times = Vec::new();
            while Instant::now() < until {
                let sent = Instant::now();
                let status = post(&client, &url, &key).await?;
                anyhow::ensure!(status == StatusCode::ACCEPTED, "answered {status}");
                times.push(sent.elapsed());
            }
            anyhow::Ok(times)
        })
    });
    let mut times = Vec::new();
    for task in loops.collect::<Vec<_>>() {
        times.extend(task.await??);
    }
    Ok(Round {
        began,
        accepted: times.len(),
        rate: times.len() as f64 / began.elapsed().as_secs_f64(),
        p50: percentile(&mut times, 0.5),
        p99: percentile(&mut times, 0.99),
    })
}

pub(crate) async fn run(postgres: &Postgres, rounds: usize, seconds: u64, sync_always: bool) -> anyhow::Result<Table> {
    let scenery = Scenery { sync_always, ..Scenery::default() };
    let stage = Stage::set(Catalogue::omnibus(), omnibus_bus::Settings::default(), postgres, scenery).await;
    let open = Open::on(&stage).await?;
    let bare = bare_door::door(stage.connect("ingest").await).await?;
    let contestants = [
        ("Omnibus", format!("{}/api/v1/greetings", open.url)),
        ("bare axum + async-nats", format!("{}/greetings", bare.url)),
    ];
    let mut series = vec![(Series::default(), Series::default(), Series::default()); contestants.len()];
    for round in 0..=rounds {
        for ((_, url), (rate, p50, p99)) in contestants.iter().zip(&mut series) {
            let measured = load(url, &open.key, seconds).await?;
            if round > 0 {
                rate.push(measured.rate);
                p50.push(measured.p50);
                p99.push(measured.p99);
            }
        }
    }
    let bare_rate = series[1].0.median();
    let rows = contestants.iter().zip(&series).map(|((name, _), (rate, p50, p99))| {
        vec![
            (*name).to_owned(),
            rate.to_string(),
            p50.to_string(),
            p99.to_string(),
            format!("{:.2}", rate.median() / bare_rate),
        ]
    });
    let table = Table {
        title: format!(
            "The door alone, {CONNECTIONS} connections, closed loop, nats-server with {}: median (least..most) of \
             {rounds} rounds",
            syncing(sync_always)
        ),
        columns: vec!["", "requests/s", "p50 ms", "p99 ms", "of bare"],
        rows: rows.collect(),
    };
    bare.task.abort();
    open.close().await?;
    Ok(table)
}
