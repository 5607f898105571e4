//! Contained, resolved, told of, closed.

use chrono::{DateTime, Utc};
use omnibus_runtime::{Cx, Events, Fail, Handle};
use omnibus_schemas::auditor::{IncidentMoved, IncidentState, IncidentStep, MoveIncident};

use crate::Auditor;
use crate::compliance::actor;
use crate::words::{read, word};

impl Handle<MoveIncident> for Auditor {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: MoveIncident) -> Result<Events, Fail> {
        let (tenant, now, by) = (cx.tenant(), cx.now(), actor(cx)?);
        type Stands = (String, Option<DateTime<Utc>>, Option<DateTime<Utc>>);
        let row: Option<Stands> = sqlx::query_as(
            "select state, tell_by, told_at from auditor.incidents where tenant = $1 and incident_id = $2 for update",
        )
        .bind(tenant)
        .bind(cmd.incident_id)
        .fetch_optional(cx.db())
        .await?;
        let none = || Fail::reject("no_such_incident", "incident_id: there is no incident of this id");
        let (word_of_state, tell_by, told_at) = row.ok_or_else(none)?;
        let is: IncidentState = read(&word_of_state)?;
        let to = match (cmd.step, is) {
            (IncidentStep::Contain, IncidentState::Open) => IncidentState::Contained,
            (IncidentStep::Resolve, IncidentState::Contained) => IncidentState::Resolved,
            (IncidentStep::Close, IncidentState::Resolved) => IncidentState::Closed,
            (IncidentStep::Tell, state) if state != IncidentState::Closed => state,
            _ => return Err(Fail::reject("wrong_state", format!("step: the incident is {word_of_state}"))),
        };
        if cmd.step == IncidentStep::Tell && tell_by.is_none() {
            return Err(Fail::reject("nobody_to_tell", "step: the incident touches no data about people"));
        }
        if to == IncidentState::Closed && tell_by.is_some() && told_at.is_none() {
            return Err(Fail::reject("not_told", "step: those whose data was touched must be told before"));
        }
        let told = (cmd.step == IncidentStep::Tell).then_some(now);
        sqlx::query(
            "update auditor.incidents set state = $3, note = $4, told_at = coalesce(told_at, $5)
             where tenant = $1 and incident_id = $2",
        )
        .bind(tenant)
        .bind(cmd.incident_id)
        .bind(word(&to))
        .bind(&cmd.note)
        .bind(told)
        .execute(cx.db())
        .await?;
        let event = IncidentMoved { incident_id: cmd.incident_id, step: cmd.step, state: to, by };
        self.told(cx, cmd.incident_id.to_string(), event).await
    }
}
