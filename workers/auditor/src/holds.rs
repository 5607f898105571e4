//! Legal holds. A hold that is lifted stays on file.

use omnibus_runtime::{Cx, Events, Fail, Handle};
use omnibus_schemas::auditor::{HoldLifted, HoldPlaced, LiftHold, PlaceHold};

use crate::Auditor;

impl Handle<PlaceHold> for Auditor {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: PlaceHold) -> Result<Events, Fail> {
        let (tenant, now, hold_id) = (cx.tenant(), cx.now(), cx.meta().id);
        sqlx::query(
            "insert into auditor.holds (tenant, hold_id, reason, placed_at) values ($1, $2, $3, $4)
             on conflict do nothing",
        )
        .bind(tenant)
        .bind(hold_id)
        .bind(&cmd.reason)
        .bind(now)
        .execute(cx.db())
        .await?;
        let event = HoldPlaced { hold_id, reason: cmd.reason };
        self.record(cx, hold_id.to_string(), &event).await?;
        Ok(Events::none().about(hold_id.to_string(), event))
    }
}

impl Handle<LiftHold> for Auditor {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: LiftHold) -> Result<Events, Fail> {
        let (tenant, now) = (cx.tenant(), cx.now());
        let lifted = sqlx::query(
            "update auditor.holds set lifted_at = $3 where tenant = $1 and hold_id = $2 and lifted_at is null",
        )
        .bind(tenant)
        .bind(cmd.hold_id)
        .bind(now)
        .execute(cx.db())
        .await?;
        if lifted.rows_affected() == 0 {
            return Err(Fail::reject("no_such_hold", "hold_id: no hold of this id is in force"));
        }
        let event = HoldLifted { hold_id: cmd.hold_id, reason: cmd.reason };
        self.record(cx, cmd.hold_id.to_string(), &event).await?;
        Ok(Events::none().about(cmd.hold_id.to_string(), event))
    }
}
