//! From the request to its outcome event, at shares of what the door and a worker can do together: requests are sent when
//! they are due, whether the last was answered or not, so that a stall is counted by everyone who waits for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use omnibus_runtime::local::Postgres;
use omnibus_runtime::testing::{Scenery, Stage};
use omnibus_schemas::{Catalogue, headers};
use tokio::task::JoinHandle;

use crate::door::{self, Open};
use crate::figures::{Series, Table, percentile, syncing};

const SHARES: [f64; 3] = [0.1, 0.5, 0.8];

/// The outcome of a greeting.
pub(crate) const GREETED: &str = "evt.greeter.greeted.acme";
/// Where greetings wait.
pub(crate) const GREETINGS: (&str, &str) = ("greeter", "default");

/// When each command's outcome was told, by the command's id.
pub(crate) type Seen = Arc<Mutex<HashMap<String, Instant>>>;

pub(crate) async fn run(postgres: &Postgres, rounds: usize, seconds: u64, sync_always: bool) -> anyhow::Result<Table> {
    let scenery = Scenery { deaf: true, sync_always, ..Scenery::default() };
    let stage = Stage::set(Catalogue::omnibus(), omnibus_bus::Settings::default(), postgres, scenery).await;
    let worker = stage.run(minimal_worker::worker(minimal_worker::Settings {})?).await;
    let open = Open::on(&stage).await?;
    let (seen, listener) = listen(&stage, GREETED).await?;
    let capacity = capacity(&stage, &open, seconds).await?;
    let mut rows = Vec::new();
    for share in SHARES {
        let mut series = [(); 4].map(|()| Series::default());
        for round in 0..=rounds {
            let mut times = at(&open, &seen, capacity * share, seconds).await?;
            if round > 0 {
                for (series, at) in series.iter_mut().zip([0.5, 0.99, 0.999, 1.0]) {
                    series.push(percentile(&mut times, at));
                }
            }
        }
        let mut row = vec![format!("{:.0} %, {:.0} requests/s", share * 100.0, capacity * share)];
        row.extend(series.iter().map(ToString::to_string));
        rows.push(row);
    }
    listener.abort();
    open.close().await?;
    worker.stop().await;
    Ok(Table {
        title: format!(
            "Request to outcome event through the door, of {capacity:.0} requests/s that door and worker carry out at 64 \
             connections; open loop, nats-server with {}: median (least..most) of {rounds} rounds",
            syncing(sync_always)
        ),
        columns: vec!["load", "p50 ms", "p99 ms", "p99.9 ms", "max ms"],
        rows,
    })
}

pub(crate) async fn listen(stage: &Stage, outcomes: &'static str) -> anyhow::Result<(Seen, JoinHandle<()>)> {
    let mut events = stage.operator.client().subscribe(outcomes).await?;
    let seen = Seen::default();
    let noting = seen.clone();
    let listener = tokio::spawn(async move {
        while let Some(event) = events.next().await {
            let cause = event.headers.as_ref().and_then(|map| map.get(headers::CAUSATION)).map(|id| id.to_string());
            if let Some(cause) = cause {
                noting.lock().expect("no panic happens under this lock").insert(cause, Instant::now());
            }
        }
    });
    Ok((seen, listener))
}

/// Greetings a second that the door accepts over 64 connections and a worker beside it carries out: what the door alone
/// could accept would only pile up.
pub(crate) async fn capacity(stage: &Stage, open: &Open, seconds: u64) -> anyhow::Result<f64> {
    let url = format!("{}/api/v1/greetings", open.url);
    door::load(&url, &open.key, 1).await?;
    settle(stage, GREETINGS).await?;
    let round = door::load(&url, &open.key, seconds).await?;
    settle(stage, GREETINGS).await?;
    Ok(round.accepted as f64 / round.began.elapsed().as_secs_f64())
}

/// Waits until the worker has done what was accepted.
pub(crate) async fn settle(stage: &Stage, (domain, lane): (&str, &str)) -> anyhow::Result<()> {
    let began = Instant::now();
    while stage.lane(domain, lane).await != (0, 0) {
        anyhow::ensure!(began.elapsed() < Duration::from_secs(120), "the worker does not keep up");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// Times from when a request was due to its outcome.
async fn at(open: &Open, seen: &Seen, rate: f64, seconds: u64) -> anyhow::Result<Vec<Duration>> {
    // Connections are kept, as callers keep them; there are as many as requests wait at once.
    let client = reqwest::Client::new();
    let began = Instant::now();
    let mut requests = Vec::new();
    for n in 0..(rate * seconds as f64) as u64 {
        let due = began + Duration::from_secs_f64(n as f64 / rate);
        tokio::time::sleep_until(due.into()).await;
        let (client, url, key) = (client.clone(), format!("{}/api/v1/greetings", open.url), open.key.clone());
        requests.push(tokio::spawn(async move {
            let body = format!(r#"{{"name":"guest {}"}}"#, n % 1000);
            let sent = client.post(url).bearer_auth(key).header("content-type", "application/json").body(body).send();
            let answer = sent.await?;
            anyhow::ensure!(answer.status() == reqwest::StatusCode::ACCEPTED, "answered {}", answer.status());
            let id = answer.json::<serde_json::Value>().await?["id"].as_str().unwrap_or_default().to_owned();
            Ok((due, id))
        }));
    }
    let mut sent = Vec::new();
    for request in requests {
        sent.push(request.await??);
    }
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut times = Vec::new();
    for (due, id) in sent {
        times.push(told(seen, &id, deadline).await?.saturating_duration_since(due));
    }
    Ok(times)
}

/// When the outcome of a command was told. Waits for it.
///
/// # Errors
/// If it is not told by the deadline.
pub(crate) async fn told(seen: &Seen, id: &str, deadline: Instant) -> anyhow::Result<Instant> {
    loop {
        if let Some(at) = seen.lock().expect("no panic happens under this lock").remove(id) {
            return Ok(at);
        }
        anyhow::ensure!(Instant::now() < deadline, "the outcome of {id} was not told");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
