//! A password reset from accepted (the bus has it) to the server's 250: alone, and while a batch of thousands is under way in
//! its own lane of the same process. Open loop: resets are published when they are due.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::ensure;
use chrono::{DateTime, Utc};
use futures_util::future::join_all;
use omnibus_runtime::clock;
use omnibus_runtime::local::Postgres;
use omnibus_runtime::testing::Stage;
use omnibus_schemas::mailer::{SendBatch, SendTemplate, UploadAttachment};
use omnibus_schemas::{Command as _, Object};
use ring::digest::{SHA256, digest};
use uuid::Uuid;

use super::process::Mailer;
use super::sink::Sink;
use super::stage;
use crate::figures::{Series, Table, percentile};

/// Resets a second.
const RATE: u64 = 50;
/// Files of PostgreSQL's log that lie ready: more than a round fills.
const SPARE: usize = 40;
/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) async fn run(postgres: &Postgres, rounds: usize, seconds: u64, rows: usize) -> anyhow::Result<Table> {
    let (mut alone, mut beside) = ([(); 3].map(|()| Series::default()), [(); 3].map(|()| Series::default()));
    let (mut ratio, mut batch) = (Series::default(), Series::default());
    for _ in 0..rounds {
        let (stage, sink) = (stage(postgres).await, Sink::start().await?);
        age(&stage).await?;
        let _mailer = Mailer::start(&stage, sink.port).await?;
        // What is done once, such as connecting and reading templates, is done.
        resets(&stage, 1).await?;
        let mut quiet = resets(&stage, seconds).await?;
        let batch_id = begin(&stage, rows).await?;
        let before = sent_of(&stage, batch_id).await?;
        let began = std::time::Instant::now();
        let mut busy = resets(&stage, seconds).await?;
        let sent = sent_of(&stage, batch_id).await?;
        ensure!(sent < rows as i64, "the batch ended before the measuring did: more --mails or fewer --seconds");
        batch.push((sent - before) as f64 / began.elapsed().as_secs_f64());
        for (series, times) in [(&mut alone, &mut quiet), (&mut beside, &mut busy)] {
            for (series, at) in series.iter_mut().zip([0.5, 0.99, 1.0]) {
                series.push(percentile(times, at));
            }
        }
        ratio.push(percentile(&mut busy, 0.99) / percentile(&mut quiet, 0.99));
    }
    let row = |name: String, series: &[Series], ratio: String| {
        let mut row = vec![name];
        row.extend(series.iter().map(ToString::to_string));
        row.push(ratio);
        row
    };
    Ok(Table {
        title: format!(
            "A password reset, from accepted to 250, {RATE} a second for {seconds} s: median (least..most) of {rounds} rounds"
        ),
        columns: vec!["", "p50 ms", "p99 ms", "max ms", "p99 of alone"],
        rows: vec![
            row("alone".into(), &alone, "1.00 (goal: p99 below 2000 ms)".into()),
            row(
                format!("while a batch of {rows} runs, {batch} of its mails/s"),
                &beside,
                format!("{ratio} (goal: at most 2)"),
            ),
        ],
    })
}

/// A server that has only just begun makes a file of 16 MiB for its log every few seconds, and every commit waits for that;
/// one that has run for a while uses files of before. So it is given some.
async fn age(stage: &Stage) -> anyhow::Result<()> {
    sqlx::query("alter system set min_wal_size = '1GB'").execute(&stage.db).await?;
    sqlx::query("select pg_reload_conf()").execute(&stage.db).await?;
    for _ in 0..SPARE {
        sqlx::query("select pg_logical_emit_message(false, 'bench', 'so that there is something')")
            .execute(&stage.db)
            .await?;
        sqlx::query("select pg_switch_wal()").execute(&stage.db).await?;
    }
    sqlx::query("checkpoint").execute(&stage.db).await?;
    Ok(())
}

/// Publishes resets when they are due, waits until all have left, and says how long each took.
async fn resets(stage: &Stage, seconds: u64) -> anyhow::Result<Vec<Duration>> {
    let began = std::time::Instant::now();
    let sending = (0..RATE * seconds).map(|n| async move {
        tokio::time::sleep_until((began + Duration::from_secs_f64(n as f64 / RATE as f64)).into()).await;
        let reset = SendTemplate { to: vec![format!("r{n}@example.com")], ..SendTemplate::example() };
        let id = stage.publish("acme", &reset).await;
        (id, clock::now())
    });
    let accepted: HashMap<Uuid, DateTime<Utc>> = join_all(sending).await.into_iter().collect();
    let ids: Vec<Uuid> = accepted.keys().copied().collect();
    let waiting = std::time::Instant::now();
    loop {
        let sent: Vec<(Uuid, DateTime<Utc>)> = sqlx::query_as(
            "select email_id, sent_at from mailer.emails
             where tenant = 'acme' and email_id = any ($1) and sent_at is not null",
        )
        .bind(&ids)
        .fetch_all(&stage.db)
        .await?;
        if sent.len() == ids.len() {
            let took = |(id, at): &(Uuid, DateTime<Utc>)| (*at - accepted[id]).to_std().unwrap_or_default();
            return Ok(sent.iter().map(took).collect());
        }
        ensure!(waiting.elapsed() < PATIENCE, "{} of {} resets have left", sent.len(), ids.len());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Uploads the rows, has them sent, and waits until the first have left.
async fn begin(stage: &Stage, rows: usize) -> anyhow::Result<Uuid> {
    let file: String = (0..rows).map(|n| format!("{{\"to\": \"b{n}@example.com\"}}\n")).collect();
    let sha256 = digest(&SHA256, file.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let (name, size) = (format!("acme/{}", clock::new_id()), file.len() as u64);
    let store = stage.operator.jetstream().get_object_store("uploads").await.map_err(anyhow::Error::msg)?;
    store.put(name.as_str(), &mut file.as_bytes()).await.map_err(anyhow::Error::msg)?;
    let object = Object { bucket: "uploads".into(), name, size, sha256, content_type: "application/x-ndjson".into() };
    let list = stage.publish("acme", &UploadAttachment { filename: "list.jsonl".into(), object }).await;
    until(stage, "select count(*) from mailer.attachments where attachment_id = $1", list).await?;
    let batch = SendBatch {
        recipients: vec![],
        recipients_id: Some(list),
        stream: "transactional".into(),
        ..SendBatch::example()
    };
    let id = stage.publish("acme", &batch).await;
    until(stage, "select count(*) from mailer.emails where batch_id = $1 and sent_at is not null", id).await?;
    Ok(id)
}

async fn sent_of(stage: &Stage, batch: Uuid) -> anyhow::Result<i64> {
    let counted = sqlx::query_scalar("select count(*) from mailer.emails where batch_id = $1 and sent_at is not null");
    Ok(counted.bind(batch).fetch_one(&stage.db).await?)
}

async fn until(stage: &Stage, query: &'static str, id: Uuid) -> anyhow::Result<()> {
    let began = std::time::Instant::now();
    loop {
        let there: i64 = sqlx::query_scalar(query).bind(id).fetch_one(&stage.db).await?;
        if there > 0 {
            return Ok(());
        }
        ensure!(began.elapsed() < PATIENCE, "it did not come to: {query}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
