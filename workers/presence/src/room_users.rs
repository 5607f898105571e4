//! Who is in a room.

use omnibus_runtime::{Answer, Ask, AskError};
use omnibus_schemas::Token;
use omnibus_schemas::presence::{Member, RoomUsers, Status, UsersPage};
use sqlx::Row;

use crate::Presence;
use crate::who::{may_read, read_role, token};

impl Answer<RoomUsers> for Presence {
    async fn answer(&self, ask: &mut Ask<'_>, query: RoomUsers) -> Result<UsersPage, AskError> {
        may_read(ask, &query.room_id).await?;
        let limit = query.limit.unwrap_or(100) as usize;
        let rows = sqlx::query(
            "select m.user_id, m.role, m.joined_at, m.read_upto, coalesce(p.status, 'offline') as status
             from presence.members m left join presence.people p using (tenant, user_id)
             where m.tenant = $1 and m.room_id = $2 and m.user_id > $3
             order by m.user_id limit $4",
        )
        .bind(ask.tenant)
        .bind(query.room_id.as_str())
        .bind(query.after.as_ref().map_or("", Token::as_str))
        .bind(limit as i64 + 1)
        .fetch_all(&mut *ask.db)
        .await?;
        let more = rows.len() > limit;
        let users = rows.into_iter().take(limit).map(|row| {
            Ok::<_, sqlx::Error>(Member {
                user: token(row.try_get("user_id")?)?,
                role: read_role(row.try_get("role")?),
                since: row.try_get("joined_at")?,
                status: Status::parse(row.try_get("status")?).unwrap_or(Status::Offline),
                read: row.try_get("read_upto")?,
            })
        });
        let users: Vec<Member> = users.collect::<Result<_, sqlx::Error>>()?;
        let next = users.last().filter(|_| more).map(|last| last.user.clone());
        Ok(UsersPage { users, next })
    }
}
