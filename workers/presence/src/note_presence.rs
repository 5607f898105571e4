//! Somebody came or went.

use chrono::TimeDelta;
use omnibus_runtime::{Cx, Events, Fail, Handle};
use omnibus_schemas::presence::{NotePresence, PresenceChanged, Status};

use crate::Presence;

/// How far a sight may be ahead of its command: much further than a clock of ours is wrong.
pub(crate) const AHEAD: TimeDelta = TimeDelta::days(1);

impl Handle<NotePresence> for Presence {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: NotePresence) -> Result<Events, Fail> {
        let (tenant, now) = (cx.tenant(), cx.now());
        // All later sights count on from the highest, of whichever tenant: it must leave them room.
        let most = (now + AHEAD).timestamp_micros();
        if cmd.seen > most {
            return Err(Fail::reject("seen_ahead", "/seen: this is more than a day ahead; it is in microseconds"));
        }
        // The row is there before it is locked, so that two at once can't both be the first.
        sqlx::query(
            "insert into presence.people (tenant, user_id, status, since, revision, seen)
             values ($1, $2, 'offline', $3, 0, -1) on conflict do nothing",
        )
        .bind(tenant)
        .bind(cmd.user.as_str())
        .bind(now)
        .execute(cx.db())
        .await?;
        let (before, revision, seen): (String, i64, i64) = sqlx::query_as(
            "select status, revision, seen from presence.people where tenant = $1 and user_id = $2 for update",
        )
        .bind(tenant)
        .bind(cmd.user.as_str())
        .fetch_one(cx.db())
        .await?;
        // One that stands there from far ahead is no reason to believe nothing until then.
        if cmd.seen <= seen && seen <= most {
            return Ok(Events::none());
        }
        let before = Status::parse(&before).unwrap_or(Status::Offline);
        let changed = before != cmd.status;
        let revision = revision + i64::from(changed);
        sqlx::query(
            "update presence.people set status = $3, seen = $4, revision = $5,
                since = case when status = $3 then since else $6 end
             where tenant = $1 and user_id = $2",
        )
        .bind(tenant)
        .bind(cmd.user.as_str())
        .bind(cmd.status.as_str())
        .bind(cmd.seen)
        .bind(revision)
        .bind(now)
        .execute(cx.db())
        .await?;
        Ok(match changed {
            true => {
                let about = cmd.user.to_string();
                let changed = PresenceChanged { user: cmd.user, status: cmd.status, before, revision };
                Events::none().about(about, changed)
            }
            false => Events::none(),
        })
    }
}
