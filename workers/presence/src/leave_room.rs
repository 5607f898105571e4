//! Out of a room.

use omnibus_runtime::{Cx, Events, Fail, Handle};
use omnibus_schemas::presence::{Kind, LeaveRoom, RoomLeft, What};

use crate::Presence;
use crate::channel::{entry, next};
use crate::who::acting;

impl Handle<LeaveRoom> for Presence {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: LeaveRoom) -> Result<Events, Fail> {
        let user = acting(cx, cmd.user)?;
        let (tenant, room) = (cx.tenant(), cmd.room_id);
        let gone = sqlx::query("delete from presence.members where tenant = $1 and room_id = $2 and user_id = $3")
            .bind(tenant)
            .bind(room.as_str())
            .bind(user.as_str())
            .execute(cx.db())
            .await?;
        if gone.rows_affected() == 0 {
            return Ok(Events::none());
        }
        let revision = next(cx, Kind::Room, room.as_str()).await?;
        Ok(entry(cx, Kind::Room, room.as_str(), revision, What::Left { user: user.clone() })
            .about(room.as_str(), RoomLeft { room_id: room.clone(), user, revision }))
    }
}
