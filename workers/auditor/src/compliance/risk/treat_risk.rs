//! What is done about a risk, until it is looked at again.

use chrono::TimeDelta;
use omnibus_runtime::{Cx, Events, Fail, Handle};
use omnibus_schemas::auditor::{RiskTreated, TreatRisk};

use crate::Auditor;
use crate::compliance::{actor, fault};
use crate::words::word;

/// A decision holds for so long at most.
const HOLDS: TimeDelta = TimeDelta::days(366);

impl Handle<TreatRisk> for Auditor {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: TreatRisk) -> Result<Events, Fail> {
        let (tenant, now, by) = (cx.tenant(), cx.now(), actor(cx)?);
        if cmd.review_by <= now || cmd.review_by > now + HOLDS {
            return Err(fault("/review_by", "must be ahead, and at most a year"));
        }
        let done = sqlx::query(
            "update auditor.risks set treatment = $3, note = $4, treated_by = $5, review_by = $6
             where tenant = $1 and risk_id = $2",
        )
        .bind(tenant)
        .bind(cmd.risk_id)
        .bind(word(&cmd.treatment))
        .bind(&cmd.note)
        .bind(&by)
        .bind(cmd.review_by)
        .execute(cx.db())
        .await?;
        if done.rows_affected() == 0 {
            return Err(Fail::reject("no_such_risk", "risk_id: the register has no risk of this id"));
        }
        let event = RiskTreated { risk_id: cmd.risk_id, treatment: cmd.treatment, review_by: cmd.review_by, by };
        self.told(cx, cmd.risk_id.to_string(), event).await
    }
}
