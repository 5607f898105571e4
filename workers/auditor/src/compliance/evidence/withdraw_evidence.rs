//! Evidence that is taken back stays on file.

use omnibus_runtime::{Cx, Events, Fail, Handle};
use omnibus_schemas::auditor::{EvidenceWithdrawn, WithdrawEvidence};

use super::token;
use crate::Auditor;

impl Handle<WithdrawEvidence> for Auditor {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: WithdrawEvidence) -> Result<Events, Fail> {
        let (tenant, now) = (cx.tenant(), cx.now());
        let control: Option<String> = sqlx::query_scalar(
            "update auditor.evidence set withdrawn_at = $3, reason = $4
             where tenant = $1 and evidence_id = $2 and withdrawn_at is null returning control",
        )
        .bind(tenant)
        .bind(cmd.evidence_id)
        .bind(now)
        .bind(&cmd.reason)
        .fetch_optional(cx.db())
        .await?;
        let none = || Fail::reject("no_such_evidence", "evidence_id: there is none of this id, or it was taken back");
        let control = token(&control.ok_or_else(none)?).map_err(Fail::Retry)?;
        let event = EvidenceWithdrawn { evidence_id: cmd.evidence_id, control, reason: cmd.reason };
        self.told(cx, cmd.evidence_id.to_string(), event).await
    }
}
