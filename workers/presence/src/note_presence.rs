//! Somebody came or went.

use omnibus_runtime::{Cx, Events, Fail, Handle};
use omnibus_schemas::presence::{NotePresence, PresenceChanged, Status};

use crate::Presence;

impl Handle<NotePresence> for Presence {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: NotePresence) -> Result<Events, Fail> {
        let (tenant, now) = (cx.tenant(), cx.now());
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
        if cmd.seen <= seen {
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
