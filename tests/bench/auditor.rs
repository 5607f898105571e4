//! Entries a second from `EVT` into the log, beside a bare loop that inserts the same rows in batches of the same size into
//! the same table; the time from the bus to the tree under a steady load; and checking a long export.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use async_nats::HeaderMap;
use async_nats::jetstream::message::PublishMessage;
use omnibus_auditor::export::{self, Header, Line, VERSION};
use omnibus_auditor::note::{Checkpoint, VerifierKey};
use omnibus_auditor::tree::{Place, Tiles, WIDTH, leaf_hash};
use omnibus_auditor::{Settings, worker};
use omnibus_runtime::local::Postgres;
use omnibus_runtime::testing::{Scenery, Stage};
use omnibus_schemas::Catalogue;
use ring::signature::Ed25519KeyPair;
use sqlx::PgPool;

use crate::figures::{Series, Table};

/// As the auditor takes them.
const BATCH: usize = 2000;
/// Events a second under the steady load, and for how long.
const STEADY: u64 = 500;
const SECONDS: u64 = 5;

pub(crate) async fn run(postgres: &Postgres, rounds: usize, entries: usize) -> anyhow::Result<Table> {
    let (mut ours, mut bare, mut lag, mut checked) =
        (Series::default(), Series::default(), Series::default(), Series::default());
    for round in 0..=rounds {
        let scenery = Scenery { deaf: true, ..Scenery::default() };
        let stage = Stage::set(Catalogue::omnibus(), omnibus_bus::Settings::default(), postgres, scenery).await;
        publish(&stage, entries, None).await?;
        let dir = tempfile::tempdir()?;
        let settings = Settings {
            audit_secret: Some("a secret of the bench, thirty-two characters long".to_owned().into()),
            audit_secret_file: dir.path().join("unused"),
            audit_dir: dir.path().to_owned(),
            audit_origin: "omnibus.bench/audit".into(),
            audit_retention_days: 2555,
            compliance_mode: omnibus_auditor::settings::ComplianceMode::Watch,
            compliance_every: 30,
            s3: omnibus_auditor::settings::S3Settings::default(),
            evidence: omnibus_auditor::settings::EvidenceLimits::default(),
        };
        let began = Instant::now();
        let running = stage.run(worker(settings)?).await;
        until(&stage.db, entries).await?;
        let took = began.elapsed();
        let beside = insert(&stage.db, entries).await?;
        publish(&stage, (STEADY * SECONDS) as usize, Some(Duration::from_secs(1) / STEADY as u32)).await?;
        until(&stage.db, entries + (STEADY * SECONDS) as usize).await?;
        let p99: f64 = sqlx::query_scalar(
            "select percentile_cont(0.99) within group (order by extract(epoch from
                 (leaf::json->>'sequenced_at')::timestamptz - (leaf::json->>'received_at')::timestamptz)::float8) * 1000
             from auditor.entries where tenant = 'acme' and idx >= $1",
        )
        .bind(i64::try_from(entries)?)
        .fetch_one(&stage.db)
        .await?;
        running.stop().await;
        if round > 0 {
            ours.push(entries as f64 / took.as_secs_f64());
            bare.push(entries as f64 / beside.as_secs_f64());
            lag.push(p99);
            checked.push(check(1_000_000)?);
        }
    }
    let share = ours.median() / bare.median();
    Ok(Table {
        title: format!(
            "The auditor: {entries} events waiting in EVT; then {STEADY} a second; then an export of a million entries: \
             median (least..most) of {rounds} rounds"
        ),
        columns: vec!["", "entries/s", "of bare", "bus to tree p99 ms", "a million entries checked, s"],
        rows: vec![
            vec!["Omnibus".into(), ours.to_string(), format!("{share:.2}"), lag.to_string(), checked.to_string()],
            vec!["bare: insert in batches".into(), bare.to_string(), "1.00".into(), String::new(), String::new()],
        ],
    })
}

async fn publish(stage: &Stage, count: usize, every: Option<Duration>) -> anyhow::Result<()> {
    let js = stage.operator.jetstream();
    let mut acks = Vec::new();
    let mut tick = tokio::time::interval(every.unwrap_or(Duration::from_nanos(1)));
    for n in 0..count {
        if every.is_some() {
            tick.tick().await;
        }
        let id = omnibus_runtime::clock::new_id().to_string();
        let now = omnibus_runtime::clock::now().to_rfc3339();
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

async fn until(db: &PgPool, size: usize) -> anyhow::Result<()> {
    loop {
        let there: Option<i64> = sqlx::query_scalar("select size from auditor.heads where tenant = 'acme'")
            .fetch_optional(db)
            .await
            // The tables may not be there yet.
            .unwrap_or_default();
        if there.unwrap_or(0) >= i64::try_from(size)? {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The same rows once more, under another tenant: read before the clock starts, then inserted as bare as can be.
async fn insert(db: &PgPool, entries: usize) -> anyhow::Result<Duration> {
    type Row = (i64, uuid::Uuid, String, Vec<u8>, Option<String>);
    let rows: Vec<Row> = sqlx::query_as(
        "select idx, key, leaf, salt, sealed from auditor.entries where tenant = 'acme' order by idx limit $1",
    )
    .bind(i64::try_from(entries)?)
    .fetch_all(db)
    .await?;
    let began = Instant::now();
    for batch in rows.chunks(BATCH) {
        sqlx::query(
            "insert into auditor.entries (tenant, idx, sequenced_at, key, leaf, salt, sealed)
             select 'bare', idx, now(), key, leaf, salt, sealed
             from unnest($1::bigint[], $2::uuid[], $3::text[], $4::bytea[], $5::text[]) as x(idx, key, leaf, salt, sealed)",
        )
        .bind(batch.iter().map(|row| row.0).collect::<Vec<_>>())
        .bind(batch.iter().map(|row| row.1).collect::<Vec<_>>())
        .bind(batch.iter().map(|row| row.2.as_str()).collect::<Vec<_>>())
        .bind(batch.iter().map(|row| row.3.as_slice()).collect::<Vec<_>>())
        .bind(batch.iter().map(|row| row.4.as_deref()).collect::<Vec<_>>())
        .execute(db)
        .await?;
    }
    Ok(began.elapsed())
}

/// Seconds for checking an export of so many entries.
fn check(entries: u64) -> anyhow::Result<f64> {
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
    let mut text = serde_json::to_string(&header)?;
    for tile in 0..entries.div_ceil(WIDTH) {
        let place = Place { level: 0, number: tile };
        let hashes = tiles.get(place).map(<[_]>::concat).unwrap_or_default();
        let path = tiles.tile_path(tile, entries).map_err(missing)?.iter().map(|hash| base64.encode(hash)).collect();
        let line = Line::Tile { tile, hashes: base64.encode(hashes), path, tombstones: vec![] };
        write!(text, "\n{}", serde_json::to_string(&line)?)?;
        for index in tile * WIDTH..tile * WIDTH + place.width(entries) {
            write!(text, "\n{}", serde_json::to_string(&Line::Entry { index, leaf: leaf(index) })?)?;
        }
    }
    let began = Instant::now();
    let report = export::check(text.as_bytes(), &VerifierKey::of(LOG, &pair), None)?;
    anyhow::ensure!(report.checked == entries, "only {} entries were checked", report.checked);
    Ok(began.elapsed().as_secs_f64())
}
