//! Who listens to what on this node: one topic, with one bus subscription, for each channel that anybody listens to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::ws::Utf8Bytes;
use omnibus_runtime::Bus;
use omnibus_runtime::metrics::Metric;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use crate::channel::Channel;
use crate::codes::{Close, INSUFFICIENT_STATE, LEFT};
use crate::feed;
use crate::link::Link;
use crate::log::Log;
use crate::protocol::{publication, unsubscribed};

/// How long a topic may take to be on the bus.
const PATIENCE: Duration = Duration::from_secs(5);

/// All topics of this node.
pub(crate) struct Hub {
    pub(crate) bus: Bus,
    pub(crate) log: Log,
    topics: Mutex<HashMap<String, Arc<Topic>>>,
}

/// A channel that somebody listens to.
pub(crate) struct Topic {
    pub(crate) subject: String,
    pub(crate) kind: TopicKind,
    state: Mutex<State>,
    /// The epoch, once the bus subscription stands.
    ready: watch::Sender<Option<String>>,
    _stop: DropGuard,
}

/// What a topic carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TopicKind {
    /// A log, read under this subject, and what is said beside it.
    Log(String),
    /// A domain's events.
    Events,
    /// All of a tenant's events, of which each listener wants one command's outcome.
    Outcomes,
}

#[derive(Default)]
struct State {
    listeners: HashMap<u64, Listener>,
    /// The sequence up to which the log was handed on.
    last: u64,
}

/// Somebody who listens.
struct Listener {
    link: Arc<Link>,
    channel: Arc<str>,
    user: Arc<str>,
    /// While it catches up: what has come meanwhile.
    waiting: Option<Vec<(u64, Utf8Bytes)>>,
    /// The command whose outcome it waits for, and the domains whose events it may read.
    command: Option<(Uuid, Arc<Vec<String>>)>,
    /// Told when the listening ends by itself.
    ended: Arc<Mutex<Vec<String>>>,
}

/// A place among those who listen, held by a session. It begins by catching up.
pub(crate) struct Seat {
    hub: Arc<Hub>,
    pub(crate) topic: Arc<Topic>,
    listener: u64,
}

/// How a socket listens.
pub(crate) struct Joining<'a> {
    pub(crate) channel: &'a Channel,
    pub(crate) name: &'a str,
    pub(crate) tenant: &'a str,
    pub(crate) user: Arc<str>,
    pub(crate) link: Arc<Link>,
    /// Domains whose events it may read, for the outcome of a command.
    pub(crate) domains: Arc<Vec<String>>,
    pub(crate) ended: Arc<Mutex<Vec<String>>>,
    /// Distinguishes one listening from another.
    pub(crate) key: u64,
}

impl Hub {
    pub(crate) fn new(bus: Bus) -> Arc<Self> {
        Arc::new(Hub { log: Log::new(bus.clone()), bus, topics: Mutex::default() })
    }

    /// Takes a place. From here on nothing is missed.
    pub(crate) fn join(self: &Arc<Self>, joining: Joining<'_>) -> Seat {
        let subject = joining.channel.subject(joining.tenant);
        let mut topics = self.topics.lock().expect("no panic happens under this lock");
        let topic = topics.entry(subject.clone()).or_insert_with(|| {
            let kind = match (joining.channel, joining.channel.log(joining.tenant)) {
                (_, Some(log)) => TopicKind::Log(log),
                (Channel::Command(_), None) => TopicKind::Outcomes,
                _ => TopicKind::Events,
            };
            let stop = CancellationToken::new();
            let topic = Arc::new(Topic {
                subject,
                kind,
                state: Mutex::default(),
                ready: watch::Sender::new(None),
                _stop: stop.clone().drop_guard(),
            });
            tokio::spawn(feed::run(self.clone(), Arc::downgrade(&topic), stop));
            Metric::Channels.set(topics_now(1), &[]);
            topic
        });
        let command = match joining.channel {
            Channel::Command(id) => Some((*id, joining.domains)),
            _ => None,
        };
        let listener = Listener {
            link: joining.link,
            channel: joining.name.into(),
            user: joining.user,
            waiting: Some(Vec::new()),
            command,
            ended: joining.ended,
        };
        topic.state.lock().expect("no panic happens under this lock").listeners.insert(joining.key, listener);
        Seat { hub: self.clone(), topic: topic.clone(), listener: joining.key }
    }

    /// Every topic there is.
    pub(crate) fn topics(&self) -> Vec<Arc<Topic>> {
        self.topics.lock().expect("no panic happens under this lock").values().cloned().collect()
    }
}

/// How many topics there are, for the gauge.
fn topics_now(change: i64) -> f64 {
    use std::sync::atomic::{AtomicI64, Ordering};
    static TOPICS: AtomicI64 = AtomicI64::new(0);
    (TOPICS.fetch_add(change, Ordering::Relaxed) + change) as f64
}

impl Topic {
    /// Waits until the bus is listened to. The epoch, or `None` if that takes too long.
    pub(crate) async fn ready(&self) -> Option<String> {
        let mut ready = self.ready.subscribe();
        let ready = tokio::time::timeout(PATIENCE, ready.wait_for(Option::is_some)).await.ok()?.ok()?;
        ready.clone()
    }

    /// The bus is listened to from now on, and the log was read up to here.
    pub(crate) fn begin(&self, epoch: String, last: u64) {
        self.state.lock().expect("no panic happens under this lock").last = last;
        self.ready.send_replace(Some(epoch));
    }

    /// The bus is not listened to any more.
    pub(crate) fn pause(&self) {
        self.ready.send_replace(None);
    }

    pub(crate) fn epoch(&self) -> Option<String> {
        self.ready.borrow().clone()
    }

    pub(crate) fn last(&self) -> u64 {
        self.state.lock().expect("no panic happens under this lock").last
    }

    /// Hands an entry of the log to everybody.
    pub(crate) fn entry(&self, sequence: u64, data: &str) {
        let mut state = self.state.lock().expect("no panic happens under this lock");
        if sequence <= state.last {
            return;
        }
        state.last = sequence;
        self.hand_out(&mut state, data, Some(sequence));
    }

    /// Hands something that stands in no log to everybody who does not catch up just now.
    pub(crate) fn passing(&self, data: &str) {
        self.hand_out(&mut self.state.lock().expect("no panic happens under this lock"), data, None);
    }

    fn hand_out(&self, state: &mut State, data: &str, sequence: Option<u64>) {
        // All who listen to a log or to events know it by one name: it is written once.
        let Some(name) = state.listeners.values().next().map(|one| one.channel.clone()) else { return };
        let push = publication(&name, data, sequence);
        for listener in state.listeners.values_mut() {
            match (&mut listener.waiting, sequence) {
                (None, _) => listener.link.push(push.clone()),
                (Some(waiting), Some(sequence)) => waiting.push((sequence, push.clone())),
                (Some(_), None) => {}
            }
        }
        Metric::Pushed.add(state.listeners.len() as u64, &[]);
    }

    /// Hands a command's outcome to those who wait for it.
    pub(crate) fn outcome(&self, id: Uuid, domain: &str, data: &str) {
        let mut state = self.state.lock().expect("no panic happens under this lock");
        for listener in state.listeners.values_mut() {
            let wanted =
                listener.command.as_ref().is_some_and(|(wanted, may)| *wanted == id && may.iter().any(|d| d == domain));
            if wanted {
                // Once: what comes later is a repetition.
                listener.command = None;
                let push = publication(&listener.channel, data, None);
                match &mut listener.waiting {
                    Some(waiting) => waiting.push((0, push)),
                    None => listener.link.push(push),
                }
            }
        }
    }

    /// Ends the listening of a user who has left the room.
    pub(crate) fn user_left(&self, user: &str) {
        self.end_where(LEFT, |listener| &*listener.user == user);
    }

    /// Ends everybody's: the clients come back and are told whether they have missed anything.
    pub(crate) fn reset(&self) {
        self.end_where(INSUFFICIENT_STATE, |_| true);
    }

    fn end_where(&self, why: Close, which: impl Fn(&Listener) -> bool) {
        let mut state = self.state.lock().expect("no panic happens under this lock");
        let ending: Vec<u64> =
            state.listeners.iter().filter(|(_, listener)| which(listener)).map(|(key, _)| *key).collect();
        for key in ending {
            let Some(listener) = state.listeners.remove(&key) else { continue };
            listener.ended.lock().expect("no panic happens under this lock").push(listener.channel.to_string());
            // Who is still catching up finds its place gone, and is refused.
            if listener.waiting.is_none() {
                listener.link.push(unsubscribed(&listener.channel, why));
            }
        }
    }
}

impl Seat {
    /// Ends the catching up: `reply` is sent, then what has come meanwhile and is newer than `seen`, then all that comes.
    /// `false` if the listening has ended by itself.
    pub(crate) fn go_live(&self, reply: Utf8Bytes, seen: u64) -> bool {
        let mut state = self.topic.state.lock().expect("no panic happens under this lock");
        let Some(listener) = state.listeners.get_mut(&self.listener) else { return false };
        listener.link.push(reply);
        for (sequence, push) in listener.waiting.take().into_iter().flatten() {
            if sequence == 0 || sequence > seen {
                listener.link.push(push);
            }
        }
        true
    }

    /// The outcome was found elsewhere: it waits with the rest.
    pub(crate) fn outcome(&self, id: Uuid, domain: &str, data: &str) {
        self.topic.outcome(id, domain, data);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut topics = self.hub.topics.lock().expect("no panic happens under this lock");
        let mut state = self.topic.state.lock().expect("no panic happens under this lock");
        state.listeners.remove(&self.listener);
        let last = state.listeners.is_empty();
        // Another topic may stand under this subject by now.
        let ours = topics.get(&self.topic.subject).is_some_and(|there| Arc::ptr_eq(there, &self.topic));
        if last && ours {
            topics.remove(&self.topic.subject);
            Metric::Channels.set(topics_now(-1), &[]);
        }
    }
}
