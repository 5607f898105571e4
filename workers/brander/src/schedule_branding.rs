//! A look at a set time. The bus's own schedule brings the two turns; what they find then decides what they do.

use chrono::TimeDelta;
use omnibus_runtime::{Cx, Events, Fail, Handle};
use omnibus_schemas::brander::{BrandingScheduled, ScheduleBranding, Turn, TurnSchedule};
use uuid::Uuid;

use crate::Brander;
use crate::look::contrast;
use crate::version::Version;

/// Schedules of one tenant that wait or run, at most.
const MOST: i64 = 100;

impl Handle<ScheduleBranding> for Brander {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: ScheduleBranding) -> Result<Events, Fail> {
        let ScheduleBranding { version, from, until } = cmd;
        if from <= cx.now() || from > cx.now() + TimeDelta::days(731) {
            return Err(Fail::reject("time", "/from: must be later than now and within two years"));
        }
        if until.is_some_and(|until| until < from + TimeDelta::minutes(1)) {
            return Err(Fail::reject("time", "/until: must be at least a minute after /from"));
        }
        let tenant = cx.tenant();
        let found = Version::find(cx.db(), tenant, Some(version)).await?;
        let found = found.ok_or_else(|| Fail::reject("version_unknown", format!("there is no version {version}")))?;
        let faults = contrast::faults(&found.look);
        if !faults.is_empty() {
            let words: Vec<_> = faults.iter().map(contrast::words).collect();
            return Err(Fail::reject("contrast", words.join("; ")));
        }
        found.hold_whole(cx).await?;
        let waiting: i64 = sqlx::query_scalar(
            "select count(*) from brander.schedules where tenant = $1 and status in ('waiting', 'running')",
        )
        .bind(cx.tenant())
        .fetch_one(cx.db())
        .await?;
        if waiting >= MOST {
            return Err(Fail::reject("too_many_schedules", format!("{MOST} schedules wait already; cancel one")));
        }
        let schedule_id = Uuid::new_v5(&cx.id("schedule"), cx.tenant().as_bytes());
        sqlx::query(
            "insert into brander.schedules (tenant, schedule_id, version, starts_at, ends_at, status, created_at)
             values ($1, $2, $3, $4, $5, 'waiting', $6)",
        )
        .bind(cx.tenant())
        .bind(schedule_id)
        .bind(i32::try_from(version)?)
        .bind(from)
        .bind(until)
        .bind(cx.now())
        .execute(cx.db())
        .await?;
        let events = Events::none()
            .about(schedule_id.to_string(), BrandingScheduled { schedule_id, version, from, until })
            .then_at(from, TurnSchedule { schedule_id, turn: Turn::Begin });
        Ok(match until {
            Some(until) => events.then_at(until, TurnSchedule { schedule_id, turn: Turn::End }),
            None => events,
        })
    }
}
