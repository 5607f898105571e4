//! The tenant's schedules, newest first.

use omnibus_runtime::{Answer, Ask, AskError};
use omnibus_schemas::brander::{ScheduleRow, Schedules, SchedulesPage};
use sqlx::Row;

use crate::Brander;

impl Answer<Schedules> for Brander {
    async fn answer(&self, ask: &mut Ask<'_>, query: Schedules) -> Result<SchedulesPage, AskError> {
        let rows = sqlx::query(
            "select schedule_id, version, starts_at, ends_at, status from brander.schedules
             where tenant = $1 and ($2::uuid is null or (starts_at, schedule_id) <
                 (select starts_at, schedule_id from brander.schedules where tenant = $1 and schedule_id = $2))
             order by starts_at desc, schedule_id desc limit $3",
        )
        .bind(ask.tenant)
        .bind(query.after)
        .bind(i64::from(query.limit) + 1)
        .fetch_all(&mut *ask.db)
        .await?;
        let limit = query.limit as usize;
        let schedules: Result<Vec<_>, sqlx::Error> = rows
            .iter()
            .take(limit)
            .map(|row| {
                Ok(ScheduleRow {
                    schedule_id: row.try_get("schedule_id")?,
                    version: row.try_get::<i32, _>("version")?.unsigned_abs(),
                    from: row.try_get("starts_at")?,
                    until: row.try_get("ends_at")?,
                    status: row.try_get("status")?,
                })
            })
            .collect();
        let schedules = schedules?;
        let next = if rows.len() > limit { schedules.last().map(|row| row.schedule_id) } else { None };
        Ok(SchedulesPage { schedules, next })
    }
}
