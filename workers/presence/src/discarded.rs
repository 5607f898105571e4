//! Files that are nobody's any more. Their rows go with what they belonged to; what lay in the object store is removed
//! afterwards, since a transaction can't.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use async_nats::jetstream::object_store::{DeleteErrorKind, ObjectStore};
use omnibus_runtime::{Cx, Desk, Fail};
use omnibus_schemas::Token;
use omnibus_schemas::presence::FILES;
use sqlx::PgPool;
use tokio::time::Instant;
use uuid::Uuid;

use crate::Presence;
use crate::interrupted::sweep;
use crate::share_file::name_of;

/// Between two looks whether there is anything to remove.
const OFTEN: Duration = Duration::from_secs(5);
/// Files that are removed between two looks.
const AT_ONCE: i64 = 100;
/// For one of them: a transaction is open meanwhile.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks for what interrupted copies have left.
const SELDOM: Duration = Duration::from_secs(3600);

/// A message that named these files names them no more: those that no other message names are discarded. Under the room's
/// lock.
pub(crate) async fn let_go(cx: &mut Cx<'_>, room: &Token, files: &[Uuid]) -> Result<(), Fail> {
    if files.is_empty() {
        return Ok(());
    }
    let tenant = cx.tenant();
    sqlx::query("update presence.files set uses = uses - 1 where tenant = $1 and room_id = $2 and file_id = any($3)")
        .bind(tenant)
        .bind(room.as_str())
        .bind(files)
        .execute(cx.db())
        .await?;
    sqlx::query(
        "with gone as (
             delete from presence.files where tenant = $1 and room_id = $2 and file_id = any($3) and uses < 1
             returning tenant, file_id)
         insert into presence.discarded (tenant, file_id) select tenant, file_id from gone on conflict do nothing",
    )
    .bind(tenant)
    .bind(room.as_str())
    .bind(files)
    .execute(cx.db())
    .await?;
    Ok(())
}

/// A file that was to be copied never will be. Part of it may lie there.
pub(crate) async fn give_up(cx: &mut Cx<'_>, file_id: Uuid) -> Result<(), Fail> {
    let tenant = cx.tenant();
    sqlx::query(
        "with gone as (
             delete from presence.files where tenant = $1 and file_id = $2 and shared_at is null
             returning tenant, file_id)
         insert into presence.discarded (tenant, file_id) select tenant, file_id from gone on conflict do nothing",
    )
    .bind(tenant)
    .bind(file_id)
    .execute(cx.db())
    .await?;
    Ok(())
}

/// Removes what was discarded. One of all the replicas does.
pub(crate) async fn clear(_: Arc<Presence>, desk: Desk) -> anyhow::Result<()> {
    let Some(mut alone) = desk.alone("files").await? else { return Ok(()) };
    let store = desk.objects(FILES).await?;
    let (mut swept, mut unnamed) = (None::<Instant>, HashSet::new());
    loop {
        alone.still().await?;
        let due: Vec<(String, Uuid)> = sqlx::query_as(
            "select d.tenant, d.file_id from presence.discarded d
             where not exists (select from presence.files f where f.tenant = d.tenant and f.file_id = d.file_id)
             limit $1",
        )
        .bind(AT_ONCE)
        .fetch_all(&desk.db)
        .await?;
        for (tenant, file_id) in due {
            if let Err(error) = remove(&desk.db, &store, &tenant, file_id).await {
                tracing::warn!(error = format!("{error:#}"), "files that were discarded are still there");
                break;
            }
        }
        if swept.is_none_or(|at| at.elapsed() >= SELDOM) {
            swept = Some(Instant::now());
            match sweep(&desk, &store, &unnamed).await {
                Ok(found) => unnamed = found,
                Err(error) => tracing::warn!(%error, "what interrupted copies have left was not looked for"),
            }
        }
        if !desk.pause(OFTEN).await {
            return Ok(());
        }
    }
}

/// Whoever has the same file copied once more waits until this is over: its row is locked while the object is removed, which
/// can be done twice.
async fn remove(db: &PgPool, store: &ObjectStore, tenant: &str, file_id: Uuid) -> anyhow::Result<()> {
    let mut tx = db.begin().await?;
    let discarded = sqlx::query("delete from presence.discarded where tenant = $1 and file_id = $2")
        .bind(tenant)
        .bind(file_id)
        .execute(&mut *tx)
        .await?;
    if discarded.rows_affected() == 0 {
        return Ok(());
    }
    let deleted = tokio::time::timeout(PATIENCE, store.delete(name_of(tenant, file_id))).await;
    match deleted.context("the object store does not answer")? {
        Ok(()) => {}
        // Nothing of it was ever there.
        Err(error) if error.kind() == DeleteErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    tx.commit().await?;
    Ok(())
}
