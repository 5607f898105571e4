//! Entries a second from `EVT` into the log, beside two bare loops that insert the same rows in batches of the same size into the
//! same table: one that has them in its hands, and one that takes a message from `EVT` for each and acknowledges it; the time from the bus to a signed head under a light load and a heavy one; and checking a long
//! export.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use async_nats::HeaderMap;
use async_nats::jetstream::consumer::pull;
use async_nats::jetstream::message::PublishMessage;
use chrono::{DateTime, Utc};
use futures_util::StreamExt;
use omnibus_auditor::export::{self, Header, Line, VERSION};
use omnibus_auditor::note::{Checkpoint, VerifierKey};
use omnibus_auditor::tree::{Place, Tiles, WIDTH, leaf_hash};
use omnibus_auditor::{Settings, worker};
use omnibus_runtime::clock;
use omnibus_runtime::local::Postgres;
use omnibus_runtime::testing::{Running, Scenery, Stage};
use omnibus_schemas::Catalogue;
use ring::signature::Ed25519KeyPair;
use sqlx::PgPool;

use crate::figures::{Series, Table, percentile};

/// As the auditor takes them.
const BATCH: usize = 2000;
/// Events a second under the light load and under the heavy one, and for how long.
const LIGHT: u64 = 500;
const HEAVY: u64 = 10_000;
const SECONDS: u64 = 5;
/// A load comes in a handful every so many milliseconds.
const BEAT: u64 = 10;
/// Entries of the export that is checked.
const EXPORT: u64 = 1_000_000;

pub(crate) async fn run(postgres: &Postgres, rounds: usize, entries: usize) -> anyhow::Result<Table> {
    let (mut ours, mut bare, mut checked) = (Series::default(), Series::default(), Series::default());
    let mut taken = Series::default();
    let (mut light, mut heavy, mut reached) = (Series::default(), Series::default(), Series::default());
    let file = tempfile::NamedTempFile::new()?;
    let key = write_export(file.path(), EXPORT)?;
    for round in 0..=rounds {
        let scenery = Scenery { deaf: true, ..Scenery::default() };
        let stage = Stage::set(Catalogue::omnibus(), omnibus_bus::Settings::default(), postgres, scenery).await;
        let dir = tempfile::tempdir()?;
        // The tables are there before the clock starts.
        start(&stage, dir.path()).await?.stop().await;
        publish(&stage, entries, None).await?;
        let began = Instant::now();
        let running = start(&stage, dir.path()).await?;
        heads(&stage.db, entries).await?;
        let took = began.elapsed();
        running.stop().await;
        // The bare loops have the machine to themselves.
        let beside = insert(&stage.db, entries).await?;
        let from_bus = take(&stage, entries).await?;
        let running = start(&stage, dir.path()).await?;
        // Once it is at work, and the watch has caught up, which is no light load.
        watched(&stage.db, entries).await?;
        let before = usize::try_from(head(&stage.db).await?)?;
        publish(&stage, 1, None).await?;
        heads(&stage.db, before + 1).await?;
        let (light_p99, _) = lag(&stage, LIGHT).await?;
        let (heavy_p99, rate) = lag(&stage, HEAVY).await?;
        running.stop().await;
        if round > 0 {
            ours.push(entries as f64 / took.as_secs_f64());
            bare.push(entries as f64 / beside.as_secs_f64());
            taken.push(entries as f64 / from_bus.as_secs_f64());
            light.push(light_p99);
            heavy.push(heavy_p99);
            reached.push(rate);
            checked.push(check(file.path(), &key)?);
        }
    }
    let shares = format!("{:.2} and {:.2}", ours.median() / bare.median(), ours.median() / taken.median());
    let plain = |name: &str, series: &Series| {
        [name.into(), series.to_string()].into_iter().chain(vec![String::new(); 5]).collect::<Vec<_>>()
    };
    Ok(Table {
        title: format!(
            "The auditor: {entries} events waiting in EVT; then {SECONDS} s at {LIGHT} events a second, and at {HEAVY}; \
             then an export of {EXPORT} entries: median (least..most) of {rounds} rounds"
        ),
        columns: vec![
            "",
            "entries/s",
            "of the bare loops",
            "bus to signed head, light: p99 ms",
            "heavy: p99 ms",
            "heavy: events/s reached",
            "export checked, s",
        ],
        rows: vec![
            vec![
                "Omnibus".into(),
                ours.to_string(),
                shares,
                light.to_string(),
                heavy.to_string(),
                reached.to_string(),
                checked.to_string(),
            ],
            plain("bare: insert in batches", &bare),
            plain("bare: take from EVT, insert in batches, acknowledge", &taken),
        ],
    })
}

async fn start(stage: &Stage, dir: &Path) -> anyhow::Result<Running> {
    let settings = Settings {
        audit_secret: Some("a secret of the bench, thirty-two characters long".to_owned().into()),
        audit_secret_file: dir.join("unused"),
        audit_dir: dir.to_owned(),
        audit_origin: "omnibus.bench/audit".into(),
        audit_retention_days: 2555,
        compliance_mode: omnibus_auditor::settings::ComplianceMode::Watch,
        compliance_every: 30,
        s3: omnibus_auditor::settings::S3Settings::default(),
        evidence: omnibus_auditor::settings::EvidenceLimits::default(),
    };
    Ok(stage.run(worker(settings)?).await)
}

/// As fast as the bus takes them, or `rate` a second.
async fn publish(stage: &Stage, count: usize, rate: Option<u64>) -> anyhow::Result<()> {
    let js = stage.operator.jetstream();
    let mut acks = Vec::new();
    let mut beat = tokio::time::interval(Duration::from_millis(BEAT));
    let handful = rate.map(|rate| (rate * BEAT / 1000).max(1) as usize);
    for n in 0..count {
        if handful.is_some_and(|handful| n % handful == 0) {
            beat.tick().await;
        }
        let id = clock::new_id().to_string();
        let now = clock::now().to_rfc3339();
        let mut map = HeaderMap::new();
        for (name, value) in [
            ("ce-specversion", "1.0"),
            ("ce-id", id.as_str()),
            ("ce-type", "omnibus.greeter.greeted.v1"),
            ("ce-source", "omnibus/greeter"),
            ("ce-time", now.as_str()),
            ("ce-tenant", "acme"),
            ("ce-actor", "key:0197"),
            ("ce-correlationid", id.as_str()),
            ("ce-causationid", id.as_str()),
            ("ce-outcome", "succeeded"),
            ("Content-Type", "application/json"),
        ] {
            map.insert(name, value);
        }
        let body = format!(r#"{{"greeting_id":"{id}","name":"Ada","revision":{n}}}"#);
        let message = PublishMessage::build().headers(map).payload(body.into());
        acks.push(js.send_publish("evt.greeter.greeted.acme", message).await?);
        if acks.len() == 1000 || n + 1 == count {
            for ack in acks.drain(..) {
                ack.await?;
            }
        }
    }
    Ok(())
}

/// When the signed head had which size, looked at every few milliseconds until it has this one.
async fn heads(db: &PgPool, size: usize) -> anyhow::Result<Vec<(i64, DateTime<Utc>)>> {
    let (size, mut seen) = (i64::try_from(size)?, Vec::new());
    loop {
        let there = head(db).await?;
        seen.push((there, clock::now()));
        if there >= size {
            return Ok(seen);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn head(db: &PgPool) -> anyhow::Result<i64> {
    let size: Option<i64> =
        sqlx::query_scalar("select size from auditor.heads where tenant = 'acme'").fetch_optional(db).await?;
    Ok(size.unwrap_or(0))
}

/// Waits until the watch has read so many entries.
async fn watched(db: &PgPool, size: usize) -> anyhow::Result<()> {
    let size = i64::try_from(size)?;
    loop {
        let read: Option<i64> =
            sqlx::query_scalar("select next_idx from auditor.watched where tenant = 'acme'").fetch_optional(db).await?;
        if read.is_some_and(|read| read >= size) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Under a load of `rate` events a second: milliseconds from the bus to a signed head, for 99 of 100; and events a
/// second that were published in truth.
async fn lag(stage: &Stage, rate: u64) -> anyhow::Result<(f64, f64)> {
    let (before, count) = (head(&stage.db).await?, (rate * SECONDS) as usize);
    let began = Instant::now();
    let published = async {
        publish(stage, count, Some(rate)).await?;
        Ok::<_, anyhow::Error>(began.elapsed())
    };
    let size = usize::try_from(before)? + count;
    let (seen, took) = tokio::try_join!(heads(&stage.db, size), published)?;
    let received: Vec<(i64, DateTime<Utc>)> = sqlx::query_as(
        "select idx, (leaf::json->>'received_at')::timestamptz from auditor.entries
         where tenant = 'acme' and idx >= $1 order by idx",
    )
    .bind(before)
    .fetch_all(&stage.db)
    .await?;
    let mut heads = seen.into_iter().peekable();
    let mut times = Vec::with_capacity(received.len());
    for (idx, at) in received {
        while heads.peek().is_some_and(|(size, _)| *size <= idx) {
            heads.next();
        }
        if let Some((_, signed)) = heads.peek() {
            times.push((*signed - at).to_std().unwrap_or_default());
        }
    }
    Ok((percentile(&mut times, 0.99), count as f64 / took.as_secs_f64()))
}

type Row = (i64, uuid::Uuid, String, Vec<u8>, Option<String>);

/// What the log has, to be written once more.
async fn rows(db: &PgPool, entries: usize) -> anyhow::Result<Vec<Row>> {
    let rows = sqlx::query_as(
        "select idx, key, leaf, salt, sealed from auditor.entries where tenant = 'acme' order by idx limit $1",
    );
    Ok(rows.bind(i64::try_from(entries)?).fetch_all(db).await?)
}

async fn put(db: &PgPool, tenant: &str, batch: &[Row]) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into auditor.entries (tenant, idx, sequenced_at, key, leaf, salt, sealed)
         select $6, idx, now(), key, leaf, salt, sealed
         from unnest($1::bigint[], $2::uuid[], $3::text[], $4::bytea[], $5::text[]) as x(idx, key, leaf, salt, sealed)",
    )
    .bind(batch.iter().map(|row| row.0).collect::<Vec<_>>())
    .bind(batch.iter().map(|row| row.1).collect::<Vec<_>>())
    .bind(batch.iter().map(|row| row.2.as_str()).collect::<Vec<_>>())
    .bind(batch.iter().map(|row| row.3.as_slice()).collect::<Vec<_>>())
    .bind(batch.iter().map(|row| row.4.as_deref()).collect::<Vec<_>>())
    .bind(tenant)
    .execute(db)
    .await
    .map(drop)
}

/// The same rows, under another tenant: read before the clock starts, then inserted as bare as can be.
async fn insert(db: &PgPool, entries: usize) -> anyhow::Result<Duration> {
    let rows = rows(db, entries).await?;
    let began = Instant::now();
    for batch in rows.chunks(BATCH) {
        put(db, "bare", batch).await?;
    }
    Ok(began.elapsed())
}

/// The same, each row for a message that is taken from `EVT` and acknowledged. The next messages are on their way while a
/// batch is inserted.
async fn take(stage: &Stage, entries: usize) -> anyhow::Result<Duration> {
    let rows = rows(&stage.db, entries).await?;
    let stream = stage.operator.jetstream().get_stream("EVT").await?;
    let config = pull::Config { max_ack_pending: 4 * BATCH as i64, ..pull::Config::default() };
    let consumer = stream.create_consumer(config).await?;
    let next = |most: usize| {
        let consumer = &consumer;
        async move {
            let mut messages = Vec::with_capacity(most);
            let mut fetched = consumer.fetch().max_messages(most).messages().await.map_err(anyhow::Error::msg)?;
            while let Some(message) = fetched.next().await {
                messages.push(message.map_err(anyhow::Error::msg)?);
            }
            anyhow::Ok(messages)
        }
    };
    let (began, mut done) = (Instant::now(), 0);
    let mut messages = next(BATCH).await?;
    while done < rows.len() {
        let to = rows.len().min(done + messages.len());
        let (written, more) = tokio::join!(put(&stage.db, "taken", &rows[done..to]), next(BATCH));
        written?;
        for message in &messages {
            message.ack().await.map_err(anyhow::Error::msg)?;
        }
        (done, messages) = (to, more?);
    }
    stage.operator.client().flush().await?;
    Ok(began.elapsed())
}

/// Writes an export of so many entries. Returns the key that it is checked with.
fn write_export(path: &Path, entries: u64) -> anyhow::Result<VerifierKey> {
    const LOG: &str = "omnibus.bench/audit/acme";
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).map_err(|_| anyhow::anyhow!("a seed has 32 bytes"))?;
    let leaf = |n: u64| {
        format!(
            r#"{{"v":1,"tenant":"acme","index":{n},"sequenced_at":"2026-11-25T12:00:00.000000Z","id":"01979f6e-5a00-7000-8000-{n:012}","kind":"event","what":"greeter.greeted","version":1,"actor":"key:0197","source":"omnibus/greeter","stream":"EVT","sequence":{n},"occurred_at":"2026-11-25T12:00:00.000000Z","received_at":"2026-11-25T12:00:00.000000Z","causation":"01979f6e-5a00-7000-8000-{n:012}","outcome":"succeeded","bytes":80,"commitment":"LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ="}}"#
        )
    };
    let mut tiles = Tiles::default();
    for n in 0..entries {
        tiles.append(n, leaf_hash(leaf(n).as_bytes()));
    }
    let missing = |missing| anyhow::anyhow!("{missing:?}");
    let head = Checkpoint { origin: LOG.into(), size: entries, root: tiles.root(entries).map_err(missing)? };
    let header = Header {
        omnibus_audit_export: VERSION,
        from: 0,
        to: entries,
        count: entries,
        what: None,
        head: head.signed(&pair),
        previous: None,
        consistency: vec![],
    };
    use base64::Engine as _;
    let base64 = base64::engine::general_purpose::STANDARD;
    let mut out = BufWriter::new(File::create(path)?);
    write!(out, "{}", serde_json::to_string(&header)?)?;
    for tile in 0..entries.div_ceil(WIDTH) {
        let place = Place { level: 0, number: tile };
        let hashes = tiles.get(place).map(<[_]>::concat).unwrap_or_default();
        let path = tiles.tile_path(tile, entries).map_err(missing)?.iter().map(|hash| base64.encode(hash)).collect();
        let line = Line::Tile { tile, hashes: base64.encode(hashes), path, tombstones: vec![] };
        write!(out, "\n{}", serde_json::to_string(&line)?)?;
        for index in tile * WIDTH..tile * WIDTH + place.width(entries) {
            write!(out, "\n{}", serde_json::to_string(&Line::Entry { index, leaf: leaf(index) })?)?;
        }
    }
    out.flush()?;
    Ok(VerifierKey::of(LOG, &pair))
}

/// Seconds for checking it, as `omnibus audit verify` does.
fn check(path: &Path, key: &VerifierKey) -> anyhow::Result<f64> {
    let began = Instant::now();
    let report = export::check(BufReader::with_capacity(1 << 20, File::open(path)?), key, None)?;
    anyhow::ensure!(report.checked == EXPORT, "only {} entries were checked", report.checked);
    Ok(began.elapsed().as_secs_f64())
}
