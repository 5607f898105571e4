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

#[cfg(test)]
mod tests {
    use async_nats::HeaderMap;
    use omnibus_runtime::Health;
    use omnibus_runtime::testing::Stage;
    use omnibus_schemas::Catalogue;
    use omnibus_schemas::presence::DOMAIN;
    use tokio::io::AsyncReadExt;

    use super::*;
    use crate::{Settings, worker};

    struct Scene {
        stage: Stage,
        desk: Desk,
        store: ObjectStore,
    }

    impl Scene {
        /// The worker's tables and its own bus user, and nobody at work.
        async fn new() -> Self {
            let stage = Stage::new(Catalogue::omnibus()).await;
            let migrations = worker(Settings::defaults()).unwrap().migrations();
            migrations.unwrap().apply(&stage.db).await.unwrap();
            let (bus, db) = (stage.connect("presence").await, stage.db.clone());
            let desk = Desk { bus, db, stop: Default::default(), health: Health::default(), domain: DOMAIN };
            let store = desk.objects(FILES).await.unwrap();
            Scene { stage, desk, store }
        }

        async fn sweep(&self, before: &HashSet<String>) -> anyhow::Result<HashSet<String>> {
            sweep(&self.desk, &self.store, before).await
        }

        /// A file of a room, its row and its object. Returns where its bytes are.
        async fn shared(&self, file_id: Uuid) -> String {
            let mut bytes: &[u8] = b"whole";
            let info = self.store.put(name_of("acme", file_id).as_str(), &mut bytes).await.unwrap();
            self.row(file_id).await;
            format!("$O.{FILES}.C.{}", info.nuid)
        }

        async fn row(&self, file_id: Uuid) {
            sqlx::query(
                "insert into presence.files
                     (tenant, room_id, file_id, user_id, filename, content_type, size, sha256, shared_at)
                 values ('acme', 'lobby', $1, 'ada', 'x', 'text/plain', 5, '', now())",
            )
            .bind(file_id)
            .execute(&self.desk.db)
            .await
            .unwrap();
        }

        /// Whoever died while he copied has written this, and named it never.
        async fn interrupted(&self) -> String {
            let subject = format!("$O.{FILES}.C.interrupted");
            self.desk.bus.publish(&subject, HeaderMap::new(), "half".into()).await.unwrap();
            subject
        }

        async fn is_there(&self, subject: &str) -> bool {
            let stream = self.stage.operator.jetstream().get_stream(format!("OBJ_{FILES}")).await.unwrap();
            stream.get_last_raw_message_by_subject(subject).await.is_ok()
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn bytes_that_nothing_names_go_at_the_second_look_and_nothing_else_does() {
        let scene = Scene::new().await;
        let file_id = Uuid::from_u128(7);
        let named = scene.shared(file_id).await;
        let nameless = scene.interrupted().await;
        let first = scene.sweep(&HashSet::new()).await.unwrap();
        assert_eq!(first, HashSet::from([nameless.clone()]));
        assert!(scene.is_there(&nameless).await, "it may be a copy that is being made");
        // One that was being made at the look before is named by now.
        let before = HashSet::from([nameless.clone(), named.clone()]);
        scene.sweep(&before).await.unwrap();
        assert!(!scene.is_there(&nameless).await && scene.is_there(&named).await);
        assert_eq!(scene.sweep(&before).await.unwrap(), HashSet::new());
        let mut bytes = Vec::new();
        scene.store.get(name_of("acme", file_id)).await.unwrap().read_to_end(&mut bytes).await.unwrap();
        assert_eq!(bytes, b"whole");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn nothing_goes_while_a_file_that_should_be_there_is_not_listed() {
        let scene = Scene::new().await;
        scene.shared(Uuid::from_u128(7)).await;
        let nameless = scene.interrupted().await;
        scene.row(Uuid::from_u128(8)).await;
        let before = HashSet::from([nameless.clone()]);
        let refused = scene.sweep(&before).await.unwrap_err();
        assert_eq!(refused.to_string(), "1 files have no object");
        assert!(scene.is_there(&nameless).await);
    }
}
