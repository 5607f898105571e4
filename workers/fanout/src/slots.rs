//! A connection's place in the bucket: one of its user's slots. There are as many slots as a user may have connections, and
//! each is taken by compare and set, so the limit holds over all nodes without anybody counting.
//!
//! A slot ends by itself if its node dies. Until then the node's own key tells that it is dead, which ends sooner: whoever
//! comes back from a dead node finds his slots free. Each refresh is a whole put: an update would lose the time to live.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::Message;
use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::message::PublishMessage;
use omnibus_runtime::Bus;
use omnibus_schemas::presence::{BUCKET, Device};
use serde_json::json;
use tokio::sync::Mutex;

use crate::people::People;

/// How long the bus has for one answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a node that says nothing is taken for alive.
const NODE_TTL: Duration = Duration::from_secs(10);
/// How often a node says that it is.
pub(crate) const NODE_BEAT: Duration = Duration::from_secs(3);

/// Why there is no slot.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoSlot {
    #[error("the user has as many connections as he may")]
    All,
    #[error("somebody else has it")]
    Taken,
    #[error("the bucket of connections: {0}")]
    Away(String),
}

/// A slot that was taken.
#[derive(Debug, Clone)]
pub(crate) struct Slot {
    subject: String,
    /// The sequence of what was put last. Who puts waits for who put before.
    sequence: Arc<Mutex<u64>>,
    /// Set when the connection goes: what was to be told of it before must not come after.
    gone: Arc<AtomicBool>,
}

/// What a slot's key holds now.
struct Held {
    sequence: u64,
    /// Whose it is, unless that one is about to go or gone with its node.
    holder: Option<Device>,
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
                if held.holder.is_some() {
                    break;
                }
                if let Some(sequence) = put(bus, &subject, device, ttl, held.sequence).await? {
                    return Ok(Slot { subject, sequence: Arc::new(Mutex::new(sequence)), gone: Arc::default() });
                }
            }
        }
        Err(NoSlot::All)
    }

    /// The connection goes.
    pub(crate) fn leave(&self) {
        self.gone.store(true, Ordering::SeqCst);
    }

    /// Says that the connection is still there, or about to go. Fails if another connection has got the slot meanwhile,
    /// since this one's node was taken for dead.
    pub(crate) async fn put(&self, bus: &Bus, device: &Device, ttl: Duration) -> Result<(), NoSlot> {
        let mut sequence = self.sequence.lock().await;
        loop {
            if self.gone.load(Ordering::SeqCst) && !device.leaving {
                return Ok(());
            }
            if let Some(put) = put(bus, &self.subject, device, ttl, *sequence).await? {
                *sequence = put;
                return Ok(());
            }
            // It has ended, or an answer got lost.
            let held = held_now(bus, &self.subject).await?;
            if held.holder.is_some_and(|holder| holder.client != device.client) {
                return Err(NoSlot::Taken);
            }
            *sequence = held.sequence;
        }
    }
}

/// Says that this node is alive.
pub(crate) async fn beat(bus: &Bus, node: &str) -> Result<(), NoSlot> {
    let message = PublishMessage::build().payload("{}".into()).ttl(NODE_TTL);
    let subject = of_node(node);
    let sent = async {
        let ack = bus.jetstream().send_publish(subject, message).await?;
        ack.await
    };
    within(async { sent.await.map(drop).map_err(|error| NoSlot::Away(error.to_string())) }).await
}

/// A node's own key. It has a part less than a connection's.
fn of_node(node: &str) -> String {
    format!("$KV.{BUCKET}.nodes.{node}")
}

async fn held_now(bus: &Bus, subject: &str) -> Result<Held, NoSlot> {
    let Some(message) = last(bus, subject).await? else { return Ok(Held { sequence: 0, holder: None }) };
    let sequence = header(&message, "Nats-Sequence").and_then(|sequence| sequence.parse().ok());
    let sequence = sequence.ok_or_else(|| NoSlot::Away("a key without a sequence".to_owned()))?;
    if is_gone(&message) {
        return Ok(Held { sequence, holder: None });
    }
    let device = serde_json::from_slice::<Device>(&message.payload).ok().filter(|device| !device.leaving);
    let holder = match device {
        Some(device) => {
            let beat = last(bus, &of_node(&device.node)).await?;
            beat.is_some_and(|beat| !is_gone(&beat)).then_some(device)
        }
        None => None,
    };
    Ok(Held { sequence, holder })
}

/// The last message of a key, if there is one.
async fn last(bus: &Bus, subject: &str) -> Result<Option<Message>, NoSlot> {
    let ask = json!({ "last_by_subj": subject }).to_string();
    let answer = bus.client().request(format!("$JS.API.DIRECT.GET.KV_{BUCKET}"), ask.into());
    let answer = within(async { answer.await.map_err(|error| NoSlot::Away(error.to_string())) }).await?;
    match answer.status.map(|status| status.as_u16()) {
        None => Ok(Some(answer)),
        Some(404) => Ok(None),
        Some(code) => Err(NoSlot::Away(format!("the server says {code}"))),
    }
}

fn header<'a>(message: &'a Message, name: &str) -> Option<&'a str> {
    message.headers.as_ref()?.get(name).map(|value| value.as_str())
}

/// Was it removed, by whoever or by its age?
fn is_gone(message: &Message) -> bool {
    header(message, "KV-Operation").is_some() || header(message, "Nats-Marker-Reason").is_some()
}

/// The sequence; `None` if the key has changed meanwhile.
async fn put(bus: &Bus, subject: &str, device: &Device, ttl: Duration, expected: u64) -> Result<Option<u64>, NoSlot> {
    let body = serde_json::to_vec(device).expect("a device is plain data");
    let message = PublishMessage::build().payload(body.into()).ttl(ttl).expected_last_subject_sequence(expected);
    let sent = async {
        let ack = bus.jetstream().send_publish(subject.to_owned(), message).await?;
        ack.await
    };
    within(async {
        match sent.await {
            Ok(ack) => Ok(Some(ack.sequence)),
            Err(error) if error.kind() == PublishErrorKind::WrongLastSequence => Ok(None),
            Err(error) => Err(NoSlot::Away(error.to_string())),
        }
    })
    .await
}

async fn within<T>(work: impl Future<Output = Result<T, NoSlot>>) -> Result<T, NoSlot> {
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| Err(NoSlot::Away("no answer in time".to_owned())))
}
