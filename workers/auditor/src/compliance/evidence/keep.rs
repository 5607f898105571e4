//! How long files of evidence are kept: from the day on which the evidence ended, for as long as entries of the log, and as
//! long as a hold of the tenant stands. The row with the hash stays.

use std::time::Duration;

use anyhow::Context;
use chrono::{DateTime, Days, Utc};
use omnibus_runtime::Desk;
use omnibus_schemas::auditor::EVIDENCE;
use uuid::Uuid;

use super::upload_evidence::name_of;
use crate::Auditor;

/// Files in one go.
const ROUND: i64 = 50;
/// For one of them.
const PATIENCE: Duration = Duration::from_secs(10);

/// Removes files whose retention is over, unless they are held.
pub(crate) async fn upkeep(auditor: &Auditor, desk: &Desk, now: DateTime<Utc>) -> anyhow::Result<()> {
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
    let due: Vec<(String, Uuid)> = sqlx::query_as(
        "select e.tenant, e.evidence_id from auditor.evidence e
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
    let store = desk.objects(EVIDENCE).await?;
    for (tenant, evidence_id) in &due {
        let name = name_of(tenant, *evidence_id);
        // One that is deleted already, by a round that ended before it could note so, is deleted again.
        let deleted = tokio::time::timeout(PATIENCE, store.delete(&name)).await;
        deleted.context("the object store does not answer")?.with_context(|| format!("{name} can't be deleted"))?;
    }
    let (tenants, ids): (Vec<String>, Vec<Uuid>) = due.iter().cloned().unzip();
    sqlx::query(
        "update auditor.evidence e set removed_at = $3 from unnest($1::text[], $2::uuid[]) as d (tenant, evidence_id)
         where e.tenant = d.tenant and e.evidence_id = d.evidence_id",
    )
    .bind(tenants)
    .bind(ids)
    .bind(now)
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    tracing::info!(files = due.len(), "files of evidence were removed: their retention is over");
    Ok(due.len())
}
