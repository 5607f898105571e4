//! How far somebody has read.

use omnibus_runtime::{Cx, Events, Fail, Handle};
use omnibus_schemas::presence::{MarkRead, RoomRead};

use crate::Presence;
use crate::who::{acting, member};

impl Handle<MarkRead> for Presence {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: MarkRead) -> Result<Events, Fail> {
        let user = acting(cx, cmd.user)?;
        let (tenant, room) = (cx.tenant(), cmd.room_id);
        member(cx, &room, &user).await?;
        // Nobody has read what is not written yet.
        let moved: Option<i64> = sqlx::query_scalar(
            "update presence.members m set read_upto = least($4, c.revision)
             from presence.channels c
             where c.tenant = m.tenant and c.kind = 'room' and c.id = m.room_id
               and m.tenant = $1 and m.room_id = $2 and m.user_id = $3 and m.read_upto < least($4, c.revision)
             returning m.read_upto",
        )
        .bind(tenant)
        .bind(room.as_str())
        .bind(user.as_str())
        .bind(cmd.revision)
        .fetch_optional(cx.db())
        .await?;
        Ok(match moved {
            Some(revision) => Events::none().about(room.as_str(), RoomRead { room_id: room.clone(), user, revision }),
            None => Events::none(),
        })
    }
}
