//! An incident, with the day by which people must be told if data about them is touched.

use chrono::TimeDelta;
use omnibus_runtime::{Cx, Events, Fail, Handle};
use omnibus_schemas::auditor::{IncidentReported, ReportIncident};

use crate::Auditor;
use crate::compliance::fault;
use crate::words::word;

/// People must be told within so many days of the day on which it was noticed: 45 CFR 164.404(b).
const TELL: TimeDelta = TimeDelta::days(60);
/// What a caller's clock may be ahead.
const SKEW: TimeDelta = TimeDelta::minutes(5);

impl Handle<ReportIncident> for Auditor {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: ReportIncident) -> Result<Events, Fail> {
        let (tenant, now, incident_id) = (cx.tenant(), cx.now(), cx.meta().id);
        let noticed_at = cmd.noticed_at.unwrap_or(now);
        if noticed_at > now + SKEW {
            return Err(fault("/noticed_at", "must not be in the future"));
        }
        let tell_by = cmd.personal_data.then(|| noticed_at + TELL);
        sqlx::query(
            "insert into auditor.incidents (tenant, incident_id, title, severity, state, reported_at, noticed_at, tell_by)
             values ($1, $2, $3, $4, 'open', $5, $6, $7)",
        )
        .bind(tenant)
        .bind(incident_id)
        .bind(&cmd.title)
        .bind(word(&cmd.severity))
        .bind(now)
        .bind(noticed_at)
        .bind(tell_by)
        .execute(cx.db())
        .await?;
        let event = IncidentReported { incident_id, severity: cmd.severity, noticed_at, tell_by };
        self.told(cx, incident_id.to_string(), event).await
    }
}
