//! Incidents from report to lesson.

use chrono::{DateTime, TimeDelta, Utc};
use omnibus_runtime::{Answer, Ask, AskError, Cx, Events, Fail, Handle};
use omnibus_schemas::auditor::{
    Incident, IncidentItems, IncidentMoved, IncidentReported, IncidentState, IncidentStep, Incidents, MoveIncident,
    ReportIncident,
};
use sqlx::Row;
use sqlx::postgres::PgRow;

use super::{actor, fault};
use crate::Auditor;
use crate::cursor::Page;
use crate::words::{read, word};

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

fn incident(row: &PgRow) -> Result<Incident, sqlx::Error> {
    Ok(Incident {
        incident_id: row.try_get("incident_id")?,
        title: row.try_get("title")?,
        severity: read(row.try_get("severity")?)?,
        state: read(row.try_get("state")?)?,
        reported_at: row.try_get("reported_at")?,
        noticed_at: row.try_get("noticed_at")?,
        tell_by: row.try_get("tell_by")?,
        told_at: row.try_get("told_at")?,
        note: row.try_get("note")?,
    })
}

impl Answer<Incidents> for Auditor {
    async fn answer(&self, ask: &mut Ask<'_>, query: Incidents) -> Result<IncidentItems, AskError> {
        let page = Page::of(query.after.as_deref(), query.limit)?;
        let rows = sqlx::query(
            "select * from auditor.incidents
             where tenant = $1 and ($2::timestamptz is null or (reported_at, incident_id) < ($2, $3))
             order by reported_at desc, incident_id desc limit $4",
        )
        .bind(ask.tenant)
        .bind(page.at)
        .bind(page.id)
        .bind(page.rows())
        .fetch_all(&mut *ask.db)
        .await?;
        let mut items = rows.iter().map(incident).collect::<Result<Vec<_>, _>>()?;
        let next = page.cut(&mut items, |item| (item.reported_at, item.incident_id));
        Ok(IncidentItems { items, next })
    }
}
