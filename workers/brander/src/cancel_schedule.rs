//! Lets a schedule go. Its turns come all the same, and find that there is nothing to do.

use omnibus_runtime::{Cx, Events, Fail, Handle};
use omnibus_schemas::brander::{CancelSchedule, ScheduleCancelled};

use crate::Brander;

impl Handle<CancelSchedule> for Brander {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: CancelSchedule) -> Result<Events, Fail> {
        let cancelled = sqlx::query(
            "update brander.schedules set status = 'cancelled'
             where tenant = $1 and schedule_id = $2 and status in ('waiting', 'running')",
        )
        .bind(cx.tenant())
        .bind(cmd.schedule_id)
        .execute(cx.db())
        .await?;
        if cancelled.rows_affected() == 0 {
            return Err(Fail::reject("schedule_unknown", "no schedule of that id waits or runs"));
        }
        let schedule_id = cmd.schedule_id;
        Ok(Events::none().about(schedule_id.to_string(), ScheduleCancelled { schedule_id }))
    }
}
