//! Incidents from report to lesson.

mod move_incident;
mod report_incident;

use omnibus_runtime::{Answer, Ask, AskError};
use omnibus_schemas::auditor::{Incident, IncidentItems, Incidents};
use sqlx::Row;
use sqlx::postgres::PgRow;

use crate::Auditor;
use crate::cursor::Page;
use crate::words::read;

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
