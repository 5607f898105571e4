//! Load on the door while a worker works: requests are due at fixed times, spread over so many connections, and a request
//! that has to wait for its connection is late from when it was due. Then three times what door and worker can do: the
//! door is to shed with 429 or 503 and `Retry-After`, what it accepted is to be decided as soon as ever, and nothing of
//! it is to be lost.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::ensure;
use omnibus_ingest::Settings;
use omnibus_runtime::local::Postgres;
use omnibus_runtime::testing::{Scenery, Stage};
use omnibus_schemas::Catalogue;

use crate::door::{Open, client};
use crate::figures::{Table, percentile, syncing};
use crate::latency::{self, Seen};

/// What came back.
#[derive(Debug, Default)]
struct Answers {
    /// Of accepted requests, from when they were due.
    times: Vec<Duration>,
    /// When each was accepted, and its id.
    accepted: Vec<(Instant, String)>,
    codes: BTreeMap<u16, usize>,
    /// Refusals that did not say when to come again.
    mute: usize,
}

/// How much, how.
#[derive(Debug, Clone, Copy)]
struct Load {
    connections: usize,
    rate: f64,
    seconds: u64,
}

pub(crate) async fn run(postgres: &Postgres, seconds: u64, sync_always: bool) -> anyhow::Result<Table> {
    let scenery = Scenery { deaf: true, sync_always, ..Scenery::default() };
    let stage = Stage::set(Catalogue::omnibus(), omnibus_bus::Settings::default(), postgres, scenery).await;
    let worker = stage.run(minimal_worker::worker(minimal_worker::Settings {})?).await;
    let (seen, listener) = latency::listen(&stage).await?;
    let open = Open::on(&stage).await?;
    let url = format!("{}/api/v1/greetings", open.url);
    let capacity = latency::capacity(&stage, &open, seconds).await?;
    let mut rows = Vec::new();
    for connections in [64, 512] {
        for share in [0.5, 0.8] {
            let load = Load { connections, rate: capacity * share, seconds };
            let answers = send(&url, &open.key, load).await?;
            latency::settle(&stage).await?;
            let decided = decided(&seen, &answers).await?;
            rows.push(row(&format!("{:.0} % of the capacity", share * 100.0), load, answers, decided));
        }
    }
    open.close().await?;
    // A limit is what an operator sets who knows the capacity; the address is the same for all of us here.
    let limit = (capacity * 0.8) as u32;
    let settings = Settings { rate_limit_ip: 0, rate_limit_tenant: limit, ..Settings::on_a_free_port() };
    let open = Open::with(&stage, settings).await?;
    let url = format!("{}/api/v1/greetings", open.url);
    // A door is open when it has accepted a greeting; that one is none of those that are counted.
    latency::settle(&stage).await?;
    let before = done(&stage).await?;
    let load = Load { connections: 512, rate: capacity * 3.0, seconds };
    let answers = send(&url, &open.key, load).await?;
    latency::settle(&stage).await?;
    let (accepted, carried_out) = (answers.codes.get(&202).copied().unwrap_or(0), done(&stage).await? - before);
    ensure!(accepted as i64 == carried_out, "{accepted} were accepted and {carried_out} carried out");
    ensure!(answers.mute == 0, "{} refusals without Retry-After", answers.mute);
    let decided = decided(&seen, &answers).await?;
    rows.push(row(&format!("3 x the capacity, limit {limit}/s"), load, answers, decided));
    open.close().await?;
    worker.stop().await;
    listener.abort();
    Ok(Table {
        title: format!(
            "Load on the door, of {capacity:.0} requests/s that door and worker carry out at 64 connections; open loop, \
             {seconds} s each, nats-server with {}",
            syncing(sync_always)
        ),
        columns: vec![
            "load",
            "connections",
            "asked/s",
            "answered/s",
            "p50 ms",
            "p95 ms (goal 200)",
            "p99 ms",
            "accepted to outcome: p50 / p95 / p99 ms",
            "answers by status",
        ],
        rows,
    })
}

fn row(name: &str, load: Load, mut answers: Answers, mut decided: Vec<Duration>) -> Vec<String> {
    let all: usize = answers.codes.values().sum();
    let codes: Vec<_> = answers.codes.iter().map(|(code, count)| format!("{count} x {code}")).collect();
    let at = |times: &mut [Duration], share| format!("{:.1}", percentile(times, share));
    vec![
        name.to_owned(),
        load.connections.to_string(),
        format!("{:.0}", load.rate),
        format!("{:.0}", all as f64 / load.seconds as f64),
        at(&mut answers.times, 0.5),
        at(&mut answers.times, 0.95),
        at(&mut answers.times, 0.99),
        [0.5, 0.95, 0.99].map(|share| at(&mut decided, share)).join(" / "),
        codes.join(", "),
    ]
}

async fn send(url: &str, key: &str, load: Load) -> anyhow::Result<Answers> {
    // Making one takes milliseconds, which are no part of the load.
    let clients: Vec<_> = (0..load.connections).map(|_| client()).collect();
    let began = Instant::now() + Duration::from_millis(100);
    let tasks = clients.into_iter().enumerate().map(|(connection, client)| {
        let (url, key) = (url.to_owned(), key.to_owned());
        tokio::spawn(async move {
            let mut answers = Answers::default();
            let every = load.connections as f64 / load.rate;
            for n in 0.. {
                let due = connection as f64 / load.rate + n as f64 * every;
                if due >= load.seconds as f64 {
                    break;
                }
                let due = began + Duration::from_secs_f64(due);
                // What is left undone when time is up would only measure how long the queue has become.
                if Instant::now() > began + Duration::from_secs(load.seconds + 2) {
                    break;
                }
                tokio::time::sleep_until(due.into()).await;
                let sent = client.post(&url).bearer_auth(&key).header("content-type", "application/json");
                let answer = sent.body(format!(r#"{{"name":"guest {}"}}"#, n % 100)).send().await?;
                let status = answer.status().as_u16();
                *answers.codes.entry(status).or_default() += 1;
                match status {
                    202 => answers.times.push(due.elapsed()),
                    _ if answer.headers().contains_key("retry-after") => {}
                    _ => answers.mute += 1,
                }
                let body = answer.bytes().await?;
                if status == 202 {
                    let body: serde_json::Value = serde_json::from_slice(&body)?;
                    answers.accepted.push((Instant::now(), body["id"].as_str().unwrap_or_default().to_owned()));
                }
            }
            anyhow::Ok(answers)
        })
    });
    let mut all = Answers::default();
    for task in tasks.collect::<Vec<_>>() {
        let answers = task.await??;
        all.times.extend(answers.times);
        all.accepted.extend(answers.accepted);
        all.mute += answers.mute;
        for (code, count) in answers.codes {
            *all.codes.entry(code).or_default() += count;
        }
    }
    Ok(all)
}

/// From the answer 202 to the outcome event, of everything that was accepted.
async fn decided(seen: &Seen, answers: &Answers) -> anyhow::Result<Vec<Duration>> {
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut times = Vec::new();
    for (accepted, id) in &answers.accepted {
        times.push(latency::told(seen, id, deadline).await?.saturating_duration_since(*accepted));
    }
    Ok(times)
}

/// Greetings carried out so far.
async fn done(stage: &Stage) -> anyhow::Result<i64> {
    let sum = "select coalesce(sum(count), 0)::bigint from greeter.greetings";
    Ok(sqlx::query_scalar(sum).fetch_one(&stage.db).await?)
}
