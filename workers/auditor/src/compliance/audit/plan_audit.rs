//! A plan: framework, scope and period. Without a scope, all that serves the framework.

use omnibus_runtime::{Cx, Events, Fail, Handle};
use omnibus_schemas::Token;
use omnibus_schemas::auditor::{AuditPlanned, PlanAudit};

use crate::Auditor;
use crate::compliance::book::book;
use crate::compliance::{actor, fault};

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
