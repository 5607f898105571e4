//! A connection's place in the bucket: one of its user's slots. There are as many slots as a user may have connections, and
//! each is taken by compare and set, so the limit holds over all nodes without anybody counting.
//!
//! A slot ends by itself if its node dies. Until then the node's own key tells that it is dead, which ends sooner: whoever
//! comes back from a dead node finds his slots free. Each refresh is a whole put: an update would lose the time to live.
//!
//! A slot that nobody sits in is given back: by the connection that goes, by the one that could not be told that it got it,
//! and by the node that stops, for all it has left behind.
//!
//! When everybody comes at once, as after the death of another node, so many are seen to at a time and the others wait
//! their turn. How long the bus may take is counted from then on: a crowd that all waits for the bus would give up as a
//! crowd, and begin again as one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::Message;
use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::message::PublishMessage;
use omnibus_runtime::Bus;
use omnibus_schemas::presence::{BUCKET, Device};
use serde_json::json;
use tokio::sync::{Mutex, Semaphore, SemaphorePermit};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::people::People;

/// How long the bus has for one answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a node that says nothing is taken for alive.
const NODE_TTL: Duration = Duration::from_secs(10);
/// How often a node says that it is.
pub(crate) const NODE_BEAT: Duration = Duration::from_secs(3);
/// Before the second try to give a slot back, and at most between two.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// Connections of a node that are seen to at the same time, at most.
const AT_ONCE: usize = 128;

/// The bucket of connections, as a node reaches it.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    bus: Bus,
    turns: Arc<Semaphore>,
}

impl Places {
    pub(crate) fn new(bus: Bus) -> Self {
        Places { bus, turns: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Waits for a turn, in the order in which they came. It ends with what is returned; who has one asks for no other.
    pub(crate) async fn turn(&self) -> SemaphorePermit<'_> {
        self.turns.acquire().await.expect("this semaphore is never closed")
    }
}

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
    /// What was put last. Who puts waits for who put before.
    last: Arc<Mutex<Last>>,
    /// Set when the connection goes: what was to be told of it before must not come after.
    gone: Arc<AtomicBool>,
}

/// What a connection has put last.
#[derive(Debug, Clone, Copy)]
struct Last {
    sequence: u64,
    /// When it ends by itself.
    ends: Instant,
}

/// Who wants a slot.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) tenant: &'a str,
    pub(crate) user: &'a str,
    /// Most slots of the user.
    pub(crate) most: u32,
    pub(crate) device: &'a Device,
    /// How long the slot is held without another word.
    pub(crate) ttl: Duration,
    /// How long it is kept for whoever comes back.
    pub(crate) grace: Duration,
}

/// What a slot's key holds now.
struct Held {
    sequence: u64,
    /// Whose it is, unless that one is about to go or gone with its node.
    holder: Option<Device>,
}

impl Slot {
    /// Takes one of the user's slots. Whatever `tasks` are still at is to be waited for when the node stops.
    pub(crate) async fn take(
        places: &Places,
        people: &People,
        tasks: &TaskTracker,
        wanted: Wanted<'_>,
    ) -> Result<Self, NoSlot> {
        let Wanted { tenant, user, most, device, ttl, .. } = wanted;
        let (bus, _turn) = (&places.bus, places.turn().await);
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
                let ends = Instant::now() + ttl;
                let sequence = held.sequence;
                let mut unsure = Unsure { places, tasks, wanted, subject: &subject, sequence, armed: true };
                let put = put(bus, &subject, device, ttl, held.sequence).await?;
                unsure.armed = false;
                drop(unsure);
                if let Some(sequence) = put {
                    return Ok(Slot::of(subject, Last { sequence, ends }));
                }
            }
        }
        Err(NoSlot::All)
    }

    fn of(subject: String, last: Last) -> Self {
        Slot { subject, last: Arc::new(Mutex::new(last)), gone: Arc::default() }
    }

    /// The connection goes.
    pub(crate) fn leave(&self) {
        self.gone.store(true, Ordering::SeqCst);
    }

    /// Says that the connection is still there, or about to go. Fails if another connection has got the slot meanwhile,
    /// since this one's node was taken for dead.
    pub(crate) async fn put(&self, places: &Places, device: &Device, ttl: Duration) -> Result<(), NoSlot> {
        let mut last = self.last.lock().await;
        let (bus, _turn) = (&places.bus, places.turn().await);
        loop {
            if self.gone.load(Ordering::SeqCst) && !device.leaving {
                return Ok(());
            }
            let ends = Instant::now() + ttl;
            if let Some(sequence) = put(bus, &self.subject, device, ttl, last.sequence).await? {
                *last = Last { sequence, ends };
                return Ok(());
            }
            // It has ended, or an answer got lost.
            let held = held_now(bus, &self.subject).await?;
            if held.holder.is_some_and(|holder| holder.client != device.client) {
                return Err(NoSlot::Taken);
            }
            last.sequence = held.sequence;
        }
    }

    /// Says that the connection has gone, until that is heard or there is nothing left to say: what was put before would
    /// hold the place to its end. `device` is leaving.
    pub(crate) async fn let_go(&self, places: &Places, device: &Device, grace: Duration) {
        let (mut pause, longest) = PAUSES;
        loop {
            let error = match self.put(places, device, grace).await {
                Ok(()) | Err(NoSlot::Taken) => return,
                Err(error) => error,
            };
            // Said later, it would bring back somebody who is off the list.
            if Instant::now() + pause >= self.last.lock().await.ends {
                tracing::warn!(%error, "a connection that has gone could not say so");
                return;
            }
            tokio::time::sleep(pause).await;
            pause = longest.min(2 * pause);
        }
    }
}

/// A put whose answer is not there yet. Dropped before it came, it has the slot given back: the put may have been stored, or
/// be on its way still.
struct Unsure<'a> {
    places: &'a Places,
    tasks: &'a TaskTracker,
    wanted: Wanted<'a>,
    subject: &'a str,
    /// What the key held before.
    sequence: u64,
    armed: bool,
}

impl Drop for Unsure<'_> {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        let Wanted { device, ttl, grace, .. } = self.wanted;
        let (places, subject, sequence) = (self.places.clone(), self.subject.to_owned(), self.sequence);
        let device = Device { leaving: true, ..device.clone() };
        self.tasks.spawn(async move { give_back(&places, subject, sequence, &device, (ttl, grace)).await });
    }
}

/// Looks whether a slot was taken for a connection that there isn't, for as long as it could be held, and frees it then.
async fn give_back(
    places: &Places,
    subject: String,
    sequence: u64,
    device: &Device,
    (ttl, grace): (Duration, Duration),
) {
    let ends = Instant::now() + ttl;
    let (mut pause, longest) = PAUSES;
    loop {
        let turn = places.turn().await;
        let held = held_now(&places.bus, &subject).await;
        drop(turn);
        match held {
            Ok(held) if held.holder.as_ref().is_some_and(|holder| holder.client == device.client) => {
                let slot = Slot::of(subject, Last { sequence: held.sequence, ends });
                return slot.let_go(places, device, grace).await;
            }
            // Something else was stored there: what was put on condition of the old sequence never will be.
            Ok(held) if held.sequence != sequence => return,
            Ok(_) | Err(_) => {}
        }
        if Instant::now() + pause >= ends {
            return;
        }
        tokio::time::sleep(pause).await;
        pause = longest.min(2 * pause);
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

/// Says that this node is gone: what it may have left behind is free at once.
pub(crate) async fn bye(bus: &Bus, node: &str) -> Result<(), NoSlot> {
    // The mark itself need not stay for ever.
    let message = PublishMessage::build().header("KV-Operation", "DEL").ttl(NODE_TTL);
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
