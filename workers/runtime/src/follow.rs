//! Follows a bucket of values: everything in it, then every change.
//!
//! A watch is not to be trusted for ever: its consumer may be deleted, the bucket made anew, a server restarted. So it is
//! compared with the bucket from time to time and whenever the connection comes back, and made anew, with a warning, if it
//! ended, stayed behind, or watches a bucket that is no longer the same. Whoever follows then gets everything once more.

use std::collections::HashMap;
use std::convert::Infallible;
use std::time::Duration;

use async_nats::jetstream::consumer::push::{OrderedConfig, OrderedErrorKind};
use async_nats::jetstream::consumer::{DeliverPolicy, ReplayPolicy};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::watch;

use crate::bus::Bus;

/// How often the watch is compared with the bucket.
const COMPARE_EVERY: Duration = Duration::from_secs(10);
/// How long the watch may be behind before it is taken for dead.
const GRACE: Duration = Duration::from_secs(2);
/// Between two tries to load everything.
const PAUSE: Duration = Duration::from_millis(500);

/// What there is to know of a bucket.
#[derive(Debug)]
pub enum Followed {
    /// Everything that is in it now. What was known before and is not here is gone.
    Whole(HashMap<String, Bytes>),
    /// A key has this value from now on.
    Put(String, Bytes),
    /// A key is gone: deleted, purged or expired.
    Gone(String),
    /// What is known may be old, for this reason. [`Followed::Whole`] comes next.
    Lost(String),
}

/// Tells `take` of everything in the bucket, for as long as it is polled.
pub async fn follow(bus: &Bus, bucket: &str, mut take: impl FnMut(Followed) + Send) -> Infallible {
    let mut connected = bus.connected();
    loop {
        let why = match once(bus, bucket, &mut connected, &mut take).await {
            Ok(never) => match never {},
            Err(why) => why,
        };
        tracing::warn!(bucket, why, "the watch over a bucket starts over");
        take(Followed::Lost(why));
        tokio::time::sleep(PAUSE).await;
    }
}

async fn once(
    bus: &Bus,
    bucket: &str,
    connected: &mut watch::Receiver<bool>,
    take: &mut (impl FnMut(Followed) + Send),
) -> Result<Infallible, String> {
    connected.wait_for(|up| *up).await.map_err(|_| "the connection was closed".to_owned())?;
    let prefix = format!("$KV.{bucket}.");
    let mut stream = bus.jetstream().get_stream(format!("KV_{bucket}")).await.map_err(|e| e.to_string())?;
    let created = stream.cached_info().created;
    let config = OrderedConfig {
        deliver_subject: bus.client().new_inbox(),
        description: Some(format!("{bucket}, for {}", bus.user())),
        filter_subject: format!("{prefix}>"),
        replay_policy: ReplayPolicy::Instant,
        deliver_policy: DeliverPolicy::LastPerSubject,
        ..Default::default()
    };
    let consumer = stream.create_consumer(config).await.map_err(|e| e.to_string())?;
    let mut pending = consumer.cached_info().num_pending;
    let mut messages = consumer.messages().await.map_err(|e| e.to_string())?;
    let mut loading = Some(HashMap::new());
    let mut seen = 0;
    let mut compare = tokio::time::interval(COMPARE_EVERY);
    compare.reset();
    let mut behind: Option<u64> = None;
    loop {
        if pending == 0
            && let Some(loaded) = loading.take()
        {
            take(Followed::Whole(loaded));
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
                let Some(key) = message.subject.strip_prefix(&prefix).map(str::to_owned) else { continue };
                // `KV-Operation` marks what a client removed, `Nats-Marker-Reason` what the server did.
                let gone = message.headers.as_ref().is_some_and(|headers| {
                    headers.get("KV-Operation").is_some() || headers.get("Nats-Marker-Reason").is_some()
                });
                match (&mut loading, gone) {
                    (Some(loading), true) => drop(loading.remove(&key)),
                    (Some(loading), false) => drop(loading.insert(key, message.payload.clone())),
                    (None, true) => take(Followed::Gone(key)),
                    (None, false) => take(Followed::Put(key, message.payload.clone())),
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
