//! Giving places to what handlers put on the record themselves: they must not hold everybody's turn for as long as their
//! transactions last, so what they write waits in `arrivals`. One sequencer among all replicas takes it from there, and
//! writes the folder of the mirror.
//!
//! Only rows of transactions that every other has ended before are taken (`txid` below `pg_snapshot_xmin`), in the order
//! of their transactions: what is still being written may belong before them. A row whose transaction lies ahead of all
//! that this server knows came with a dump of another server; nothing can come before it any more.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use omnibus_runtime::{Desk, clock};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::entry::Arrival;
use crate::mirror::folder::{self, Folder};
use crate::{Auditor, append, retention};

/// Entries in one round at most.
const ROUND: i64 = 2000;
/// How long a round may take: while it does, nobody else writes. PostgreSQL gives up before.
const PATIENCE: Duration = Duration::from_secs(150);
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
            folder.forget();
            kept_up = Some(now);
        }
        auditor.ledger.file(&desk.db).await?;
        let sequenced = tokio::time::timeout(PATIENCE, round(&auditor, &desk.db)).await??;
        folder.follow(&auditor, &desk, &mut alone).await?;
        if sequenced < ROUND as usize && !desk.pause(IDLE).await {
            return Ok(());
        }
    }
}

/// Returns how many entries it gave places to.
async fn round(auditor: &Auditor, db: &PgPool) -> anyhow::Result<usize> {
    // Most rounds find nothing, and a transaction with a lock is more than a look.
    let any: bool = sqlx::query_scalar("select exists (select from auditor.arrivals order by txid, pos limit 1)")
        .fetch_one(db)
        .await?;
    if !any {
        return Ok(0);
    }
    let _ours = auditor.turn.lock().await;
    let mut transaction = db.begin().await?;
    let now = append::turn(&mut transaction).await?;
    let arrivals = take(&mut transaction).await?;
    append::append(auditor, &mut transaction, &arrivals, now).await?;
    transaction.commit().await?;
    Ok(arrivals.len())
}

async fn take(db: &mut PgConnection) -> Result<Vec<Arrival>, sqlx::Error> {
    // A queue's statistics are always old, and what looks small may be pages of rows that are gone.
    sqlx::query("select set_config('enable_seqscan', 'off', true)").execute(&mut *db).await?;
    type Row = (Uuid, String, String, Vec<u8>, Option<String>);
    // Where a row lies is its name as long as the statement lasts: nobody changes arrivals, and nobody else takes them.
    let rows: Vec<Row> = sqlx::query_as(
        "with taken as (
             delete from auditor.arrivals where ctid = any(array(
                 select ctid from auditor.arrivals
                 where txid < pg_snapshot_xmin(pg_current_snapshot())
                    or txid >= pg_snapshot_xmax(pg_current_snapshot())
                 order by txid, pos limit $1))
             returning *)
         select key, tenant, body, salt, sealed from taken order by txid, pos",
    )
    .bind(ROUND)
    .fetch_all(db)
    .await?;
    let arrival = |(key, tenant, body, salt, sealed)| Arrival { key, tenant, body, salt, sealed };
    Ok(rows.into_iter().map(arrival).collect())
}
