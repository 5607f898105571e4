//! Audits from plan to close, and their findings.

use chrono::{DateTime, Utc};
use omnibus_runtime::{Answer, Ask, AskError, Cx, Events, Fail, Handle};
use omnibus_schemas::Token;
use omnibus_schemas::auditor::{
    AuditClosed, AuditItems, AuditPage, AuditPlanned, AuditReport, AuditSummary, Audits, CloseAudit, Finding,
    FindingMoved, FindingRecorded, FindingState, FindingStep, MoveFinding, PlanAudit, RecordFinding,
};
use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::book::book;
use super::evidence::token;
use super::{actor, fault};
use crate::Auditor;
use crate::cursor::Page;
use crate::store::count;
use crate::words::{read, word};

impl Handle<PlanAudit> for Auditor {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: PlanAudit) -> Result<Events, Fail> {
        let (tenant, now, audit_id, lead) = (cx.tenant(), cx.now(), cx.meta().id, actor(cx)?);
        if cmd.period_from >= cmd.period_to {
            return Err(fault("/period_to", "must be after period_from"));
        }
        let serves = |name: &Token| book().control(name).is_some_and(|c| !c.serves(cmd.framework).is_empty());
        if let Some(place) = cmd.scope.iter().position(|name| !serves(name)) {
            return Err(fault(
                &format!("/scope/{place}"),
                "there is no such control, or the framework does not ask it",
            ));
        }
        let mut scope = cmd.scope;
        if scope.is_empty() {
            scope = book().serving(cmd.framework).map(|control| control.control.clone()).collect();
        }
        scope.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        scope.dedup();
        sqlx::query(
            "insert into auditor.audits (tenant, audit_id, framework, title, scope, period_from, period_to, lead, planned_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        )
        .bind(tenant)
        .bind(audit_id)
        .bind(cmd.framework.as_str())
        .bind(&cmd.title)
        .bind(scope.iter().map(Token::as_str).collect::<Vec<_>>())
        .bind(cmd.period_from)
        .bind(cmd.period_to)
        .bind(&lead)
        .bind(now)
        .execute(cx.db())
        .await?;
        let event = AuditPlanned { audit_id, framework: cmd.framework, scope, lead };
        self.told(cx, audit_id.to_string(), event).await
    }
}

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

impl Handle<RecordFinding> for Auditor {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: RecordFinding) -> Result<Events, Fail> {
        let scope = open(cx, cmd.audit_id).await?;
        if !scope.contains(&cmd.control) {
            return Err(fault("/control", "is not in the scope of the audit"));
        }
        let (tenant, now, finding_id) = (cx.tenant(), cx.now(), cx.meta().id);
        sqlx::query(
            "insert into auditor.findings (tenant, finding_id, audit_id, control, severity, text, state, recorded_at, due_at)
             values ($1, $2, $3, $4, $5, $6, 'open', $7, $8)",
        )
        .bind(tenant)
        .bind(finding_id)
        .bind(cmd.audit_id)
        .bind(cmd.control.as_str())
        .bind(word(&cmd.severity))
        .bind(&cmd.text)
        .bind(now)
        .bind(cmd.due_at)
        .execute(cx.db())
        .await?;
        let event = FindingRecorded {
            audit_id: cmd.audit_id,
            finding_id,
            control: cmd.control,
            severity: cmd.severity,
            due_at: cmd.due_at,
        };
        self.told(cx, finding_id.to_string(), event).await
    }
}

impl Handle<MoveFinding> for Auditor {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: MoveFinding) -> Result<Events, Fail> {
        let by = actor(cx)?;
        open(cx, cmd.audit_id).await?;
        let tenant = cx.tenant();
        let row: Option<(String, Option<String>)> = sqlx::query_as(
            "select state, remedied_by from auditor.findings where tenant = $1 and audit_id = $2 and finding_id = $3",
        )
        .bind(tenant)
        .bind(cmd.audit_id)
        .bind(cmd.finding_id)
        .fetch_optional(cx.db())
        .await?;
        let none = || Fail::reject("no_such_finding", "finding_id: the audit has no finding of this id");
        let (state, remedied_by) = row.ok_or_else(none)?;
        let is: FindingState = read(&state)?;
        let to = match (cmd.step, is) {
            (FindingStep::Remedy, FindingState::Open) => FindingState::Remedied,
            (FindingStep::Verify, FindingState::Remedied) => FindingState::Verified,
            (FindingStep::Reopen, FindingState::Remedied | FindingState::Verified) => FindingState::Open,
            _ => return Err(Fail::reject("wrong_state", format!("step: the finding is {state}"))),
        };
        if to == FindingState::Verified && remedied_by.as_deref() == Some(by.as_str()) {
            return Err(Fail::reject("own_work", "step: who remedied a finding can not verify it"));
        }
        sqlx::query(
            "update auditor.findings set state = $3, note = $4,
                 remedied_by = case $3 when 'remedied' then $5 when 'open' then null else remedied_by end,
                 verified_by = case $3 when 'verified' then $5 end
             where tenant = $1 and finding_id = $2",
        )
        .bind(tenant)
        .bind(cmd.finding_id)
        .bind(word(&to))
        .bind(&cmd.note)
        .bind(&by)
        .execute(cx.db())
        .await?;
        let event = FindingMoved { audit_id: cmd.audit_id, finding_id: cmd.finding_id, state: to, by };
        self.told(cx, cmd.finding_id.to_string(), event).await
    }
}

impl Handle<CloseAudit> for Auditor {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: CloseAudit) -> Result<Events, Fail> {
        let by = actor(cx)?;
        let scope = open(cx, cmd.audit_id).await?;
        let (tenant, now) = (cx.tenant(), cx.now());
        let (findings, left): (i64, i64) = sqlx::query_as(
            "select count(*), count(*) filter (where state <> 'verified') from auditor.findings
             where tenant = $1 and audit_id = $2",
        )
        .bind(tenant)
        .bind(cmd.audit_id)
        .fetch_one(cx.db())
        .await?;
        if left > 0 {
            return Err(Fail::reject("open_findings", format!("audit_id: {left} findings are not verified")));
        }
        // That audits are closed can't be asked before one is.
        let scope: Vec<Token> = scope.into_iter().filter(|control| control.as_str() != "internal-audit").collect();
        self.demand(cx, &scope).await?;
        let head_size: Option<i64> = sqlx::query_scalar(
            "update auditor.audits set closed_at = $3, closed_by = $4, conclusion = $5,
                 head_size = (select size from auditor.heads where tenant = $1)
             where tenant = $1 and audit_id = $2 returning head_size",
        )
        .bind(tenant)
        .bind(cmd.audit_id)
        .bind(now)
        .bind(&by)
        .bind(&cmd.conclusion)
        .fetch_one(cx.db())
        .await?;
        let head_size = count(head_size.unwrap_or_default());
        let event = AuditClosed { audit_id: cmd.audit_id, findings: count(findings), head_size, by };
        self.told(cx, cmd.audit_id.to_string(), event).await
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
