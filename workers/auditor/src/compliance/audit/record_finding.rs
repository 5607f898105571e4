//! What an open audit finds, about a control of its scope.

use omnibus_runtime::{Cx, Events, Fail, Handle};
use omnibus_schemas::auditor::{FindingRecorded, RecordFinding};

use super::open;
use crate::Auditor;
use crate::compliance::fault;
use crate::words::word;

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
