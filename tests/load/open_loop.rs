//! Load on the door while a worker works: requests are due at fixed times, spread over so many connections, and a request
//! that has to wait for its connection is late from when it was due. Then three times what door and worker can do: the
//! door is to shed with 429 or 503 and `Retry-After`, what it accepted is to be decided as soon as ever, and nothing of
//! it is to be lost. There the machine is the limit, which the load shares; the last cases have a worker that is limited
//! by its calls, and a door that sheds by how long they wait.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::ensure;
use omnibus_ingest::Settings;
use omnibus_runtime::local::Postgres;
use omnibus_runtime::settings::WorkSettings;
use omnibus_runtime::testing::{Scenery, Stage};
use omnibus_schemas::{Catalogue, greeter};

use crate::door::{Open, client};
use crate::figures::{Table, percentile, syncing};
use crate::goods::{self, Taking};
use crate::latency::{self, GREETED, GREETINGS, Seen};

/// Calls that the worker which they limit has in flight, and how long each takes.
const IN_FLIGHT: u32 = 16;
const CALL: Duration = Duration::from_millis(20);
/// How long they may wait before its door sheds.
const SHED_AFTER_MS: u32 = 250;
/// Where they wait.
const CALLS: (&str, &str) = ("goods", "calls");

/// What is asked for: a command with one field.
#[derive(Debug, Clone)]
struct Target {
    url: String,
    key: String,
    field: &'static str,
}

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
    let (seen, listener) = latency::listen(&stage, GREETED).await?;
    let open = Open::on(&stage).await?;
    let capacity = latency::capacity(&stage, &open, seconds).await?;
    let mut rows = Vec::new();
    for connections in [64, 512] {
        for share in [0.5, 0.8] {
            let load = Load { connections, rate: capacity * share, seconds };
            let answers = send(&greetings(&open), load).await?;
            latency::settle(&stage, GREETINGS).await?;
            let decided = decided(&seen, &answers).await?;
            rows.push(row(&format!("{:.0} % of the capacity", share * 100.0), load, answers, decided));
        }
    }
    open.close().await?;
    // A limit is what an operator sets who knows the capacity; the address is the same for all of us here.
    let limit = (capacity * 0.8) as u32;
    let settings = Settings { rate_limit_ip: 0, rate_limit_tenant: limit, ..Settings::on_a_free_port() };
    let open = Open::with(&stage, settings).await?;
    // A door is open when it has accepted a greeting; that one is none of those that are counted.
    latency::settle(&stage, GREETINGS).await?;
    let before = done(&stage, GREETED_SO_FAR).await?;
    let load = Load { connections: 512, rate: capacity * 3.0, seconds };
    let answers = send(&greetings(&open), load).await?;
    latency::settle(&stage, GREETINGS).await?;
    kept(&answers, done(&stage, GREETED_SO_FAR).await? - before)?;
    let decided = decided(&seen, &answers).await?;
    rows.push(row(&format!("3 x the capacity, limit {limit}/s"), load, answers, decided));
    open.close().await?;
    worker.stop().await;
    listener.abort();
    drop(stage);
    rows.extend(shed(postgres, seconds, sync_always).await?);
    Ok(Table {
        title: format!(
            "Load on the door, of {capacity:.0} requests/s that door and worker carry out at 64 connections, and at last of \
             those that a worker's calls allow; open loop, {seconds} s each, nats-server with {}",
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

/// Half and three times what a worker does that waits for its calls, however much the machine has left.
async fn shed(postgres: &Postgres, seconds: u64, sync_always: bool) -> anyhow::Result<Vec<Vec<String>>> {
    let scenery = Scenery { deaf: true, sync_always, ..Scenery::default() };
    // Greetings show that the door is open.
    let catalogue = Catalogue::new(vec![greeter::domain(), goods::domain()]);
    let stage = Stage::set(catalogue, omnibus_bus::Settings::default(), postgres, scenery).await;
    let settings = WorkSettings { in_flight: IN_FLIGHT, ..WorkSettings::defaults() };
    let worker = stage.run_with(goods::worker(Taking::OneByOne, CALL), settings).await;
    let (seen, listener) = latency::listen(&stage, "evt.goods.stored.acme").await?;
    let settings =
        Settings { rate_limit_ip: 0, rate_limit_tenant: 0, shed_after_ms: SHED_AFTER_MS, ..Settings::on_a_free_port() };
    let open = Open::with(&stage, settings).await?;
    let target = Target { url: format!("{}/api/v1/goods/ship", open.url), key: open.key.clone(), field: "thing" };
    let capacity = f64::from(IN_FLIGHT) / CALL.as_secs_f64();
    let mut rows = Vec::new();
    for share in [0.5, 3.0] {
        let before = done(&stage, SHIPPED_SO_FAR).await?;
        let load = Load { connections: 64, rate: capacity * share, seconds };
        let answers = send(&target, load).await?;
        latency::settle(&stage, CALLS).await?;
        kept(&answers, done(&stage, SHIPPED_SO_FAR).await? - before)?;
        let decided = decided(&seen, &answers).await?;
        let name = format!("{share} x the {capacity:.0}/s of {IN_FLIGHT} calls at once, shed after {SHED_AFTER_MS} ms");
        rows.push(row(&name, load, answers, decided));
    }
    open.close().await?;
    worker.stop().await;
    listener.abort();
    Ok(rows)
}

fn greetings(open: &Open) -> Target {
    Target { url: format!("{}/api/v1/greetings", open.url), key: open.key.clone(), field: "name" }
}

/// What was accepted was carried out, and every refusal said when to come again.
fn kept(answers: &Answers, carried_out: i64) -> anyhow::Result<()> {
    let accepted = answers.codes.get(&202).copied().unwrap_or(0);
    ensure!(accepted as i64 == carried_out, "{accepted} were accepted and {carried_out} carried out");
    ensure!(answers.mute == 0, "{} refusals without Retry-After", answers.mute);
    Ok(())
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

async fn send(target: &Target, load: Load) -> anyhow::Result<Answers> {
    // Making one takes milliseconds, which are no part of the load.
    let clients: Vec<_> = (0..load.connections).map(|_| client()).collect();
    let began = Instant::now() + Duration::from_millis(100);
    let tasks = clients.into_iter().enumerate().map(|(connection, client)| {
        let Target { url, key, field } = target.clone();
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
                let answer = sent.body(format!(r#"{{"{field}":"guest {}"}}"#, n % 100)).send().await?;
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

const GREETED_SO_FAR: &str = "select coalesce(sum(count), 0)::bigint from greeter.greetings";
const SHIPPED_SO_FAR: &str = "select count(*) from goods.stored";

/// How many were carried out so far.
async fn done(stage: &Stage, count: &'static str) -> anyhow::Result<i64> {
    Ok(sqlx::query_scalar(count).fetch_one(&stage.db).await?)
}
