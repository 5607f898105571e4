//! An audit closes once every finding is verified, and keeps the size of the log at that moment.

use omnibus_runtime::{Cx, Events, Fail, Handle};
use omnibus_schemas::Token;
use omnibus_schemas::auditor::{AuditClosed, CloseAudit};

use super::open;
use crate::Auditor;
use crate::compliance::actor;
use crate::store::count;

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
