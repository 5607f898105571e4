//! All keys, in memory, as the bucket has them this moment.

use std::sync::Arc;

use omnibus_bus::BUCKET_KEYS;
use omnibus_runtime::{Bus, Health};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::keys::{KeyHash, KeyRecord};
use crate::mirror::{Mirror, NotLoaded, Of};

/// The part of [`Health`] that this module speaks for.
pub(crate) const PART: &str = "ingest.keys";

/// The keys that are good now. Cheap to clone.
#[derive(Debug, Clone)]
pub struct KeyRing(Mirror<KeyHash, KeyRecord>);

impl Default for KeyRing {
    fn default() -> Self {
        KeyRing(Mirror::new(Of {
            bucket: BUCKET_KEYS,
            part: PART,
            what: "API keys",
            key: KeyHash::parse,
            value: Box::new(|_, record| match serde_json::from_slice(record) {
                Ok(record) => Some(record),
                Err(error) => {
                    // The hash is not the key, but nobody needs it in a log either.
                    tracing::error!(%error, "an API key's record can't be read; the key is refused");
                    None
                }
            }),
        }))
    }
}

impl KeyRing {
    /// The key of this hash, expired or not. `Err` until everything was loaded once.
    pub(crate) fn get(&self, hash: &KeyHash) -> Result<Option<Arc<KeyRecord>>, NotLoaded> {
        self.0.get(hash)
    }

    /// Is there still a key of this id, not expired? `None` until everything was loaded once.
    pub fn has(&self, id: Uuid) -> Option<bool> {
        self.0.any(|record| record.id == id && !record.has_expired())
    }

    /// Tells of every change.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.0.changes()
    }

    /// Follows the bucket until `stop`.
    pub async fn follow(&self, bus: Bus, health: Health, stop: CancellationToken) {
        self.0.follow(bus, health, stop).await;
    }
}
