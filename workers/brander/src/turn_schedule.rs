//! A schedule's time has come: its version becomes the active one, or the one before it comes back.

use std::time::Duration;

use omnibus_runtime::{CallError, Cx, Effect, Events, Fail, Found, Meta, Policy, Prepared, Settled, WhenUncertain};
use omnibus_schemas::brander::{ScheduleSkipped, Turn, TurnSchedule, Why};
use sqlx::Row;

use crate::Brander;
use crate::activation::{POLICY, Put, Switch, Target, current, lock, opened, seen};

impl Effect<TurnSchedule> for Brander {
    const POLICY: Policy = POLICY;

    type Plan = Switch;
    type Done = Put;

    async fn prepare(&self, cx: &mut Cx<'_>, cmd: TurnSchedule) -> Result<Prepared<Switch>, Fail> {
        let TurnSchedule { schedule_id, turn } = cmd;
        lock(cx).await?;
        if opened(cx).await? {
            return self.open(cx, Target::Version(None, Why::Scheduled)).await;
        }
        let row = sqlx::query(
            "select version, status, revision, ends_at is not null as ends
             from brander.schedules where tenant = $1 and schedule_id = $2 for update",
        )
        .bind(cx.tenant())
        .bind(schedule_id)
        .fetch_optional(cx.db())
        .await?;
        let row = row.ok_or_else(|| Fail::reject("schedule_unknown", "there is no schedule of that id"))?;
        let (version, status): (i32, String) = (row.try_get("version")?, row.try_get("status")?);
        let skip = |why: &str| {
            let event = ScheduleSkipped { schedule_id, turn, why: why.to_owned() };
            Ok(Prepared::Skip(Events::none().about(schedule_id.to_string(), event)))
        };
        match (turn, status.as_str()) {
            (_, "cancelled") => skip("cancelled"),
            (Turn::Begin, "waiting") => {
                let target = Target::Version(Some(version.unsigned_abs()), Why::Scheduled);
                let switch = self.open(cx, target).await?;
                if let Prepared::Go(switch, _) = &switch {
                    // One without an end has nothing left to do, and is none of the so many that a tenant may have.
                    let begun = if row.try_get::<bool, _>("ends")? { "running" } else { "over" };
                    set(cx, &cmd, begun, i64::try_from(switch.brand.revision).ok()).await?;
                }
                Ok(switch)
            }
            // The end may be delivered while the beginning is still being tried.
            (Turn::End, "waiting") => Err(Fail::Snooze(Duration::from_secs(5))),
            (Turn::End, "running") => {
                let ours: Option<i64> = row.try_get("revision")?;
                let Some(standing) = current(cx).await? else {
                    set(cx, &cmd, "skipped", ours).await?;
                    return skip("another_is_active");
                };
                if Some(standing.revision) != ours {
                    set(cx, &cmd, "over", ours).await?;
                    // Whoever came after it must not go back to a look whose time is over.
                    sqlx::query(
                        "update brander.activations set back =
                             (select back from brander.activations where tenant = $1 and revision = $2)
                         where tenant = $1 and back = $2",
                    )
                    .bind(cx.tenant())
                    .bind(ours)
                    .execute(cx.db())
                    .await?;
                    return skip("another_is_active");
                }
                set(cx, &cmd, "over", ours).await?;
                match seen(cx, standing.back).await? {
                    Some(back) => self.open(cx, Target::Back(back, Why::Reverted)).await,
                    None => skip("nothing_before"),
                }
            }
            _ => skip("already_turned"),
        }
    }

    async fn perform(&self, _: &Meta, switch: &Switch) -> Result<Put, CallError> {
        self.put(switch).await
    }

    async fn record(&self, cx: &mut Cx<'_>, switch: Switch, put: Put) -> Result<Events, Fail> {
        self.close(cx, &switch, put).await
    }

    async fn reconcile(&self, _: &Meta, switch: &Switch) -> Result<Found<Put>, Fail> {
        self.look_up(switch).await
    }

    fn when_uncertain(&self, _: &Switch) -> WhenUncertain {
        WhenUncertain::Resend
    }

    async fn settle(&self, cx: &mut Cx<'_>, _: Option<Switch>, how: &Settled) -> Result<Events, Fail> {
        self.give_up(cx, how).await
    }
}

async fn set(cx: &mut Cx<'_>, cmd: &TurnSchedule, status: &str, revision: Option<i64>) -> Result<(), Fail> {
    sqlx::query("update brander.schedules set status = $3, revision = $4 where tenant = $1 and schedule_id = $2")
        .bind(cx.tenant())
        .bind(cmd.schedule_id)
        .bind(status)
        .bind(revision)
        .execute(cx.db())
        .await?;
    Ok(())
}
