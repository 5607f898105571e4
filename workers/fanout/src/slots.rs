//! A connection's place in the bucket: one of its user's slots. There are as many slots as a user may have connections, and
//! each is taken by compare and set, so the limit holds over all nodes without anybody counting.
//!
//! A slot ends by itself if its node dies. Each refresh is a whole put: an update would lose the time to live.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::message::PublishMessage;
use omnibus_runtime::Bus;
use omnibus_schemas::presence::{BUCKET, Device};
use serde_json::json;

use crate::people::People;

/// How long the bus has for one answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why there is no slot.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoSlot {
    #[error("the user has as many connections as he may")]
    All,
    #[error("the bucket of connections: {0}")]
    Away(String),
}

/// A slot that was taken.
#[derive(Debug, Clone)]
pub(crate) struct Slot {
    subject: String,
    /// Set when the connection goes: what was to be told of it before must not come after.
    gone: Arc<AtomicBool>,
}

/// What a slot's key holds now.
struct Held {
    sequence: u64,
    /// Whether a connection that is not about to go holds it.
    taken: bool,
}

impl Slot {
    /// Takes one of `most` slots.
    pub(crate) async fn take(
        bus: &Bus,
        people: &People,
        tenant: &str,
        user: &str,
        most: u32,
        device: &Device,
        ttl: Duration,
    ) -> Result<Self, NoSlot> {
        let known = people.slots(tenant, user);
        // Those that are probably free first; the rest may have become free since.
        let (free, held): (Vec<_>, Vec<_>) = (0..most).partition(|n| !known.contains(&n.to_string()));
        for n in free.into_iter().chain(held) {
            let subject = format!("$KV.{BUCKET}.{tenant}.{user}.{n}");
            // Somebody else may be quicker, also more than once.
            loop {
                let held = held_now(bus, &subject).await?;
                if held.taken {
                    break;
                }
                if put(bus, &subject, device, ttl, Some(held.sequence)).await? {
                    return Ok(Slot { subject, gone: Arc::default() });
                }
            }
        }
        Err(NoSlot::All)
    }

    /// The connection goes.
    pub(crate) fn leave(&self) {
        self.gone.store(true, Ordering::SeqCst);
    }

    /// Says that the connection is still there, or about to go.
    pub(crate) async fn put(&self, bus: &Bus, device: &Device, ttl: Duration) -> Result<(), NoSlot> {
        if self.gone.load(Ordering::SeqCst) && !device.leaving {
            return Ok(());
        }
        put(bus, &self.subject, device, ttl, None).await.map(drop)
    }
}

async fn held_now(bus: &Bus, subject: &str) -> Result<Held, NoSlot> {
    let ask = json!({ "last_by_subj": subject }).to_string();
    let answer = bus.client().request(format!("$JS.API.DIRECT.GET.KV_{BUCKET}"), ask.into());
    let answer = within(async { answer.await.map_err(|error| NoSlot::Away(error.to_string())) }).await?;
    match answer.status.map(|status| status.as_u16()) {
        None => {}
        Some(404) => return Ok(Held { sequence: 0, taken: false }),
        Some(code) => return Err(NoSlot::Away(format!("the server says {code}"))),
    }
    let get = |name: &str| answer.headers.as_ref()?.get(name).map(|value| value.as_str());
    let sequence = get("Nats-Sequence").and_then(|sequence| sequence.parse().ok());
    let sequence = sequence.ok_or_else(|| NoSlot::Away("a key without a sequence".to_owned()))?;
    let gone = get("KV-Operation").is_some() || get("Nats-Marker-Reason").is_some();
    let leaving = serde_json::from_slice::<Device>(&answer.payload).is_ok_and(|device| device.leaving);
    Ok(Held { sequence, taken: !gone && !leaving })
}

/// `false` if the key has changed meanwhile.
async fn put(bus: &Bus, subject: &str, device: &Device, ttl: Duration, expected: Option<u64>) -> Result<bool, NoSlot> {
    let body = serde_json::to_vec(device).expect("a device is plain data");
    let mut message = PublishMessage::build().payload(body.into()).ttl(ttl);
    if let Some(expected) = expected {
        message = message.expected_last_subject_sequence(expected);
    }
    let sent = async {
        let ack = bus.jetstream().send_publish(subject.to_owned(), message).await?;
        ack.await
    };
    within(async {
        match sent.await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == PublishErrorKind::WrongLastSequence => Ok(false),
            Err(error) => Err(NoSlot::Away(error.to_string())),
        }
    })
    .await
}

async fn within<T>(work: impl Future<Output = Result<T, NoSlot>>) -> Result<T, NoSlot> {
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| Err(NoSlot::Away("no answer in time".to_owned())))
}
