//! Giving entries their places: one sequencer among all replicas takes what has arrived, in batches, appends it to each
//! tenant's tree, and signs the new heads, all in one transaction.
//!
//! Only rows of transactions that every other has ended before are taken (`txid` below `pg_snapshot_xmin`), in the order
//! of their transactions: what is still being written may belong before them. A row whose transaction lies ahead of all
//! that this server knows came with a dump of another server; nothing can come before it any more.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use chrono::{DateTime, SecondsFormat, Utc};
use omnibus_runtime::{Desk, clock};
use sqlx::{PgConnection, PgPool};

use crate::mirror::folder::{self, Folder};
use crate::note::Checkpoint;
use crate::store::{self, count, number};
use crate::tree::{Hash, Place, Tiles, leaf_hash};
use crate::{Auditor, retention};

/// Entries in one round at most.
const ROUND: i64 = 10_000;
/// Between two looks while nothing arrives.
const IDLE: Duration = Duration::from_millis(200);
/// Between two looks at what is due: partitions, retention, the whole folder.
const UPKEEP: chrono::TimeDelta = chrono::TimeDelta::minutes(10);

pub(crate) async fn run(auditor: Arc<Auditor>, desk: Desk) -> anyhow::Result<()> {
    // What this replica said of the folder while it was alone, another may say by now.
    desk.health.well(folder::PART);
    let Some(mut alone) = desk.alone("sequencer").await? else { return Ok(()) };
    auditor.ledger.replay(&desk.db).await?;
    let mut folder = Folder::default();
    let mut kept_up: Option<DateTime<Utc>> = None;
    loop {
        alone.still().await?;
        let now = clock::now();
        if kept_up.is_none_or(|last| now - last > UPKEEP || now < last) {
            retention::upkeep(&auditor, &desk.db, now).await?;
            folder.catch_up(&auditor, &desk).await?;
            kept_up = Some(now);
        }
        auditor.ledger.file(&desk.db).await?;
        let sequenced = round(&auditor, &desk.db).await?;
        folder.write(&auditor, &desk, &sequenced.heads).await?;
        if sequenced.entries < ROUND as u64 && !desk.pause(IDLE).await {
            return Ok(());
        }
    }
}

/// What a round has done.
#[derive(Debug, Default)]
pub(crate) struct Sequenced {
    entries: u64,
    /// The tenants whose heads moved.
    pub(crate) heads: Vec<Moved>,
}

/// A head that moved.
#[derive(Debug)]
pub(crate) struct Moved {
    pub(crate) tenant: String,
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) checkpoint: String,
}

pub(crate) async fn round(auditor: &Auditor, db: &PgPool) -> anyhow::Result<Sequenced> {
    // Most rounds find nothing, and a transaction with a lock is more than a look.
    let any: bool = sqlx::query_scalar("select exists (select from auditor.arrivals order by txid, pos limit 1)")
        .fetch_one(db)
        .await?;
    if !any {
        return Ok(Sequenced::default());
    }
    let mut transaction = db.begin().await?;
    // Whoever was alone and has lost the session that said so waits here for whoever is alone now.
    let now: DateTime<Utc> =
        sqlx::query_scalar("select now() from pg_advisory_xact_lock(hashtextextended('omnibus.auditor.round', 0))")
            .fetch_one(&mut *transaction)
            .await?;
    // A queue's statistics are always old, and what looks small may be pages of rows that are gone. And a round's rows are
    // put in order in memory.
    sqlx::query("select set_config('enable_seqscan', 'off', true), set_config('work_mem', '64MB', true)")
        .execute(&mut *transaction)
        .await?;
    retention::partition_for(&mut transaction, now).await?;
    let leaves = take(&mut transaction, now).await?;
    let entries = leaves.values().map(|(_, leaves)| leaves.len() as u64).sum();
    let heads = append(auditor, &mut transaction, leaves, now).await?;
    transaction.commit().await?;
    Ok(Sequenced { entries, heads })
}

/// By tenant: the size of its log before, and the hashes of its new leaves in order.
type Leaves = BTreeMap<String, (u64, Vec<Hash>)>;

async fn take(db: &mut PgConnection, now: DateTime<Utc>) -> Result<Leaves, sqlx::Error> {
    // Where a row lies is its name as long as the statement lasts: nobody changes arrivals, and nobody else takes them.
    let mut rows: Vec<(String, i64, String)> = sqlx::query_as(
        r#"with taken as (
               delete from auditor.arrivals where ctid = any(array(
                   select ctid from auditor.arrivals
                   where txid < pg_snapshot_xmin(pg_current_snapshot())
                      or txid >= pg_snapshot_xmax(pg_current_snapshot())
                   order by txid, pos limit $1))
               returning *),
           numbered as (
               select t.*, coalesce(h.size, 0) - 1
                   + row_number() over (partition by t.tenant order by t.txid, t.pos) as idx
               from taken t left join auditor.heads h using (tenant))
           insert into auditor.entries (tenant, idx, sequenced_at, key, leaf, salt, sealed)
           select tenant, idx, $2, key,
               '{"v":1,"tenant":"' || tenant || '","index":' || idx || ',"sequenced_at":"' || $3 || '",'
                   || right(body, -1),
               salt, sealed
           from numbered
           returning tenant, idx, leaf"#,
    )
    .bind(ROUND)
    .bind(now)
    .bind(now.to_rfc3339_opts(SecondsFormat::Micros, true))
    .fetch_all(db)
    .await?;
    rows.sort_unstable_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
    let mut leaves = Leaves::new();
    for (tenant, idx, leaf) in rows {
        leaves.entry(tenant).or_insert_with(|| (count(idx), Vec::new())).1.push(leaf_hash(leaf.as_bytes()));
    }
    Ok(leaves)
}

async fn append(
    auditor: &Auditor,
    db: &mut PgConnection,
    leaves: Leaves,
    now: DateTime<Utc>,
) -> anyhow::Result<Vec<Moved>> {
    let mut moved = Vec::with_capacity(leaves.len());
    for (tenant, (from, leaves)) in leaves {
        let mut tiles = Tiles::default();
        for place in store::open_places(from) {
            let hashes = store::tile(db, &tenant, place).await?;
            tiles.insert(place, hashes.with_context(|| format!("the tile {} is missing", place.path(0)))?);
        }
        let to = from + leaves.len() as u64;
        for (n, leaf) in leaves.into_iter().enumerate() {
            tiles.append(from + n as u64, leaf);
        }
        let root = tiles.root(to).map_err(|missing| anyhow::anyhow!("a tile is missing: {missing:?}"))?;
        keep(db, &tenant, &tiles, &Place::grown(from, to)).await?;
        let checkpoint = Checkpoint { origin: auditor.settings.origin(&tenant), size: to, root };
        let checkpoint = checkpoint.signed(auditor.keys.pair()?);
        sqlx::query(
            "with head as (
                 insert into auditor.heads (tenant, size, root, checkpoint, signed_at) values ($1, $2, $3, $4, $5)
                 on conflict (tenant) do update set
                     size = excluded.size, root = excluded.root, checkpoint = excluded.checkpoint,
                     signed_at = excluded.signed_at)
             insert into auditor.past_heads (tenant, hour, size, checkpoint)
             values ($1, date_trunc('hour', $5::timestamptz, 'UTC'), $2, $4)
             on conflict (tenant, hour) do update set size = excluded.size, checkpoint = excluded.checkpoint",
        )
        .bind(&tenant)
        .bind(number(to))
        .bind(root.as_slice())
        .bind(&checkpoint)
        .bind(now)
        .execute(&mut *db)
        .await?;
        moved.push(Moved { tenant, from, to, checkpoint });
    }
    Ok(moved)
}

async fn keep(db: &mut PgConnection, tenant: &str, tiles: &Tiles, grown: &[(Place, u64)]) -> anyhow::Result<()> {
    let (mut levels, mut numbers, mut hashes) = (Vec::new(), Vec::new(), Vec::new());
    for (place, _) in grown {
        levels.push(i16::from(place.level));
        numbers.push(number(place.number));
        hashes.push(tiles.get(*place).context("a tile that grew is here")?.concat());
    }
    sqlx::query(
        "insert into auditor.tiles (tenant, level, number, hashes)
         select $1, * from unnest($2::smallint[], $3::bigint[], $4::bytea[])
         on conflict (tenant, level, number) do update set hashes = excluded.hashes",
    )
    .bind(tenant)
    .bind(levels)
    .bind(numbers)
    .bind(hashes)
    .execute(db)
    .await?;
    Ok(())
}
