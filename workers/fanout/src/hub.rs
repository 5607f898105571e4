//! Who listens to what on this node: one topic, with one bus subscription, for each channel that anybody listens to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::extract::ws::Utf8Bytes;
use omnibus_runtime::Bus;
use omnibus_runtime::metrics::Metric;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::channel::Channel;
use crate::feed;
use crate::link::Link;
use crate::log::Log;
use crate::topic::{Listener, Topic, TopicKind};

/// All topics of this node.
pub(crate) struct Hub {
    pub(crate) bus: Bus,
    pub(crate) log: Log,
    /// Most bytes that may wait for one who listens.
    pub(crate) queue_bytes: usize,
    topics: Mutex<HashMap<String, Arc<Topic>>>,
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
    pub(crate) fn new(bus: Bus, queue_bytes: usize) -> Arc<Self> {
        Arc::new(Hub { log: Log::new(bus.clone()), bus, queue_bytes, topics: Mutex::default() })
    }

    /// Whether anybody on this node listens to a channel.
    pub(crate) fn listens(&self, channel: &Channel, tenant: &str) -> bool {
        self.topics.lock().expect("no panic happens under this lock").contains_key(&channel.subject(tenant))
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
            let topic = Arc::new(Topic::new(subject, kind, self.queue_bytes, stop.clone().drop_guard()));
            tokio::spawn(feed::run(self.clone(), Arc::downgrade(&topic), stop));
            Metric::Channels.set(topics_now(1), &[]);
            topic
        });
        let command = match joining.channel {
            Channel::Command(id) => Some((*id, joining.domains)),
            _ => None,
        };
        let listener = Listener::new(joining.link, joining.name.into(), joining.user, command, joining.ended);
        topic.seat(joining.key, listener);
        Seat { hub: self.clone(), topic: topic.clone(), listener: joining.key }
    }

    /// How many topics there are.
    pub(crate) fn count(&self) -> usize {
        self.topics.lock().expect("no panic happens under this lock").len()
    }
}

/// How many topics there are, for the gauge.
fn topics_now(change: i64) -> f64 {
    use std::sync::atomic::{AtomicI64, Ordering};
    static TOPICS: AtomicI64 = AtomicI64::new(0);
    (TOPICS.fetch_add(change, Ordering::Relaxed) + change) as f64
}

impl Seat {
    /// As [`Topic::go_live`].
    pub(crate) fn go_live(&self, reply: Utf8Bytes, seen: u64) -> bool {
        self.topic.go_live(self.listener, reply, seen)
    }

    /// Domains whose events may be read from now on, for the outcome of a command.
    pub(crate) fn may_read(&self, domains: &Arc<Vec<String>>) {
        self.topic.may_read(self.listener, domains);
    }

    /// The outcome was found elsewhere: it waits with the rest.
    pub(crate) fn outcome(&self, id: Uuid, domain: &str, data: &str) {
        // A worker's page does not name the trace.
        self.topic.outcome(id, domain, data, None);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut topics = self.hub.topics.lock().expect("no panic happens under this lock");
        let last = self.topic.leave(self.listener);
        // Another topic may stand under this subject by now.
        let ours = topics.get(&self.topic.subject).is_some_and(|there| Arc::ptr_eq(there, &self.topic));
        if last && ours {
            topics.remove(&self.topic.subject);
            Metric::Channels.set(topics_now(-1), &[]);
        }
    }
}
