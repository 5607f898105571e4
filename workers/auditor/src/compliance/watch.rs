//! The watch: one among all replicas reads every log on, and has each control assessed that stands elsewhere than was said
//! last. What it finds it does not say itself: a command does, so that a change is said once, whatever is killed when.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use omnibus_runtime::{Desk, clock};
use omnibus_schemas::auditor::{AssessControl, Standing};
use uuid::Uuid;

use super::book::book;
use super::facts::Facts;
use super::judge::Judge;
use super::{follow, roster};
use crate::Auditor;

pub(crate) async fn run(auditor: Arc<Auditor>, desk: Desk) -> anyhow::Result<()> {
    let Some(every) = auditor.settings.watches_every() else { return Ok(()) };
    let Some(mut alone) = desk.alone("watch").await? else { return Ok(()) };
    loop {
        alone.still().await?;
        round(&auditor, &desk, every).await?;
        if !desk.pause(every).await {
            return Ok(());
        }
    }
}

async fn round(auditor: &Auditor, desk: &Desk, every: Duration) -> anyhow::Result<()> {
    if let Err(error) = roster::copy(desk, clock::now()).await {
        // The checks of keys go stale by themselves.
        tracing::warn!(%error, "the keys could not be read");
    }
    let behind: Vec<String> = sqlx::query_scalar(
        "select h.tenant from auditor.heads h left join auditor.watched w using (tenant)
         where w.next_idx is null or w.next_idx < h.size order by h.tenant",
    )
    .fetch_all(&desk.db)
    .await?;
    for tenant in &behind {
        // What comes meanwhile is for the next round: who ran after a log that grows would keep what makes it grow from its
        // work.
        let now = clock::now();
        let size: i64 = sqlx::query_scalar("select size from auditor.heads where tenant = $1")
            .bind(tenant)
            .fetch_one(&desk.db)
            .await?;
        while follow::follow(&desk.db, tenant, size, now).await? {
            if desk.stop.is_cancelled() {
                return Ok(());
            }
        }
    }
    sqlx::query(
        "update auditor.watched w set read_at = $1 from auditor.heads h
         where h.tenant = w.tenant and w.next_idx >= h.size and w.read_at < $1",
    )
    .bind(clock::now())
    .execute(&desk.db)
    .await?;
    let tenants: Vec<String> =
        sqlx::query_scalar("select tenant from auditor.heads order by tenant").fetch_all(&desk.db).await?;
    for tenant in &tenants {
        assess(auditor, desk, tenant, clock::now(), every).await?;
    }
    Ok(())
}

/// Asks for each control's assessment whose status has changed. The command's id is derived from the change and the round,
/// so that a control which changes there and back again is assessed each time.
async fn assess(
    auditor: &Auditor,
    desk: &Desk,
    tenant: &str,
    now: DateTime<Utc>,
    every: Duration,
) -> anyhow::Result<()> {
    let mut transaction = desk.db.begin().await?;
    let facts = Facts::gather(&mut transaction, tenant, now).await?;
    let rows: Vec<(String, i64, String)> = sqlx::query_as(
        "select distinct on (control) control, revision, status from auditor.control_changes
         where tenant = $1 order by control, revision desc",
    )
    .bind(tenant)
    .fetch_all(&mut *transaction)
    .await?;
    transaction.commit().await?;
    let last: HashMap<String, (i64, String)> =
        rows.into_iter().map(|(control, revision, status)| (control, (revision, status))).collect();
    let judge = Judge { tenant, now, retention_days: auditor.settings.audit_retention_days, facts: &facts };
    let occasion = now.timestamp() / i64::try_from(every.as_secs().max(1))?;
    for control in &book().controls {
        let (revision, was) = match last.get(control.control.as_str()) {
            Some((revision, was)) => (*revision, Standing::parse(was)),
            None => (0, Some(Standing::Missing)),
        };
        let is = judge.control(book(), control).standing;
        if was == Some(is) {
            continue;
        }
        let name = format!("auditor/{tenant}/{}/{revision}/{}/{occasion}", control.control, is.as_str());
        let id = Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes());
        desk.publish(tenant, id, &AssessControl { control: control.control.clone() }).await?;
    }
    Ok(())
}
