//! What names a user and stays unread becomes an event, which the mailer makes a mail of.
//!
//! A message that names somebody has a look scheduled for when it is to have been read by; the look finds what there is
//! then. To read is all that it takes to cancel, on whichever device: a look that finds nothing unread says nothing. There is
//! one look at a time for each member, so a hundred mentions are one mail.

use std::collections::BTreeSet;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use omnibus_runtime::{Cx, Events, Fail, Handle, HandleMany, One, clock};
use omnibus_schemas::Token;
use omnibus_schemas::presence::{CheckUnread, MessagesUnread, SetContact};
use sqlx::{PgConnection, Row};
use uuid::Uuid;

use crate::Presence;
use crate::direct::is_direct;
use crate::held::{Place, Seat, Seats, place};
use crate::who::{acting, token};

/// A look that comes later than this after its time had nobody to make it.
const LATE: TimeDelta = TimeDelta::minutes(1);

impl Handle<SetContact> for Presence {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: SetContact) -> Result<Events, Fail> {
        let user = acting(cx.meta(), Some(cmd.user))?;
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

/// The oldest message that a user should have read, and how many there are.
struct Waiting {
    message_id: Uuid,
    author: Token,
    count: i64,
    upto: i64,
}

impl HandleMany<CheckUnread> for Presence {
    async fn handle_many(
        &self,
        db: &mut PgConnection,
        many: Vec<One<'_, CheckUnread>>,
    ) -> Result<Vec<Result<Events, Fail>>, Fail> {
        let wanted: BTreeSet<Place> =
            many.iter().map(|one| place(one.tenant(), &one.command.room_id, &one.command.user)).collect();
        let mut seats = Seats::hold(db, &wanted).await?;
        let mut answers = Vec::with_capacity(many.len());
        for one in many {
            let tenant = one.tenant();
            let looked = match seats.get(&place(tenant, &one.command.room_id, &one.command.user)) {
                Some(seat) if seat.look_at() == Some(one.command.due) => {
                    self.look(db, seat, tenant, one.command).await?
                }
                // Gone from the room, or another look has taken this one's place.
                _ => Events::none(),
            };
            answers.push(Ok(looked));
        }
        seats.write(db).await?;
        Ok(answers)
    }
}

impl Presence {
    async fn look(
        &self,
        db: &mut PgConnection,
        seat: &mut Seat,
        tenant: &str,
        cmd: CheckUnread,
    ) -> Result<Events, Fail> {
        let CheckUnread { room_id: room, user, due, again } = cmd;
        seat.looks(None);
        let Some(wait) = self.unread_after else { return Ok(Events::none()) };
        // The wall clock: a look may have waited for a worker, and what was read meanwhile may wait for one yet.
        let now = clock::now();
        // Put off once: a worker that is behind all the time would never tell.
        if now - due > LATE && !again {
            return Ok(one_more(seat, room, user, now + wait, true));
        }
        let (known, old_enough) = (seat.known(), due - wait);
        let mut events = Events::none();
        if let Some(waiting) = waiting(db, tenant, &room, &user, known, old_enough).await? {
            let told_since = seat.told(waiting.upto);
            let email: Option<String> =
                sqlx::query_scalar("select email from presence.contacts where tenant = $1 and user_id = $2")
                    .bind(tenant)
                    .bind(user.as_str())
                    .fetch_optional(&mut *db)
                    .await?;
            if let Some(email) = email {
                let Waiting { message_id, author, count, .. } = waiting;
                let link = self.chat_url.as_ref().map(|url| url.replace("{room}", room.as_str()));
                let (room_id, direct) = (room.clone(), is_direct(&room));
                let user = user.clone();
                let unread =
                    MessagesUnread { user, room_id, direct, count, author, message_id, told_since, email, link };
                events = events.about(room.as_str(), unread);
            }
        }
        // What came meanwhile has not had its time yet.
        if let Some(posted) = oldest_after(db, tenant, &room, &user, known, old_enough).await? {
            let due = posted + wait;
            let due = if due > now { due } else { now + wait };
            events = events.join(one_more(seat, room, user, due, false));
        }
        Ok(events)
    }
}

/// One look more.
fn one_more(seat: &mut Seat, room_id: Token, user: Token, due: DateTime<Utc>, again: bool) -> Events {
    // As exact as the database is: the look is found again by its time.
    let due = due.trunc_subsecs(6);
    seat.looks(Some(due));
    Events::none().then_at(due, CheckUnread { room_id, user, due, again })
}

/// Messages that address a user: all of another's in a room of two, elsewhere those that name him. The index has those that
/// name anybody, and is used by who says that he wants no others.
fn addressed(direct: bool) -> String {
    let named = if direct { "" } else { "and mentions <> '{}' and mentions @> array[$3]" };
    format!("tenant = $1 and room_id = $2 and user_id <> $3 and revision > $4 and deleted_at is null {named}")
}

/// What is old enough, up to the first message that is not: revisions and times are not in the same order, and whoever is
/// told up to a revision is told of nothing before it any more.
async fn waiting(
    db: &mut PgConnection,
    tenant: &str,
    room: &Token,
    user: &Token,
    known: i64,
    old_enough: DateTime<Utc>,
) -> Result<Option<Waiting>, sqlx::Error> {
    let addressed = addressed(is_direct(room));
    let statement = format!(
        "select message_id, user_id, count(*) over () as count, max(revision) over () as upto
         from presence.messages
         where {addressed} and posted_at <= $5 and revision < coalesce(
             (select min(revision) from presence.messages where {addressed} and posted_at > $5), 9223372036854775807)
         order by revision limit 1"
    );
    let row = sqlx::query(sqlx::AssertSqlSafe(statement))
        .bind(tenant)
        .bind(room.as_str())
        .bind(user.as_str())
        .bind(known)
        .bind(old_enough)
        .fetch_optional(db)
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
    db: &mut PgConnection,
    tenant: &str,
    room: &Token,
    user: &Token,
    known: i64,
    after: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, sqlx::Error> {
    let statement =
        format!("select min(posted_at) from presence.messages where {} and posted_at > $5", addressed(is_direct(room)));
    sqlx::query_scalar(sqlx::AssertSqlSafe(statement))
        .bind(tenant)
        .bind(room.as_str())
        .bind(user.as_str())
        .bind(known)
        .bind(after)
        .fetch_one(db)
        .await
}
