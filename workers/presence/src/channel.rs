//! A channel's log: one entry more, with the next revision.

use omnibus_runtime::{Cx, Events, Fail};
use omnibus_schemas::presence::{ENTRY, Entry, Kind, What};

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
    Events::none().post(kind.as_str(), id, ENTRY, &Entry { revision, at: cx.now(), what })
}
