//! From the request to its outcome event, at light load: 100 requests a second, on time whether the last was answered or
//! not, so that a stall is counted by everyone who waits for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use omnibus_runtime::local::Postgres;
use omnibus_runtime::testing::Stage;
use omnibus_schemas::{Catalogue, headers};

use crate::door::{Open, client};
use crate::figures::{Series, Table, percentile};

const RATE: u64 = 100;

pub(crate) async fn run(postgres: &Postgres, rounds: usize, seconds: u64) -> anyhow::Result<Table> {
    let stage = Stage::with(Catalogue::omnibus(), omnibus_bus::Settings::default(), postgres).await;
    let worker = stage.run(minimal_worker::worker(minimal_worker::Settings {})?).await;
    let open = Open::on(&stage).await?;
    let mut events = stage.operator.client().subscribe("evt.greeter.greeted.acme").await?;
    let seen: Arc<Mutex<HashMap<String, Instant>>> = Arc::default();
    let noting = seen.clone();
    let listener = tokio::spawn(async move {
        while let Some(event) = events.next().await {
            let cause = event.headers.as_ref().and_then(|map| map.get(headers::CAUSATION)).map(|id| id.to_string());
            if let Some(cause) = cause {
                noting.lock().expect("no panic happens under this lock").insert(cause, Instant::now());
            }
        }
    });
    let client = client();
    let (mut p50, mut p99, mut most) = (Series::default(), Series::default(), Series::default());
    for round in 0..=rounds {
        let began = Instant::now();
        let mut requests = Vec::new();
        for n in 0..RATE * seconds {
            let due = began + Duration::from_secs_f64(n as f64 / RATE as f64);
            tokio::time::sleep_until(due.into()).await;
            let (client, url, key) = (client.clone(), format!("{}/api/v1/greetings", open.url), open.key.clone());
            requests.push(tokio::spawn(async move {
                let body = format!(r#"{{"name":"guest {}"}}"#, n % 50);
                let answer = client
                    .post(url)
                    .bearer_auth(key)
                    .header("content-type", "application/json")
                    .body(body)
                    .send()
                    .await?;
                anyhow::ensure!(answer.status() == reqwest::StatusCode::ACCEPTED, "answered {}", answer.status());
                let id = answer.json::<serde_json::Value>().await?["id"].as_str().unwrap_or_default().to_owned();
                Ok((due, id))
            }));
        }
        let mut sent = Vec::new();
        for request in requests {
            sent.push(request.await??);
        }
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut times = Vec::new();
        for (due, id) in sent {
            let arrived = loop {
                if let Some(at) = seen.lock().expect("no panic happens under this lock").get(&id) {
                    break *at;
                }
                anyhow::ensure!(Instant::now() < deadline, "the outcome of {id} was not told");
                tokio::time::sleep(Duration::from_millis(5)).await;
            };
            times.push(arrived.saturating_duration_since(due));
        }
        if round > 0 {
            p50.push(percentile(&mut times, 0.5));
            p99.push(percentile(&mut times, 0.99));
            most.push(percentile(&mut times, 1.0));
        }
    }
    listener.abort();
    open.close().await?;
    worker.stop().await;
    Ok(Table {
        title: format!(
            "Accepted request to outcome event, a state change, {RATE} requests/s, open loop: median (least..most) of {rounds} rounds"
        ),
        columns: vec!["p50 ms", "p99 ms", "max ms"],
        rows: vec![vec![p50.to_string(), p99.to_string(), most.to_string()]],
    })
}
