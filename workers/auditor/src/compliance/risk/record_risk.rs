//! A risk comes into the register, rated.

use omnibus_runtime::{Cx, Events, Fail, Handle};
use omnibus_schemas::Token;
use omnibus_schemas::auditor::{RecordRisk, RiskRecorded};

use crate::Auditor;
use crate::compliance::book::book;
use crate::compliance::fault;

impl Handle<RecordRisk> for Auditor {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: RecordRisk) -> Result<Events, Fail> {
        if cmd.control.as_ref().is_some_and(|control| book().control(control).is_none()) {
            return Err(fault("/control", "there is no such control"));
        }
        let (tenant, now, risk_id) = (cx.tenant(), cx.now(), cx.meta().id);
        sqlx::query(
            "insert into auditor.risks (tenant, risk_id, title, control, likelihood, impact, owner, recorded_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(tenant)
        .bind(risk_id)
        .bind(&cmd.title)
        .bind(cmd.control.as_ref().map(Token::as_str))
        .bind(i16::from(cmd.likelihood))
        .bind(i16::from(cmd.impact))
        .bind(&cmd.owner)
        .bind(now)
        .execute(cx.db())
        .await?;
        let score = u32::from(cmd.likelihood) * u32::from(cmd.impact);
        self.told(cx, risk_id.to_string(), RiskRecorded { risk_id, control: cmd.control, score }).await
    }
}
