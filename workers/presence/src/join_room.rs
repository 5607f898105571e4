//! Into a room.

use omnibus_runtime::{Answer, Ask, AskError, Cx, Events, Fail, Handle};
use omnibus_schemas::Token;
use omnibus_schemas::presence::{DIRECT, JoinRoom, Kind, Membership, Role, RoomJoined, Seat, What};

use crate::Presence;
use crate::channel::{enter, entry, next};
use crate::direct::is_direct;
use crate::who::{acting, role, role_word};

/// Rooms of one user, at most, and as many of two.
const MOST_ROOMS: i64 = 1000;

impl Handle<JoinRoom> for Presence {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: JoinRoom) -> Result<Events, Fail> {
        let user = acting(cx.meta(), cmd.user)?;
        let (tenant, room) = (cx.tenant(), cmd.room_id);
        if is_direct(&room) {
            return Err(Fail::reject("room_of_two", "the room is two users' own: open it with open_direct"));
        }
        enter(cx, &room).await?;
        if role(cx.db(), tenant, &room, user.as_str()).await?.is_some() {
            return Ok(Events::none());
        }
        one_room_more(cx, &room, &user).await?;
        // Who comes first after everybody has left does not decide over what they have said there.
        let first: bool = sqlx::query_scalar(
            "select c.messages = 0
                 and not exists (select from presence.members m where m.tenant = c.tenant and m.room_id = c.id)
             from presence.channels c where c.tenant = $1 and c.kind = 'room' and c.id = $2",
        )
        .bind(tenant)
        .bind(room.as_str())
        .fetch_one(cx.db())
        .await?;
        let role = if first { Role::Moderator } else { Role::Member };
        let revision = next(cx, Kind::Room, room.as_str()).await?;
        seat(cx, &room, &user, role, revision).await?;
        Ok(entry(cx, Kind::Room, room.as_str(), revision, What::Joined { user: user.clone() })
            .about(room.as_str(), RoomJoined { room_id: room.clone(), user, role, revision }))
    }
}

/// May a user be in one room more of this kind? Every room that somebody has made is kept. Those of two are counted by
/// themselves: others open them too, and nobody is to be kept out of rooms by those who write to him.
pub(crate) async fn one_room_more(cx: &mut Cx<'_>, room: &Token, user: &Token) -> Result<(), Fail> {
    let tenant = cx.tenant();
    let rooms: i64 = sqlx::query_scalar(
        "select count(*) from (select 1 from presence.members
                               where tenant = $1 and user_id = $2 and starts_with(room_id, $3) = $4 limit $5) as rooms",
    )
    .bind(tenant)
    .bind(user.as_str())
    .bind(DIRECT)
    .bind(is_direct(room))
    .bind(MOST_ROOMS)
    .fetch_one(cx.db())
    .await?;
    match rooms < MOST_ROOMS {
        true => Ok(()),
        false => Err(Fail::reject("too_many_rooms", format!("{user} is in {MOST_ROOMS} such rooms: leave one first"))),
    }
}

/// Puts a user into a room that he is not in, under the room's lock. What was said before counts as read.
pub(crate) async fn seat(cx: &mut Cx<'_>, room: &Token, user: &Token, role: Role, revision: i64) -> Result<(), Fail> {
    let (tenant, now) = (cx.tenant(), cx.now());
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
