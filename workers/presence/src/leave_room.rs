//! Out of a room.

use omnibus_runtime::{Cx, Events, Fail, Handle};
use omnibus_schemas::Token;
use omnibus_schemas::presence::{Kind, LeaveRoom, Role, RoomLeft, What};

use crate::Presence;
use crate::channel::{entry, hold, next};
use crate::who::{acting, role, token};

impl Handle<LeaveRoom> for Presence {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: LeaveRoom) -> Result<Events, Fail> {
        let user = acting(cx.meta(), cmd.user)?;
        let (tenant, room) = (cx.tenant(), cmd.room_id);
        hold(cx, &room).await?;
        let Some(role) = role(cx.db(), tenant, &room, user.as_str()).await? else { return Ok(Events::none()) };
        let revision = next(cx, Kind::Room, room.as_str()).await?;
        sqlx::query("delete from presence.members where tenant = $1 and room_id = $2 and user_id = $3")
            .bind(tenant)
            .bind(room.as_str())
            .bind(user.as_str())
            .execute(cx.db())
            .await?;
        let moderator = match role {
            Role::Moderator => successor(cx, &room).await?,
            Role::Member => None,
        };
        Ok(entry(cx, Kind::Room, room.as_str(), revision, What::Left { user: user.clone() })
            .about(room.as_str(), RoomLeft { room_id: room.clone(), user, revision, moderator }))
    }
}

/// After the last moderator, who has been there longest is the next.
async fn successor(cx: &mut Cx<'_>, room: &Token) -> Result<Option<Token>, Fail> {
    let tenant = cx.tenant();
    let next: Option<String> = sqlx::query_scalar(
        "update presence.members set role = 'moderator'
         where tenant = $1 and room_id = $2
           and user_id = (select user_id from presence.members where tenant = $1 and room_id = $2
                          order by joined_at, user_id limit 1)
           and not exists (select from presence.members where tenant = $1 and room_id = $2 and role = 'moderator')
         returning user_id",
    )
    .bind(tenant)
    .bind(room.as_str())
    .fetch_optional(cx.db())
    .await?;
    Ok(next.map(token).transpose()?)
}
