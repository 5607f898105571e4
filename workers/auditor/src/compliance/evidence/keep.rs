//! How long files of evidence are kept: from the day on which the evidence ended, for as long as entries of the log, and as
//! long as a hold of the tenant stands. The row with the hash stays, and an entry of the log says what went. What uploads
//! that came to nothing have left in the store goes too.
//!
//! A task of its own: the log does not wait for the object store.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use async_nats::jetstream::object_store::DeleteErrorKind;
use async_nats::jetstream::stream::Stream;
use chrono::{DateTime, Days, TimeDelta, Utc};
use futures_util::{StreamExt, TryStreamExt};
use omnibus_runtime::{Desk, clock};
use omnibus_schemas::auditor::EVIDENCE;
use omnibus_schemas::bucket::Bucket;
use serde::Serialize;
use uuid::Uuid;

use super::upload_evidence::name_of;
use crate::Auditor;
use crate::entry::Draft;
use crate::ingest;

/// Between two looks at what is due.
const EVERY: Duration = Duration::from_secs(600);
/// Files in one go. Nobody places a hold meanwhile, and a transaction is open for as long as the store takes.
const ROUND: i64 = 1;
/// For one of them, in all.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks for what copies that broke off have left.
const SWEEP: TimeDelta = TimeDelta::days(1);

pub(crate) async fn run(auditor: Arc<Auditor>, desk: Desk) -> anyhow::Result<()> {
    let Some(mut alone) = desk.alone("evidence").await? else { return Ok(()) };
    let mut swept: Option<DateTime<Utc>> = None;
    loop {
        alone.still().await?;
        let now = clock::now();
        let stale = auditor.settings.evidence.stale;
        if swept.is_none_or(|last| now - last > SWEEP || now < last) {
            match desk.stop.run_until_cancelled(sweep(&desk, stale, now)).await {
                None => return Ok(()),
                Some(Ok(())) => swept = Some(now),
                Some(Err(error)) => {
                    tracing::warn!(error = format!("{error:#}"), "what broken copies of evidence left is still there");
                }
            }
        }
        let Some(cleared) = desk.stop.run_until_cancelled(clear(&desk, stale, now)).await else { return Ok(()) };
        if let Err(error) = cleared {
            tracing::warn!(error = format!("{error:#}"), "copies of evidence that were given up are still there");
        }
        let Some(kept) = desk.stop.run_until_cancelled(upkeep(&auditor, &desk, now)).await else { return Ok(()) };
        if let Err(error) = kept {
            tracing::warn!(error = format!("{error:#}"), "files of evidence past their retention are still there");
        }
        if !desk.pause(EVERY).await {
            return Ok(());
        }
    }
}

/// Deletes a file, if it is there. `false` if it was not.
async fn delete(desk: &Desk, name: &str) -> anyhow::Result<bool> {
    let deleting = async { anyhow::Ok(desk.objects(EVIDENCE).await?.delete(name).await) };
    let deleted = tokio::time::timeout(PATIENCE, deleting).await;
    match deleted.context("the object store does not answer")?? {
        Err(error) if error.kind() == DeleteErrorKind::NotFound => Ok(false),
        deleted => deleted.map(|()| true).with_context(|| format!("{name} can't be deleted")),
    }
}

/// Removes the copies of uploads that were given up after all of the file was in the store. Not at once: a worker that
/// was taken for dead may still be writing.
async fn clear(desk: &Desk, stale: Duration, now: DateTime<Utc>) -> anyhow::Result<()> {
    let until = now - TimeDelta::from_std(stale)?;
    while given_up(desk, until).await? == ROUND as usize {}
    Ok(())
}

async fn given_up(desk: &Desk, until: DateTime<Utc>) -> anyhow::Result<usize> {
    let mut transaction = desk.db.begin().await?;
    // A command that is replayed waits for the row, and makes its copy anew after this one is gone.
    let due: Vec<(String, Uuid)> = sqlx::query_as(
        "delete from auditor.evidence_copies c using (
             select tenant, evidence_id from auditor.evidence_copies where given_up_at <= $1
             order by given_up_at limit $2 for update skip locked) due
         where c.tenant = due.tenant and c.evidence_id = due.evidence_id
         returning c.tenant, c.evidence_id",
    )
    .bind(until)
    .bind(ROUND)
    .fetch_all(&mut *transaction)
    .await?;
    if due.is_empty() {
        return Ok(0);
    }
    for (tenant, evidence_id) in &due {
        delete(desk, &name_of(tenant, *evidence_id)).await?;
    }
    transaction.commit().await?;
    tracing::info!(copies = due.len(), "copies of evidence whose upload was given up were removed");
    Ok(due.len())
}

/// What the log is told of a file that went.
#[derive(Serialize)]
struct Removed<'a> {
    evidence_id: Uuid,
    sha256: &'a str,
}

/// Removes files whose retention is over, unless they are held.
async fn upkeep(auditor: &Auditor, desk: &Desk, now: DateTime<Utc>) -> anyhow::Result<()> {
    let Some(until) = now.checked_sub_days(Days::new(auditor.settings.audit_retention_days.into())) else {
        return Ok(());
    };
    while remove(desk, until, now).await? == ROUND as usize {}
    Ok(())
}

async fn remove(desk: &Desk, until: DateTime<Utc>, now: DateTime<Utc>) -> anyhow::Result<usize> {
    let mut transaction = desk.db.begin().await?;
    // A hold that is placed meanwhile waits, and finds what is left. So files are deleted inside the transaction, against
    // the custom of the house: a hold must not come between the look and the deed.
    sqlx::query("lock table auditor.holds in share mode").execute(&mut *transaction).await?;
    let due: Vec<(String, Uuid, String)> = sqlx::query_as(
        "select e.tenant, e.evidence_id, e.sha256 from auditor.evidence e
         where e.filename is not null and e.removed_at is null
             and e.expires_at <= $1 and e.filed_at <= $1 and coalesce(e.withdrawn_at, e.filed_at) <= $1
             and not exists (select from auditor.holds h where h.tenant = e.tenant and h.lifted_at is null)
         order by e.expires_at limit $2",
    )
    .bind(until)
    .bind(ROUND)
    .fetch_all(&mut *transaction)
    .await?;
    if due.is_empty() {
        return Ok(0);
    }
    let mut arrivals = Vec::with_capacity(due.len());
    for (tenant, evidence_id, sha256) in &due {
        let name = name_of(tenant, *evidence_id);
        // One that is deleted already, by a round that ended before it could note so, is deleted again. One that was
        // never there, or was lost, must not keep the others.
        if !delete(desk, &name).await? {
            tracing::warn!(name, "a file of evidence was not there when its retention was over");
        }
        let payload = serde_json::to_vec(&Removed { evidence_id: *evidence_id, sha256 })?;
        let draft = Draft::unasked(tenant, "evidence_file_removed", evidence_id.to_string(), now, payload);
        arrivals.push(draft.finish(&Default::default())?);
    }
    let (tenants, ids): (Vec<&str>, Vec<Uuid>) = due.iter().map(|(tenant, id, _)| (tenant.as_str(), *id)).unzip();
    sqlx::query(
        "update auditor.evidence e set removed_at = $3 from unnest($1::text[], $2::uuid[]) as d (tenant, evidence_id)
         where e.tenant = d.tenant and e.evidence_id = d.evidence_id",
    )
    .bind(tenants)
    .bind(ids)
    .bind(now)
    .execute(&mut *transaction)
    .await?;
    ingest::insert(&mut transaction, &arrivals).await?;
    transaction.commit().await?;
    tracing::info!(files = due.len(), "files of evidence were removed: their retention is over");
    Ok(due.len())
}

/// Removes the parts of files whose copying broke off. The store writes a file's parts first, under a name by chance, and
/// what names them last: parts that nothing names are a copy under way, or one that ended.
async fn sweep(desk: &Desk, stale: Duration, now: DateTime<Utc>) -> anyhow::Result<()> {
    let stream = desk.bus.jetstream().get_stream(Bucket::objects(EVIDENCE, "").stream()).await?;
    // In this order: whatever is whole before it is looked at is named when it is looked for.
    let parts = subjects(&stream, "C").await?;
    if parts.is_empty() {
        return Ok(());
    }
    let named = named(desk, subjects(&stream, "M").await?.len()).await?;
    let since = now.timestamp().saturating_sub_unsigned(stale.as_secs());
    for subject in parts {
        if subject.rsplit('.').next().is_none_or(|nuid| named.contains(nuid)) {
            continue;
        }
        let last = stream.direct_get_last_for_subject(subject.as_str()).await.context("the last part of a file")?;
        if last.time.unix_timestamp() <= since {
            stream.purge().filter(&subject).await.context("parts of a file can't be purged")?;
            tracing::info!(subject, "the parts of a file of evidence whose copying broke off were removed");
        }
    }
    Ok(())
}

/// The subjects of the store's parts (`C`), or of what names them (`M`).
async fn subjects(stream: &Stream, kind: &str) -> anyhow::Result<Vec<String>> {
    let subjects = stream.info_with_subjects(format!("$O.{EVIDENCE}.{kind}.>")).await?;
    Ok(subjects.map_ok(|(subject, _)| subject).try_collect().await?)
}

/// The names under which the parts of all `files` lie. All of them or none: what is not named is removed.
async fn named(desk: &Desk, files: usize) -> anyhow::Result<HashSet<String>> {
    let (mut seen, mut named) = (HashSet::new(), HashSet::new());
    if files == 0 {
        return Ok(named);
    }
    let mut watch = desk.objects(EVIDENCE).await?.watch_with_history().await?;
    while seen.len() < files {
        let next = tokio::time::timeout(PATIENCE, watch.next()).await;
        let next = next.context("the object store does not tell all of its files")?;
        let info = next.context("the object store ended before it had told all of its files")??;
        if !info.deleted {
            named.insert(info.nuid);
        }
        seen.insert(info.name);
    }
    Ok(named)
}
