//! A bucket in memory, as it is this moment.
//!
//! A watch is not to be trusted for ever: servers restart, streams are restored from backups, clients have had watches
//! that went silent. The client makes a lost watch anew by itself; so that nothing hangs on that, the mirror compares its
//! watch with the bucket from time to time and when the connection comes back, and starts over with everything if the
//! watch ended, stayed behind, or watches a bucket that is no longer the same. It goes on serving what it has meanwhile.
//! The consumer of a watch that was given up ends 30 s after its subscription, by the server's hand.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use async_nats::jetstream::consumer::push::OrderedErrorKind;
use async_nats::jetstream::consumer::{DeliverPolicy, ReplayPolicy, push};
use async_nats::jetstream::message::Message;
use futures_util::StreamExt;
use omnibus_runtime::{Bus, Health};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How often the watch is compared with the bucket.
const COMPARE_EVERY: Duration = Duration::from_secs(10);
/// How long the watch may be behind before it is taken for dead.
const GRACE: Duration = Duration::from_secs(2);
/// Between two tries to load everything.
const PAUSE: Duration = Duration::from_millis(500);

/// Reads the value of an entry.
pub(crate) type Read<K, V> = Box<dyn Fn(&K, &[u8]) -> Option<V> + Send + Sync>;

/// All entries, once they are known.
type Entries<K, V> = Option<HashMap<K, Arc<V>>>;

/// What is mirrored.
pub(crate) struct Of<K, V> {
    /// The bucket's name.
    pub(crate) bucket: &'static str,
    /// The part of [`Health`] that the mirror speaks for.
    pub(crate) part: &'static str,
    /// For logs and people: `API keys`.
    pub(crate) what: &'static str,
    /// What an entry's key means; `None` for what is not one at all.
    pub(crate) key: fn(&str) -> Option<K>,
    /// Reads a value. One that can't be read is as good as removed; whoever reads it says so in the log.
    pub(crate) value: Read<K, V>,
}

/// The entries. Cheap to clone.
pub(crate) struct Mirror<K, V> {
    of: Arc<Of<K, V>>,
    entries: Arc<RwLock<Entries<K, V>>>,
}

impl<K, V> Clone for Mirror<K, V> {
    fn clone(&self) -> Self {
        Mirror { of: self.of.clone(), entries: self.entries.clone() }
    }
}

impl<K, V> std::fmt::Debug for Mirror<K, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mirror").field("bucket", &self.of.bucket).finish_non_exhaustive()
    }
}

/// Why the mirror starts over.
type Interrupted = String;

/// Nothing can be said about an entry yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotLoaded;

/// An entry and what has become of it; `None` for what is not an entry at all.
type Change<K, V> = Option<(K, Option<V>)>;

impl<K: Eq + Hash, V> Mirror<K, V> {
    /// Empty until it is followed.
    pub(crate) fn new(of: Of<K, V>) -> Self {
        Mirror { of: Arc::new(of), entries: Arc::default() }
    }

    /// The entry. `Err` until everything was loaded once.
    pub(crate) fn get<Q>(&self, key: &Q) -> Result<Option<Arc<V>>, NotLoaded>
    where
        K: std::borrow::Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let entries = self.entries.read().expect("no panic happens under this lock");
        entries.as_ref().map(|entries| entries.get(key).cloned()).ok_or(NotLoaded)
    }

    /// Follows the bucket until `stop`.
    pub(crate) async fn follow(&self, bus: Bus, health: Health, stop: CancellationToken) {
        let mut connected = bus.connected();
        let follow = async {
            loop {
                let why = match self.follow_once(&bus, &mut connected, &health).await {
                    Ok(never) => match never {},
                    Err(why) => why,
                };
                let loaded = self.entries.read().expect("no panic happens under this lock").is_some();
                tracing::warn!(why, what = self.of.what, "a watch starts over");
                if !loaded {
                    health.ill(self.of.part, format!("the {} are not loaded yet: {why}", self.of.what));
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
        let stream_name = format!("KV_{}", self.of.bucket);
        let prefix = format!("$KV.{}.", self.of.bucket);
        let mut stream = bus.jetstream().get_stream(&stream_name).await.map_err(|e| e.to_string())?;
        let created = stream.cached_info().created;
        let consumer = stream
            .create_consumer(push::OrderedConfig {
                deliver_subject: bus.client().new_inbox(),
                description: Some(format!("{}, for a door", self.of.what)),
                filter_subject: format!("{prefix}>"),
                replay_policy: ReplayPolicy::Instant,
                deliver_policy: DeliverPolicy::LastPerSubject,
                ..Default::default()
            })
            .await
            .map_err(|e| e.to_string())?;
        let mut pending = consumer.cached_info().num_pending;
        let mut messages = consumer.messages().await.map_err(|e| e.to_string())?;
        let mut fresh = Some(HashMap::new());
        let mut seen = 0;
        let mut compare = tokio::time::interval(COMPARE_EVERY);
        compare.reset();
        let mut behind: Option<u64> = None;
        loop {
            if pending == 0
                && let Some(loaded) = fresh.take()
            {
                tracing::info!(entries = loaded.len(), what = self.of.what, "loaded");
                *self.entries.write().expect("no panic happens under this lock") = Some(loaded);
                health.well(self.of.part);
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
                    let change = self.change(&message, &prefix);
                    match &mut fresh {
                        Some(loading) => apply(loading, change),
                        None => {
                            let mut entries = self.entries.write().expect("no panic happens under this lock");
                            apply(entries.get_or_insert_default(), change);
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

    fn change(&self, message: &Message, prefix: &str) -> Change<K, V> {
        let key = message.subject.strip_prefix(prefix).and_then(self.of.key)?;
        // `KV-Operation` marks what a client removed, `Nats-Marker-Reason` what the server did.
        let gone = message.headers.as_ref().is_some_and(|headers| {
            headers.get("KV-Operation").is_some() || headers.get("Nats-Marker-Reason").is_some()
        });
        let value = if gone { None } else { (self.of.value)(&key, &message.payload) };
        Some((key, value))
    }
}

fn apply<K: Eq + Hash, V>(entries: &mut HashMap<K, Arc<V>>, change: Change<K, V>) {
    match change {
        Some((key, Some(value))) => drop(entries.insert(key, Arc::new(value))),
        Some((key, None)) => drop(entries.remove(&key)),
        None => {}
    }
}
