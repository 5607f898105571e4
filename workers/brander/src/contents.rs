//! Contents in the bucket `assets`: claimed before they are stored, cleared away when they are nobody's any more.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use async_nats::jetstream::object_store::{DeleteErrorKind, ObjectStore};
use omnibus_runtime::{Desk, clock};
use omnibus_schemas::brander::{ASSETS, AssetHash};
use sqlx::PgPool;

use crate::Brander;

/// Between two clearings.
const OFTEN: Duration = Duration::from_secs(600);
/// After one that failed.
const AGAIN: Duration = Duration::from_secs(30);
/// For one content: a transaction is open meanwhile.
const PATIENCE: Duration = Duration::from_secs(10);
/// From a claim until its asset has a row, at the most. No upload takes minutes.
const CLAIM_HOURS: i32 = 24;

/// Says that a content is about to be some tenant's. Waits while it is being cleared away.
pub(crate) async fn claim(db: &PgPool, hash: &AssetHash) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into brander.contents as c (hash, claimed_at) values ($1, $2)
         on conflict (hash) do update set claimed_at = greatest(c.claimed_at, excluded.claimed_at)",
    )
    .bind(&hash.0)
    .bind(clock::now())
    .execute(db)
    .await?;
    Ok(())
}

pub(crate) async fn clear(_: Arc<Brander>, desk: Desk) -> anyhow::Result<()> {
    let Some(mut alone) = desk.alone("contents").await? else { return Ok(()) };
    let store = desk.objects(ASSETS).await?;
    loop {
        alone.still().await?;
        let given_up: Vec<String> = sqlx::query_scalar(
            "select hash from brander.contents c
             where claimed_at < $1 - make_interval(hours => $2)
               and not exists (select from brander.assets a where a.hash = c.hash)
               and not exists (select from brander.assets a where a.mail_hash = c.hash)",
        )
        .bind(clock::now())
        .bind(CLAIM_HOURS)
        .fetch_all(&desk.db)
        .await?;
        let mut pause = OFTEN;
        for hash in given_up {
            if let Err(error) = remove(&desk.db, &store, &hash).await {
                tracing::warn!(error = format!("{error:#}"), "contents that are nobody's are still there");
                pause = AGAIN;
                break;
            }
        }
        if !desk.pause(pause).await {
            return Ok(());
        }
    }
}

/// Removes a content, unless it was claimed meanwhile.
async fn remove(db: &PgPool, store: &ObjectStore, hash: &str) -> anyhow::Result<()> {
    let mut tx = db.begin().await?;
    let gone = sqlx::query(
        "delete from brander.contents c
         where hash = $1 and claimed_at < $2 - make_interval(hours => $3)
           and not exists (select from brander.assets a where a.hash = c.hash or a.mail_hash = c.hash)",
    )
    .bind(hash)
    .bind(clock::now())
    .bind(CLAIM_HOURS)
    .execute(&mut *tx)
    .await?;
    if gone.rows_affected() == 0 {
        return Ok(());
    }
    let deleted = tokio::time::timeout(PATIENCE, store.delete(hash)).await;
    match deleted.context("the object store does not answer")? {
        Ok(()) => {}
        // A clearing that was cut short has taken it away already.
        Err(error) if error.kind() == DeleteErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    tx.commit().await?;
    Ok(())
}
