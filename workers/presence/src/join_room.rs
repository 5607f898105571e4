//! Into a room.

use omnibus_runtime::{Answer, Ask, AskError, Cx, Events, Fail, Handle};
use omnibus_schemas::Token;
use omnibus_schemas::presence::{JoinRoom, Kind, Membership, Role, RoomJoined, Seat, What};

use crate::Presence;
use crate::channel::{entry, next};
use crate::direct::is_direct;
use crate::who::{acting, role, role_word};

impl Handle<JoinRoom> for Presence {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: JoinRoom) -> Result<Events, Fail> {
        let user = acting(cx, cmd.user)?;
        let (tenant, room) = (cx.tenant(), cmd.room_id);
        if is_direct(&room) {
            return Err(Fail::reject("room_of_two", "the room is two users' own: open it with open_direct"));
        }
        if role(cx.db(), tenant, &room, user.as_str()).await?.is_some() {
            return Ok(Events::none());
        }
        // The lock on the room's row comes first, so that only one can be the first.
        let revision = next(cx, Kind::Room, room.as_str()).await?;
        let empty: bool =
            sqlx::query_scalar("select not exists (select from presence.members where tenant = $1 and room_id = $2)")
                .bind(tenant)
                .bind(room.as_str())
                .fetch_one(cx.db())
                .await?;
        let role = if empty { Role::Moderator } else { Role::Member };
        seat(cx, &room, &user, role, revision).await?;
        Ok(entry(cx, Kind::Room, room.as_str(), revision, What::Joined { user: user.clone() })
            .about(room.as_str(), RoomJoined { room_id: room.clone(), user, role, revision }))
    }
}

/// Puts a user into a room that he is not in. What was said before counts as read.
pub(crate) async fn seat(cx: &mut Cx<'_>, room: &Token, user: &Token, role: Role, revision: i64) -> Result<(), Fail> {
    let (tenant, now) = (cx.tenant(), cx.now());
    // Whoever joined twice at once finds the other's row here, fails, and is handled again.
    sqlx::query(
        "insert into presence.members (tenant, room_id, user_id, role, joined_at, read_upto)
         values ($1, $2, $3, $4, $5, $6)",
    )
    .bind(tenant)
    .bind(room.as_str())
    .bind(user.as_str())
    .bind(role_word(role))
    .bind(now)
    .bind(revision)
    .execute(cx.db())
    .await?;
    Ok(())
}

impl Answer<Seat> for Presence {
    async fn answer(&self, ask: &mut Ask<'_>, query: Seat) -> Result<Membership, AskError> {
        let role = role(ask.db, ask.tenant, &query.room_id, query.user.as_str()).await?;
        role.map(|role| Membership { role }).ok_or_else(|| AskError::NotFound("not a member".to_owned()))
    }
}
