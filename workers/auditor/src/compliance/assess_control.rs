//! Says that a control stands elsewhere than was said last. One at a time for each control, in the transaction that writes
//! the change, so that each change is said once.

use chrono::{DateTime, Utc};
use omnibus_runtime::{Cx, Events, Fail, Handle};
use omnibus_schemas::auditor::{AssessControl, ControlStatusChanged, Standing};

use super::book::book;
use super::facts::Facts;
use super::fault;
use super::judge::Judge;
use crate::Auditor;
use crate::store::{count, number};

impl Handle<AssessControl> for Auditor {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: AssessControl) -> Result<Events, Fail> {
        let control = book().control(&cmd.control).ok_or_else(|| fault("/control", "there is no such control"))?;
        let tenant = cx.tenant();
        let lock = format!("omnibus.auditor.control.{tenant}.{}", cmd.control);
        sqlx::query("select pg_advisory_xact_lock(hashtextextended($1, 0))").bind(lock).execute(cx.db()).await?;
        let last: Option<(i64, String, DateTime<Utc>)> = sqlx::query_as(
            "select revision, status, changed_at from auditor.control_changes where tenant = $1 and control = $2
             order by revision desc limit 1",
        )
        .bind(tenant)
        .bind(cmd.control.as_str())
        .fetch_optional(cx.db())
        .await?;
        let now = cx.now();
        let facts = Facts::gather(cx.db(), tenant, now).await?;
        let judge = Judge { tenant, now, retention_days: self.settings.audit_retention_days, facts: &facts };
        let verdict = judge.control(book(), control);
        let was = last.as_ref().and_then(|(_, status, _)| Standing::parse(status));
        if was.unwrap_or(Standing::Missing) == verdict.standing {
            return Ok(Events::none());
        }
        let revision = last.as_ref().map_or(1, |(revision, ..)| revision + 1);
        // A publisher's clock does not turn the order of changes round.
        let changed_at = last.map_or(now, |(.., before)| before.max(now));
        sqlx::query(
            "insert into auditor.control_changes
                 (tenant, control, revision, was, status, detail, evidence_log, evidence_idx, changed_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        )
        .bind(tenant)
        .bind(cmd.control.as_str())
        .bind(revision)
        .bind(was.map(Standing::as_str))
        .bind(verdict.standing.as_str())
        .bind(&verdict.detail)
        .bind(verdict.evidence.as_ref().map(|link| link.log.as_str()))
        .bind(verdict.evidence.as_ref().map(|link| number(link.index)))
        .bind(changed_at)
        .execute(cx.db())
        .await?;
        let event = ControlStatusChanged {
            control: cmd.control,
            was,
            status: verdict.standing,
            detail: verdict.detail,
            revision: count(revision),
            evidence: verdict.evidence,
        };
        self.told(cx, event.control.to_string(), event).await
    }
}
