//! What names a user and stays unread becomes an event, which the mailer makes a mail of.
//!
//! A message that names somebody has a look scheduled for when it is to have been read by; the look finds what there is
//! then. To read is all that it takes to cancel, on whichever device: a look that finds nothing unread says nothing. There is
//! one look at a time for each member, so a hundred mentions are one mail.

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use omnibus_runtime::{Cx, Events, Fail, Handle};
use omnibus_schemas::Token;
use omnibus_schemas::presence::{CheckUnread, MessagesUnread, SetContact};
use sqlx::Row;
use uuid::Uuid;

use crate::Presence;
use crate::direct::is_direct;
use crate::who::{acting, token};

impl Handle<SetContact> for Presence {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: SetContact) -> Result<Events, Fail> {
        let user = acting(cx, Some(cmd.user))?;
        let tenant = cx.tenant();
        let statement = match &cmd.email {
            Some(_) => {
                "insert into presence.contacts (tenant, user_id, email) values ($1, $2, $3)
                 on conflict (tenant, user_id) do update set email = excluded.email"
            }
            None => "delete from presence.contacts where tenant = $1 and user_id = $2 and $3::text is null",
        };
        sqlx::query(statement).bind(tenant).bind(user.as_str()).bind(&cmd.email).execute(cx.db()).await?;
        Ok(Events::none())
    }
}

impl Presence {
    /// Looks after those whom a message addresses: `named`, and in a room of two the other.
    pub(crate) async fn look_after(
        &self,
        cx: &mut Cx<'_>,
        room: &Token,
        author: &Token,
        named: &[Token],
    ) -> Result<Events, Fail> {
        let Some(wait) = self.unread_after else { return Ok(Events::none()) };
        let (tenant, now) = (cx.tenant(), cx.now());
        // As exact as the database is: the look is found again by its time.
        let due = (now + wait).trunc_subsecs(6);
        // Who is looked after already is so until then; a look that never came is not waited for for ever.
        let fresh: Vec<String> = sqlx::query_scalar(
            "update presence.members set look_at = $6
             where tenant = $1 and room_id = $2 and user_id <> $3 and ($4 or user_id = any($5))
               and (look_at is null or look_at < $7)
             returning user_id",
        )
        .bind(tenant)
        .bind(room.as_str())
        .bind(author.as_str())
        .bind(is_direct(room))
        .bind(named.iter().map(Token::as_str).collect::<Vec<_>>())
        .bind(due)
        .bind(now - TimeDelta::hours(1))
        .fetch_all(cx.db())
        .await?;
        let mut events = Events::none();
        for user in fresh {
            events = events.then_at(due, CheckUnread { room_id: room.clone(), user: token(user)?, due });
        }
        Ok(events)
    }
}

/// The oldest message that a user should have read, and how many there are.
struct Waiting {
    message_id: Uuid,
    author: Token,
    count: i64,
    upto: i64,
}

impl Handle<CheckUnread> for Presence {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: CheckUnread) -> Result<Events, Fail> {
        let CheckUnread { room_id: room, user, due } = cmd;
        let Some(wait) = self.unread_after else { return Ok(Events::none()) };
        let tenant = cx.tenant();
        let ours: Option<i64> = sqlx::query_scalar(
            "update presence.members set look_at = null
             where tenant = $1 and room_id = $2 and user_id = $3 and look_at = $4
             returning greatest(read_upto, told_upto)",
        )
        .bind(tenant)
        .bind(room.as_str())
        .bind(user.as_str())
        .bind(due)
        .fetch_optional(cx.db())
        .await?;
        // Gone from the room, or another look has taken this one's place.
        let Some(known) = ours else { return Ok(Events::none()) };
        let old_enough = due - wait;
        let mut events = Events::none();
        if let Some(waiting) = waiting(cx, &room, &user, known, old_enough).await? {
            sqlx::query(
                "update presence.members set told_upto = $4 where tenant = $1 and room_id = $2 and user_id = $3",
            )
            .bind(tenant)
            .bind(room.as_str())
            .bind(user.as_str())
            .bind(waiting.upto)
            .execute(cx.db())
            .await?;
            let email: Option<String> =
                sqlx::query_scalar("select email from presence.contacts where tenant = $1 and user_id = $2")
                    .bind(tenant)
                    .bind(user.as_str())
                    .fetch_optional(cx.db())
                    .await?;
            if let Some(email) = email {
                let Waiting { message_id, author, count, .. } = waiting;
                let link = self.chat_url.as_ref().map(|url| url.replace("{room}", room.as_str()));
                let (room_id, direct) = (room.clone(), is_direct(&room));
                let unread =
                    MessagesUnread { user: user.clone(), room_id, direct, count, author, message_id, email, link };
                events = events.about(room.as_str(), unread);
            }
        }
        // What came meanwhile has not had its time yet.
        let younger: Option<DateTime<Utc>> = oldest_after(cx, &room, &user, known, old_enough).await?;
        if let Some(posted) = younger {
            let due = posted + wait;
            sqlx::query("update presence.members set look_at = $4 where tenant = $1 and room_id = $2 and user_id = $3")
                .bind(tenant)
                .bind(room.as_str())
                .bind(user.as_str())
                .bind(due)
                .execute(cx.db())
                .await?;
            events = events.then_at(due, CheckUnread { room_id: room, user, due });
        }
        Ok(events)
    }
}

/// Messages that address a user: they name him, or the room is his and another's alone.
const ADDRESSED: &str = "tenant = $1 and room_id = $2 and user_id <> $3 and revision > $4 and deleted_at is null
    and ($5 or mentions @> array[$3])";

async fn waiting(
    cx: &mut Cx<'_>,
    room: &Token,
    user: &Token,
    known: i64,
    old_enough: DateTime<Utc>,
) -> Result<Option<Waiting>, Fail> {
    let tenant = cx.tenant();
    let statement = format!(
        "select message_id, user_id, count(*) over () as count, max(revision) over () as upto
         from presence.messages where {ADDRESSED} and posted_at <= $6 order by revision limit 1"
    );
    let row = sqlx::query(sqlx::AssertSqlSafe(statement))
        .bind(tenant)
        .bind(room.as_str())
        .bind(user.as_str())
        .bind(known)
        .bind(is_direct(room))
        .bind(old_enough)
        .fetch_optional(cx.db())
        .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Waiting {
        message_id: row.try_get("message_id")?,
        author: token(row.try_get("user_id")?)?,
        count: row.try_get("count")?,
        upto: row.try_get("upto")?,
    }))
}

async fn oldest_after(
    cx: &mut Cx<'_>,
    room: &Token,
    user: &Token,
    known: i64,
    after: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, Fail> {
    let tenant = cx.tenant();
    let statement = format!("select min(posted_at) from presence.messages where {ADDRESSED} and posted_at > $6");
    let found = sqlx::query_scalar(sqlx::AssertSqlSafe(statement))
        .bind(tenant)
        .bind(room.as_str())
        .bind(user.as_str())
        .bind(known)
        .bind(is_direct(room))
        .bind(after)
        .fetch_one(cx.db())
        .await?;
    Ok(found)
}
