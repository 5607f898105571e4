//! A stage with a brander on it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use omnibus_brander::{Settings, worker};
use omnibus_runtime::testing::{Running, Stage, Told};
use omnibus_schemas::brand::{BUCKET, Brand};
use omnibus_schemas::brander::{ActivateBranding, Look, SetBranding};
use omnibus_schemas::platform::Outcome;
use omnibus_schemas::{Catalogue, Command};

pub(crate) use omnibus_runtime::testing::PATIENCE;

/// A stage, and the brander at work.
pub(crate) struct Scene {
    pub(crate) stage: Stage,
    pub(crate) _running: Running,
}

impl Scene {
    pub(crate) async fn new() -> Self {
        Scene::with(Settings::defaults()).await
    }

    pub(crate) async fn with(settings: Settings) -> Self {
        let stage = Stage::new(Catalogue::new(vec![omnibus_schemas::brander::domain()])).await;
        let running = stage.run(worker(settings).unwrap()).await;
        Scene { stage, _running: running }
    }

    /// Publishes a command and waits for how it ends.
    pub(crate) async fn tell<C: Command>(&self, tenant: &str, command: &C) -> Told {
        let id = self.stage.publish(tenant, command).await;
        self.stage.outcome(id).await
    }

    /// The number of a new version.
    pub(crate) async fn draft(&self, tenant: &str, look: Look) -> u32 {
        let told = self.tell(tenant, &SetBranding(look)).await;
        assert_eq!(told.name, "branding_drafted", "{}", told.data);
        u32::try_from(told.data["version"].as_u64().unwrap()).unwrap()
    }

    pub(crate) async fn activate(&self, tenant: &str, version: u32) -> Told {
        let told = self.tell(tenant, &ActivateBranding { version: Some(version) }).await;
        assert_eq!(told.name, "branding_activated", "{}", told.data);
        told
    }

    /// What stands in the bucket that everyone follows.
    pub(crate) async fn shown(&self, tenant: &str) -> Option<Brand> {
        let store = self.stage.operator.jetstream().get_key_value(BUCKET).await.unwrap();
        store.get(tenant).await.unwrap().map(|bytes| serde_json::from_slice(&bytes).unwrap())
    }

    /// Follows the key from now on, as readers do. Every revision that is written, in the order in which it is.
    pub(crate) async fn follow(&self, tenant: &str) -> Arc<Mutex<Vec<u64>>> {
        let store = self.stage.operator.jetstream().get_key_value(BUCKET).await.unwrap();
        let mut told = store.watch(tenant).await.unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let list = seen.clone();
        tokio::spawn(async move {
            while let Some(Ok(entry)) = told.next().await {
                let brand: Brand = serde_json::from_slice(&entry.value).unwrap();
                list.lock().unwrap().push(brand.revision);
            }
        });
        seen
    }

    /// Waits until a follower has seen a revision.
    pub(crate) async fn until(&self, seen: &Mutex<Vec<u64>>, revision: u64) -> Vec<u64> {
        let waiting = async {
            while !seen.lock().unwrap().contains(&revision) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.unwrap();
        seen.lock().unwrap().clone()
    }
}

/// A look of this name.
pub(crate) fn look(name: &str) -> Look {
    Look::plain(name)
}

/// Why a command was refused.
pub(crate) fn refusal(told: &Told) -> (&str, &str) {
    assert_eq!(told.outcome, Some(Outcome::Rejected), "{}: {}", told.name, told.data);
    (told.data["code"].as_str().unwrap(), told.data["detail"].as_str().unwrap())
}
