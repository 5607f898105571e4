//! A finding is remedied by one and verified by another.

use omnibus_runtime::{Cx, Events, Fail, Handle};
use omnibus_schemas::auditor::{FindingMoved, FindingState, FindingStep, MoveFinding};

use super::open;
use crate::Auditor;
use crate::compliance::actor;
use crate::words::{read, word};

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
