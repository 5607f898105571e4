//! Audits from plan to close, and their findings.

mod close_audit;
mod move_finding;
mod plan_audit;
mod record_finding;

use chrono::{DateTime, Utc};
use omnibus_runtime::{Answer, Ask, AskError, Cx, Fail};
use omnibus_schemas::Token;
use omnibus_schemas::auditor::{AuditItems, AuditPage, AuditReport, AuditSummary, Audits, Finding};
use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::evidence::token;
use crate::Auditor;
use crate::cursor::Page;
use crate::store::count;
use crate::words::read;

/// The scope of an audit that is open; locks it, so that what it holds does not change before it is closed.
async fn open(cx: &mut Cx<'_>, audit_id: Uuid) -> Result<Vec<Token>, Fail> {
    let tenant = cx.tenant();
    let row: Option<(Vec<String>, Option<DateTime<Utc>>)> =
        sqlx::query_as("select scope, closed_at from auditor.audits where tenant = $1 and audit_id = $2 for update")
            .bind(tenant)
            .bind(audit_id)
            .fetch_optional(cx.db())
            .await?;
    match row {
        None => Err(Fail::reject("no_such_audit", "audit_id: there is no audit of this id")),
        Some((_, Some(_))) => Err(Fail::reject("audit_closed", "audit_id: the audit is closed")),
        Some((scope, None)) => scope.iter().map(|name| token(name).map_err(Fail::Retry)).collect(),
    }
}

const SUMMARY: &str = "select a.*, f.* from auditor.audits a cross join lateral (
         select count(*) as findings, count(*) filter (where state <> 'verified') as open_findings
         from auditor.findings f where f.tenant = a.tenant and f.audit_id = a.audit_id) f";

fn summary(row: &PgRow) -> anyhow::Result<AuditSummary> {
    let scope: Vec<String> = row.try_get("scope")?;
    Ok(AuditSummary {
        audit_id: row.try_get("audit_id")?,
        framework: read(row.try_get("framework")?)?,
        title: row.try_get("title")?,
        scope: scope.iter().map(|name| token(name)).collect::<anyhow::Result<_>>()?,
        period_from: row.try_get("period_from")?,
        period_to: row.try_get("period_to")?,
        lead: row.try_get("lead")?,
        planned_at: row.try_get("planned_at")?,
        closed_at: row.try_get("closed_at")?,
        conclusion: row.try_get("conclusion")?,
        findings: count(row.try_get("findings")?),
        open_findings: count(row.try_get("open_findings")?),
    })
}

impl Answer<Audits> for Auditor {
    async fn answer(&self, ask: &mut Ask<'_>, query: Audits) -> Result<AuditItems, AskError> {
        let page = Page::of(query.after.as_deref(), query.limit)?;
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
            "{SUMMARY} where a.tenant = $1 and ($2::timestamptz is null or (a.planned_at, a.audit_id) < ($2, $3))
             order by a.planned_at desc, a.audit_id desc limit $4"
        )))
        .bind(ask.tenant)
        .bind(page.at)
        .bind(page.id)
        .bind(page.rows())
        .fetch_all(&mut *ask.db)
        .await?;
        let mut items = rows.iter().map(summary).collect::<anyhow::Result<Vec<_>>>().map_err(AskError::Failed)?;
        let next = page.cut(&mut items, |item| (item.planned_at, item.audit_id));
        Ok(AuditItems { items, next })
    }
}

fn finding(row: &PgRow) -> anyhow::Result<Finding> {
    Ok(Finding {
        finding_id: row.try_get("finding_id")?,
        control: token(row.try_get("control")?)?,
        severity: read(row.try_get("severity")?)?,
        text: row.try_get("text")?,
        state: read(row.try_get("state")?)?,
        recorded_at: row.try_get("recorded_at")?,
        due_at: row.try_get("due_at")?,
        remedied_by: row.try_get("remedied_by")?,
        note: row.try_get("note")?,
    })
}

impl Answer<AuditPage> for Auditor {
    async fn answer(&self, ask: &mut Ask<'_>, query: AuditPage) -> Result<AuditReport, AskError> {
        let row = sqlx::query(sqlx::AssertSqlSafe(format!("{SUMMARY} where a.tenant = $1 and a.audit_id = $2")))
            .bind(ask.tenant)
            .bind(query.audit_id)
            .fetch_optional(&mut *ask.db)
            .await?;
        let row = row.ok_or_else(|| AskError::NotFound("there is no such audit".to_owned()))?;
        let rows = sqlx::query(
            "select * from auditor.findings where tenant = $1 and audit_id = $2 order by recorded_at, finding_id limit 500",
        )
        .bind(ask.tenant)
        .bind(query.audit_id)
        .fetch_all(&mut *ask.db)
        .await?;
        let findings = rows.iter().map(finding).collect::<anyhow::Result<_>>().map_err(AskError::Failed)?;
        Ok(AuditReport { audit: summary(&row).map_err(AskError::Failed)?, findings })
    }
}
