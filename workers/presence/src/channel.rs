//! A channel's log: one entry more, with the next revision.

use chrono::{DateTime, Utc};
use omnibus_runtime::{Cx, Events, Fail};
use omnibus_schemas::Token;
use omnibus_schemas::presence::{ENTRY, Entry, Kind, What};

/// Locks a room until the transaction ends: nobody else writes, comes or goes. Whoever does any of that locks the room first
/// and looks afterwards. What is no room is not locked: nobody is in it.
pub(crate) async fn hold(cx: &mut Cx<'_>, room: &Token) -> Result<(), Fail> {
    let tenant = cx.tenant();
    sqlx::query("select 1 from presence.channels where tenant = $1 and kind = 'room' and id = $2 for update")
        .bind(tenant)
        .bind(room.as_str())
        .execute(cx.db())
        .await?;
    Ok(())
}

/// As [`hold`], and makes the room if there is none.
pub(crate) async fn enter(cx: &mut Cx<'_>, room: &Token) -> Result<(), Fail> {
    let tenant = cx.tenant();
    sqlx::query(
        "insert into presence.channels (tenant, kind, id, revision) values ($1, 'room', $2, 0) on conflict do nothing",
    )
    .bind(tenant)
    .bind(room.as_str())
    .execute(cx.db())
    .await?;
    hold(cx, room).await
}

/// Takes the channel's next revision. Its row stays locked until the transaction ends, so revisions have no gap.
pub(crate) async fn next(cx: &mut Cx<'_>, kind: Kind, id: &str) -> Result<i64, Fail> {
    let tenant = cx.tenant();
    let revision = sqlx::query_scalar(
        "insert into presence.channels as c (tenant, kind, id, revision) values ($1, $2, $3, 1)
         on conflict (tenant, kind, id) do update set revision = c.revision + 1
         returning revision",
    )
    .bind(tenant)
    .bind(kind.as_str())
    .bind(id)
    .fetch_one(cx.db())
    .await?;
    Ok(revision)
}

/// The entry, to be stored in the log together with the command's event.
pub(crate) fn entry(cx: &Cx<'_>, kind: Kind, id: &str, revision: i64, what: What) -> Events {
    entry_of(cx.now(), kind, id, revision, what)
}

/// As [`entry`], of this time.
pub(crate) fn entry_of(at: DateTime<Utc>, kind: Kind, id: &str, revision: i64, what: What) -> Events {
    Events::none().post(kind.as_str(), id, ENTRY, &Entry { revision, at, what })
}
