//! A bucket in memory, as it is this moment. While its watch starts over it goes on serving what it has.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, RwLock};

use omnibus_runtime::{Bus, Followed, Health, follow};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

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
    changed: Arc<watch::Sender<()>>,
}

impl<K, V> Clone for Mirror<K, V> {
    fn clone(&self) -> Self {
        Mirror { of: self.of.clone(), entries: self.entries.clone(), changed: self.changed.clone() }
    }
}

impl<K, V> std::fmt::Debug for Mirror<K, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mirror").field("bucket", &self.of.bucket).finish_non_exhaustive()
    }
}

/// Nothing can be said about an entry yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotLoaded;

impl<K: Eq + Hash, V> Mirror<K, V> {
    /// Empty until it is followed.
    pub(crate) fn new(of: Of<K, V>) -> Self {
        Mirror { of: Arc::new(of), entries: Arc::default(), changed: Arc::default() }
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

    /// Is this true of any entry? `None` until everything was loaded once.
    pub(crate) fn any(&self, is: impl Fn(&V) -> bool) -> Option<bool> {
        let entries = self.entries.read().expect("no panic happens under this lock");
        entries.as_ref().map(|entries| entries.values().any(|entry| is(entry)))
    }

    /// Tells of every change.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Follows the bucket until `stop`.
    pub(crate) async fn follow(&self, bus: Bus, health: Health, stop: CancellationToken)
    where
        K: Send + Sync,
        V: Send + Sync,
    {
        stop.run_until_cancelled(follow(&bus, self.of.bucket, |followed| self.take(followed, &health))).await;
    }

    fn take(&self, followed: Followed, health: &Health) {
        let Of { part, what, key: parse, value: read, .. } = &*self.of;
        let entry = |key: &str, value: &[u8]| {
            let key = parse(key)?;
            let value = read(&key, value).map(Arc::new);
            Some((key, value))
        };
        let mut entries = self.entries.write().expect("no panic happens under this lock");
        match followed {
            Followed::Whole(all) => {
                let all = all.iter().filter_map(|(key, value)| entry(key, value));
                let all: HashMap<_, _> = all.filter_map(|(key, value)| Some((key, value?))).collect();
                tracing::info!(entries = all.len(), what, "loaded");
                *entries = Some(all);
                health.well(part);
            }
            Followed::Put(key, value) => match (entry(&key, &value), &mut *entries) {
                (Some((key, Some(value))), Some(entries)) => drop(entries.insert(key, value)),
                (Some((key, None)), Some(entries)) => drop(entries.remove(&key)),
                _ => {}
            },
            Followed::Gone(key) => {
                if let (Some(key), Some(entries)) = (parse(&key), &mut *entries) {
                    entries.remove(&key);
                }
            }
            Followed::Lost(why) => {
                if entries.is_none() {
                    health.ill(part, format!("the {what} are not loaded yet: {why}"));
                }
            }
        }
        drop(entries);
        self.changed.send_replace(());
    }
}
