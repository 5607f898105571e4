//! All keys, in memory, as the bucket has them this moment.
//!
//! A watch is not to be trusted for ever: servers restart, streams are restored from backups, clients have had watches
//! that went silent. The client makes a lost watch anew by itself; so that nothing hangs on that, the ring compares its
//! watch with the bucket from time to time and when the connection comes back, and starts over with everything if the
//! watch ended, stayed behind, or watches a bucket that is no longer the same. It goes on serving what it has meanwhile.
//! The consumer of a watch that was given up ends 30 s after its subscription, by the server's hand.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use async_nats::jetstream::consumer::push::OrderedErrorKind;
use async_nats::jetstream::consumer::{DeliverPolicy, ReplayPolicy, push};
use async_nats::jetstream::message::Message;
use futures_util::StreamExt;
use omnibus_bus::BUCKET_KEYS;
use omnibus_runtime::{Bus, Health};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::keys::{KeyHash, KeyRecord};

/// How often the watch is compared with the bucket.
const COMPARE_EVERY: Duration = Duration::from_secs(10);
/// How long the watch may be behind before it is taken for dead.
const GRACE: Duration = Duration::from_secs(2);
/// Between two tries to load everything.
const PAUSE: Duration = Duration::from_millis(500);
/// The part of [`Health`] that this module speaks for.
pub(crate) const PART: &str = "ingest.keys";

type Keys = HashMap<KeyHash, Arc<KeyRecord>>;

/// The keys that are good now. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct KeyRing {
    keys: Arc<RwLock<Option<Keys>>>,
    changed: Arc<watch::Sender<()>>,
}

/// Why the ring starts over.
type Interrupted = String;

impl KeyRing {
    /// The key of this hash, expired or not. `Err` until everything was loaded once.
    pub(crate) fn get(&self, hash: &KeyHash) -> Result<Option<Arc<KeyRecord>>, NotLoaded> {
        let keys = self.keys.read().expect("no panic happens under this lock");
        keys.as_ref().map(|keys| keys.get(hash).cloned()).ok_or(NotLoaded)
    }

    /// Is there still a key of this id, not expired? `None` until everything was loaded once.
    pub fn has(&self, id: Uuid) -> Option<bool> {
        let keys = self.keys.read().expect("no panic happens under this lock");
        keys.as_ref().map(|keys| keys.values().any(|record| record.id == id && !record.has_expired()))
    }

    /// Tells of every change.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Follows the bucket until `stop`.
    pub async fn follow(&self, bus: Bus, health: Health, stop: CancellationToken) {
        let mut connected = bus.connected();
        let follow = async {
            loop {
                let why = match self.follow_once(&bus, &mut connected, &health).await {
                    Ok(never) => match never {},
                    Err(why) => why,
                };
                let loaded = self.keys.read().expect("no panic happens under this lock").is_some();
                tracing::warn!(why, "the watch over the API keys starts over");
                if !loaded {
                    health.ill(PART, format!("the API keys are not loaded yet: {why}"));
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        stop.run_until_cancelled(follow).await;
    }

    async fn follow_once(
        &self,
        bus: &Bus,
        connected: &mut watch::Receiver<bool>,
        health: &Health,
    ) -> Result<std::convert::Infallible, Interrupted> {
        connected.wait_for(|up| *up).await.map_err(|_| "the connection was closed".to_owned())?;
        let stream_name = format!("KV_{BUCKET_KEYS}");
        let prefix = format!("$KV.{BUCKET_KEYS}.");
        let mut stream = bus.jetstream().get_stream(&stream_name).await.map_err(|e| e.to_string())?;
        let created = stream.cached_info().created;
        let consumer = stream
            .create_consumer(push::OrderedConfig {
                deliver_subject: bus.client().new_inbox(),
                description: Some("API keys, for a door".to_owned()),
                filter_subject: format!("{prefix}>"),
                replay_policy: ReplayPolicy::Instant,
                deliver_policy: DeliverPolicy::LastPerSubject,
                ..Default::default()
            })
            .await
            .map_err(|e| e.to_string())?;
        let mut pending = consumer.cached_info().num_pending;
        let mut messages = consumer.messages().await.map_err(|e| e.to_string())?;
        let mut fresh = Some(Keys::new());
        let mut seen = 0;
        let mut compare = tokio::time::interval(COMPARE_EVERY);
        compare.reset();
        let mut behind: Option<u64> = None;
        loop {
            if pending == 0
                && let Some(loaded) = fresh.take()
            {
                tracing::info!(keys = loaded.len(), "API keys loaded");
                *self.keys.write().expect("no panic happens under this lock") = Some(loaded);
                self.changed.send_replace(());
                health.well(PART);
            }
            tokio::select! {
                message = messages.next() => {
                    let message = match message.ok_or("the watch ended")? {
                        Ok(message) => message,
                        // The client is already making the watch anew.
                        Err(error) if error.kind() == OrderedErrorKind::MissingHeartbeat => continue,
                        Err(error) => return Err(error.to_string()),
                    };
                    let info = message.info().map_err(|e| e.to_string())?;
                    (seen, pending) = (info.stream_sequence, info.pending);
                    let change = read(&message, &prefix);
                    match &mut fresh {
                        Some(loading) => apply(loading, change),
                        None => {
                            let mut keys = self.keys.write().expect("no panic happens under this lock");
                            apply(keys.get_or_insert_default(), change);
                            drop(keys);
                            self.changed.send_replace(());
                        }
                    }
                }
                _ = compare.tick(), if *connected.borrow() => {
                    let info = stream.info().await.map_err(|e| e.to_string())?;
                    let last = info.state.last_sequence;
                    if info.created != created || last < seen {
                        return Err("the bucket was made anew".to_owned());
                    }
                    match behind.take() {
                        Some(goal) if seen < goal => return Err(format!("behind the bucket: {seen} of {goal}")),
                        _ if last > seen => {
                            behind = Some(last);
                            compare.reset_after(GRACE);
                        }
                        // What was still to come when the load began may have been removed since.
                        _ => pending = 0,
                    }
                }
                changed = connected.changed() => {
                    changed.map_err(|_| "the connection was closed".to_owned())?;
                    compare.reset_immediately();
                }
            }
        }
    }
}

/// Nothing can be said about a key yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotLoaded;

/// A key and what has become of it; `None` for what is not a key at all.
type Change = Option<(KeyHash, Option<KeyRecord>)>;

fn read(message: &Message, prefix: &str) -> Change {
    let hash = message.subject.strip_prefix(prefix).and_then(KeyHash::parse)?;
    // `KV-Operation` marks what a client removed, `Nats-Marker-Reason` what the server did.
    let gone = message
        .headers
        .as_ref()
        .is_some_and(|headers| headers.get("KV-Operation").is_some() || headers.get("Nats-Marker-Reason").is_some());
    if gone {
        return Some((hash, None));
    }
    match serde_json::from_slice(&message.payload) {
        Ok(record) => Some((hash, Some(record))),
        Err(error) => {
            // The hash is not the key, but nobody needs it in a log either.
            tracing::error!(%error, "an API key's record can't be read; the key is refused");
            Some((hash, None))
        }
    }
}

fn apply(keys: &mut Keys, change: Change) {
    match change {
        Some((hash, Some(record))) => drop(keys.insert(hash, Arc::new(record))),
        Some((hash, None)) => drop(keys.remove(&hash)),
        None => {}
    }
}
