//! What interrupted copies have left. An object's bytes are written under a name that the client makes up, and at the end
//! the object, which has that name: whoever dies in between leaves bytes that nothing names.

use std::collections::HashSet;

use anyhow::ensure;
use async_nats::jetstream::object_store::{ObjectInfo, ObjectStore};
use futures_util::TryStreamExt;
use omnibus_runtime::Desk;
use omnibus_schemas::presence::FILES;
use uuid::Uuid;

use crate::share_file::name_of;

/// Removes the bytes that nothing names and nothing named at the look before, much longer ago than a copy takes. Returns
/// those that nothing names now, for the next look. Whoever calls this is the only one that removes objects.
pub(crate) async fn sweep(
    desk: &Desk,
    store: &ObjectStore,
    before: &HashSet<String>,
) -> anyhow::Result<HashSet<String>> {
    let prefix = format!("$O.{FILES}.C.");
    let stream = desk.bus.jetstream().get_stream(format!("OBJ_{FILES}")).await?;
    // The bytes first: a copy that is finished meanwhile is among the objects then.
    let bytes: Vec<(String, usize)> = stream.info_with_subjects(format!("{prefix}>")).await?.try_collect().await?;
    let files: Vec<(String, Uuid)> =
        sqlx::query_as("select tenant, file_id from presence.files where shared_at is not null")
            .fetch_all(&desk.db)
            .await?;
    let objects: Vec<ObjectInfo> = store.list().await?.try_collect().await?;
    let listed: HashSet<&str> = objects.iter().map(|object| object.name.as_str()).collect();
    let lacks = files.iter().filter(|(tenant, file_id)| !listed.contains(name_of(tenant, *file_id).as_str())).count();
    // Nothing is removed because a list was not whole.
    ensure!(lacks == 0, "{lacks} files have no object");
    let named: HashSet<&str> = objects.iter().map(|object| object.nuid.as_str()).collect();
    let nameless = |subject: &String| subject.strip_prefix(&prefix).is_some_and(|nuid| !named.contains(nuid));
    let unnamed: HashSet<String> = bytes.into_iter().map(|(subject, _)| subject).filter(nameless).collect();
    for subject in unnamed.intersection(before) {
        stream.purge().filter(subject).await?;
    }
    Ok(unnamed)
}
