//! Giving entries their places: whoever has the turn adds what it holds to the tenants' trees and signs the new heads, in one
//! transaction. There is one turn among all replicas, so an index is given once and without a gap.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use chrono::{DateTime, SecondsFormat, Utc};
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use crate::entry::Arrival;
use crate::note::Checkpoint;
use crate::store::{self, count, number};
use crate::tree::{Place, Tiles, leaf_hash};
use crate::{Auditor, retention};

/// Waits for the turn, which is this transaction's until it ends. Returns the time of what it will write: not when the
/// transaction began, which was before another's turn ended.
pub(crate) async fn turn(db: &mut PgConnection) -> Result<DateTime<Utc>, sqlx::Error> {
    // Who stops in the middle does not keep the turn.
    let now = sqlx::query_scalar(
        "select clock_timestamp() from pg_advisory_xact_lock(hashtextextended('omnibus.auditor.round', 0)),
                set_config('idle_in_transaction_session_timeout', '30s', true)",
    )
    .fetch_one(&mut *db)
    .await?;
    retention::partition_for(db, now).await?;
    Ok(now)
}

/// Notes what is on the record from now on. Returns what was before.
pub(crate) async fn note(db: &mut PgConnection, arrivals: &[Arrival]) -> Result<BTreeSet<Uuid>, sqlx::Error> {
    let mut keys: Vec<Uuid> = arrivals.iter().map(|arrival| arrival.key).collect();
    // In order, so that two who note the same wait for each other in a line.
    keys.sort_unstable();
    // Hardly ever was something before, and an `on conflict` clause costs every row half as much again.
    let mut attempt = db.begin().await?;
    match sqlx::query("insert into auditor.ids (key) select unnest($1::uuid[])")
        .bind(&keys)
        .execute(&mut *attempt)
        .await
    {
        Ok(_) => {
            attempt.commit().await?;
            return Ok(BTreeSet::new());
        }
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => attempt.rollback().await?,
        Err(error) => return Err(error),
    }
    let fresh: Vec<Uuid> = sqlx::query_scalar(
        "insert into auditor.ids (key) select unnest($1::uuid[]) on conflict do nothing returning key",
    )
    .bind(&keys)
    .fetch_all(db)
    .await?;
    let fresh = BTreeSet::from_iter(fresh);
    Ok(keys.into_iter().filter(|key| !fresh.contains(key)).collect())
}

/// Adds these, in their order, to the logs of their tenants, and signs the heads. The transaction has the turn.
pub(crate) async fn append(
    auditor: &Auditor,
    db: &mut PgConnection,
    arrivals: &[Arrival],
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    if arrivals.is_empty() {
        return Ok(());
    }
    let mut logs = grow(db, arrivals).await?;
    let sequenced_at = now.to_rfc3339_opts(SecondsFormat::Micros, true);
    let (mut places, mut leaves) = (Vec::with_capacity(arrivals.len()), Vec::with_capacity(arrivals.len()));
    for arrival in arrivals {
        let log = logs.get_mut(arrival.tenant.as_str()).context("every arrival's log was read")?;
        // The first fields of the leaf; `body` is an object with the others.
        let leaf = format!(
            r#"{{"v":1,"tenant":"{}","index":{},"sequenced_at":"{sequenced_at}",{}"#,
            arrival.tenant,
            log.to,
            arrival.body.strip_prefix('{').context("a body is an object")?
        );
        log.tiles.append(log.to, leaf_hash(leaf.as_bytes()));
        places.push(number(log.to));
        leaves.push(leaf);
        log.to += 1;
    }
    sqlx::query(
        "insert into auditor.entries (tenant, idx, sequenced_at, key, leaf, salt, sealed)
         select tenant, idx, $1, key, leaf, salt, sealed
         from unnest($2::text[], $3::bigint[], $4::uuid[], $5::text[], $6::bytea[], $7::text[])
             as x(tenant, idx, key, leaf, salt, sealed)",
    )
    .bind(now)
    .bind(arrivals.iter().map(|a| a.tenant.as_str()).collect::<Vec<_>>())
    .bind(places)
    .bind(arrivals.iter().map(|a| a.key).collect::<Vec<_>>())
    .bind(leaves)
    .bind(arrivals.iter().map(|a| a.salt.as_slice()).collect::<Vec<_>>())
    .bind(arrivals.iter().map(|a| a.sealed.as_deref()).collect::<Vec<_>>())
    .execute(&mut *db)
    .await?;
    keep(db, &logs).await?;
    sign(auditor, db, &logs, now).await
}

/// A log that grows.
#[derive(Debug, Default)]
struct Log {
    from: u64,
    to: u64,
    /// Those that were begun and not filled, and what is added.
    tiles: Tiles,
}

/// The logs of these arrivals as they stand, by tenant.
async fn grow<'a>(db: &mut PgConnection, arrivals: &'a [Arrival]) -> anyhow::Result<BTreeMap<&'a str, Log>> {
    let mut logs: BTreeMap<&str, Log> = arrivals.iter().map(|a| (a.tenant.as_str(), Log::default())).collect();
    let sizes: Vec<(String, i64)> = sqlx::query_as(
        // One by one, by their key: joined to a table that was never analysed, they may cost a look at every head.
        "select h.* from unnest($1::text[]) as x(tenant)
         cross join lateral (select h.tenant, h.size from auditor.heads h where h.tenant = x.tenant limit 1) h",
    )
    .bind(logs.keys().copied().collect::<Vec<_>>())
    .fetch_all(&mut *db)
    .await?;
    let (mut tenants, mut levels, mut numbers) = (Vec::new(), Vec::new(), Vec::new());
    for (tenant, size) in &sizes {
        let log = logs.get_mut(tenant.as_str()).context("a head that was asked for")?;
        (log.from, log.to) = (count(*size), count(*size));
        for place in store::open_places(log.from) {
            tenants.push(tenant.as_str());
            levels.push(i16::from(place.level));
            numbers.push(number(place.number));
        }
    }
    let begun = tenants.len();
    let tiles: Vec<(String, i16, i64, Vec<u8>)> = sqlx::query_as(
        "select t.* from unnest($1::text[], $2::smallint[], $3::bigint[]) as x(tenant, level, number)
         cross join lateral (
             select t.tenant, t.level, t.number, t.hashes from auditor.tiles t
             where t.tenant = x.tenant and t.level = x.level and t.number = x.number limit 1) t",
    )
    .bind(tenants)
    .bind(levels)
    .bind(numbers)
    .fetch_all(&mut *db)
    .await?;
    for (tenant, level, at, hashes) in &tiles {
        let log = logs.get_mut(tenant.as_str()).context("a tile that was asked for")?;
        let place = Place { level: u8::try_from(*level)?, number: count(*at) };
        let hashes = store::unpacked(hashes);
        let width = place.width(log.from);
        let path = place.path(width);
        anyhow::ensure!(hashes.len() as u64 == width, "{path} of {tenant}'s log has {} hashes", hashes.len());
        log.tiles.insert(place, hashes);
    }
    anyhow::ensure!(tiles.len() == begun, "of {begun} tiles that were begun {} are there", tiles.len());
    Ok(logs)
}

/// Writes the tiles that grew.
async fn keep(db: &mut PgConnection, logs: &BTreeMap<&str, Log>) -> anyhow::Result<()> {
    let (mut tenants, mut levels, mut numbers, mut hashes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (tenant, log) in logs {
        for (place, _) in Place::grown(log.from, log.to) {
            tenants.push(*tenant);
            levels.push(i16::from(place.level));
            numbers.push(number(place.number));
            hashes.push(log.tiles.get(place).context("a tile that grew is here")?.concat());
        }
    }
    sqlx::query(
        "insert into auditor.tiles (tenant, level, number, hashes)
         select * from unnest($1::text[], $2::smallint[], $3::bigint[], $4::bytea[])
         on conflict (tenant, level, number) do update set hashes = excluded.hashes",
    )
    .bind(tenants)
    .bind(levels)
    .bind(numbers)
    .bind(hashes)
    .execute(db)
    .await?;
    Ok(())
}

async fn sign(
    auditor: &Auditor,
    db: &mut PgConnection,
    logs: &BTreeMap<&str, Log>,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    let (mut sizes, mut roots, mut checkpoints) = (Vec::new(), Vec::new(), Vec::new());
    for (tenant, log) in logs {
        let root = log.tiles.root(log.to).map_err(|missing| anyhow::anyhow!("a tile is missing: {missing:?}"))?;
        let checkpoint = Checkpoint { origin: auditor.settings.origin(tenant), size: log.to, root };
        sizes.push(number(log.to));
        roots.push(root.to_vec());
        checkpoints.push(checkpoint.signed(auditor.keys.pair()?));
    }
    sqlx::query(
        "with x as (select * from unnest($1::text[], $2::bigint[], $3::bytea[], $4::text[])
                    as x(tenant, size, root, checkpoint)),
         head as (
             insert into auditor.heads (tenant, size, root, checkpoint, signed_at)
             select tenant, size, root, checkpoint, $5 from x
             on conflict (tenant) do update set
                 size = excluded.size, root = excluded.root, checkpoint = excluded.checkpoint,
                 signed_at = excluded.signed_at)
         insert into auditor.past_heads (tenant, hour, size, checkpoint)
         select tenant, date_trunc('hour', $5::timestamptz, 'UTC'), size, checkpoint from x
         on conflict (tenant, hour) do update set size = excluded.size, checkpoint = excluded.checkpoint",
    )
    .bind(logs.keys().copied().collect::<Vec<_>>())
    .bind(sizes)
    .bind(roots)
    .bind(checkpoints)
    .bind(now)
    .execute(db)
    .await?;
    Ok(())
}
