//! A channel that somebody on this node listens to: who they are, and what each of them has got.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::extract::ws::Utf8Bytes;
use omnibus_runtime::metrics::Metric;
use omnibus_runtime::trace::TraceParent;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::DropGuard;
use uuid::Uuid;

use crate::catch_up::CatchUp;
use crate::codes::{Close, INSUFFICIENT_STATE};
use crate::link::Link;
use crate::protocol::{publication, unsubscribed};

/// How long a topic may take to be on the bus.
const PATIENCE: Duration = Duration::from_secs(5);

/// A channel that somebody listens to.
pub(crate) struct Topic {
    pub(crate) subject: String,
    pub(crate) kind: TopicKind,
    /// Most bytes that may wait for one who catches up.
    queue_bytes: usize,
    state: Mutex<State>,
    /// What those who come back have missed of the log.
    pub(crate) catch_up: CatchUp,
    /// The epoch, once the bus subscription stands.
    ready: watch::Sender<Option<String>>,
    /// Ends what feeds it.
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
    /// The highest revision of an entry that was seen; 0 before one was.
    revision: i64,
    /// Who waits for a message of his own to stand in the log.
    expected: HashMap<Uuid, oneshot::Sender<()>>,
}

/// Somebody who listens.
pub(crate) struct Listener {
    link: Arc<Link>,
    channel: Arc<str>,
    user: Arc<str>,
    /// While it catches up: what has come meanwhile.
    waiting: Option<Waiting>,
    /// It has everything up to this sequence, though this node may not have heard of it all.
    after: u64,
    /// The command whose outcome it waits for, and the domains whose events it may read.
    command: Option<(Uuid, Arc<Vec<String>>)>,
    /// Told when the listening ends by itself.
    ended: Arc<Mutex<Vec<String>>>,
}

/// What waits for one who catches up.
#[derive(Default)]
struct Waiting {
    pushes: Vec<(u64, Utf8Bytes)>,
    bytes: usize,
}

impl Listener {
    pub(crate) fn new(
        link: Arc<Link>,
        channel: Arc<str>,
        user: Arc<str>,
        command: Option<(Uuid, Arc<Vec<String>>)>,
        ended: Arc<Mutex<Vec<String>>>,
    ) -> Self {
        Listener { link, channel, user, waiting: Some(Waiting::default()), after: 0, command, ended }
    }
}

impl Topic {
    pub(crate) fn new(subject: String, kind: TopicKind, queue_bytes: usize, stop: DropGuard) -> Self {
        let ready = watch::Sender::new(None);
        let (state, catch_up) = (Mutex::default(), CatchUp::default());
        Topic { subject, kind, queue_bytes, state, catch_up, ready, _stop: stop }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic happens under this lock")
    }

    /// Somebody comes, and catches up first.
    pub(crate) fn seat(&self, key: u64, listener: Listener) {
        self.state().listeners.insert(key, listener);
    }

    /// Somebody goes. `true` if nobody is left.
    pub(crate) fn leave(&self, key: u64) -> bool {
        let mut state = self.state();
        state.listeners.remove(&key);
        state.listeners.is_empty()
    }

    /// Waits until the bus is listened to. The epoch, or `None` if that takes too long.
    pub(crate) async fn ready(&self) -> Option<String> {
        let mut ready = self.ready.subscribe();
        let ready = tokio::time::timeout(PATIENCE, ready.wait_for(Option::is_some)).await.ok()?.ok()?;
        ready.clone()
    }

    /// The bus is listened to from now on, and the log was read up to here.
    pub(crate) fn begin(&self, epoch: String, last: u64) {
        self.state().last = last;
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
        self.state().last
    }

    /// The highest revision of an entry that was seen here; 0 before one was.
    pub(crate) fn revision(&self) -> i64 {
        self.state().revision
    }

    /// An entry of this revision is there.
    pub(crate) fn has_revision(&self, revision: i64) {
        let mut state = self.state();
        state.revision = state.revision.max(revision);
    }

    /// Told when the message of this id has been handed on.
    pub(crate) fn expect(&self, message: Uuid) -> oneshot::Receiver<()> {
        let (tell, told) = oneshot::channel();
        let mut state = self.state();
        // Whoever does not wait any more has dropped the other end.
        state.expected.retain(|_, one| !one.is_closed());
        state.expected.insert(message, tell);
        told
    }

    /// A message was handed on.
    pub(crate) fn said(&self, message: Uuid) {
        if let Some(tell) = self.state().expected.remove(&message) {
            // Nobody waits any more: nobody needs to know.
            let _ = tell.send(());
        }
    }

    /// Nothing up to this sequence is handed on any more.
    pub(crate) fn skip(&self, upto: u64) {
        let mut state = self.state();
        state.last = state.last.max(upto);
    }

    /// Hands an entry of the log to everybody who has not got it. `false` if it was handed on before.
    pub(crate) fn entry(&self, sequence: u64, data: &str, trace: Option<&TraceParent>) -> bool {
        let mut state = self.state();
        if sequence <= state.last {
            return false;
        }
        state.last = sequence;
        self.hand_out(&mut state, data, Some(sequence), trace);
        true
    }

    /// Hands something that stands in no log to everybody who does not catch up just now.
    pub(crate) fn passing(&self, data: &str, trace: Option<&TraceParent>) {
        self.hand_out(&mut self.state(), data, None, trace);
    }

    fn hand_out(&self, state: &mut State, data: &str, sequence: Option<u64>, trace: Option<&TraceParent>) {
        // All who listen to a log or to events know it by one name: it is written once.
        let Some(name) = state.listeners.values().next().map(|one| one.channel.clone()) else { return };
        let push = publication(&name, data, sequence, trace);
        let (mut pushed, mut behind) = (0, Vec::new());
        for (key, listener) in &mut state.listeners {
            if sequence.is_some_and(|sequence| sequence <= listener.after) {
                continue;
            }
            match (&mut listener.waiting, sequence) {
                (None, _) => listener.link.push(push.clone()),
                (Some(waiting), Some(sequence)) => {
                    waiting.bytes += push.len();
                    waiting.pushes.push((sequence, push.clone()));
                    if waiting.bytes > self.queue_bytes {
                        behind.push(*key);
                    }
                }
                (Some(_), None) => continue,
            }
            pushed += 1;
        }
        handed_out(pushed, trace);
        for key in behind {
            end(state, key, INSUFFICIENT_STATE);
        }
    }

    /// Hands a command's outcome to those who wait for it.
    pub(crate) fn outcome(&self, id: Uuid, domain: &str, data: &str, trace: Option<&TraceParent>) {
        let mut pushed = 0;
        for listener in self.state().listeners.values_mut() {
            let wanted =
                listener.command.as_ref().is_some_and(|(wanted, may)| *wanted == id && may.iter().any(|d| d == domain));
            if wanted {
                // Once: what comes later is a repetition.
                listener.command = None;
                let push = publication(&listener.channel, data, None, trace);
                match &mut listener.waiting {
                    Some(waiting) => waiting.pushes.push((0, push)),
                    None => listener.link.push(push),
                }
                pushed += 1;
            }
        }
        handed_out(pushed, trace);
    }

    /// Somebody may read other domains' events from now on.
    pub(crate) fn may_read(&self, key: u64, domains: &Arc<Vec<String>>) {
        let mut state = self.state();
        if let Some((_, may)) = state.listeners.get_mut(&key).and_then(|listener| listener.command.as_mut()) {
            *may = domains.clone();
        }
    }

    /// Ends the listening of a user who has left the room.
    pub(crate) fn user_left(&self, user: &str, why: Close) {
        self.end_where(why, |listener| &*listener.user == user);
    }

    /// Ends everybody's: the clients come back and are told whether they have missed anything.
    pub(crate) fn reset(&self) {
        self.end_where(INSUFFICIENT_STATE, |_| true);
    }

    fn end_where(&self, why: Close, which: impl Fn(&Listener) -> bool) {
        let mut state = self.state();
        let ending: Vec<u64> =
            state.listeners.iter().filter(|(_, listener)| which(listener)).map(|(key, _)| *key).collect();
        for key in ending {
            end(&mut state, key, why);
        }
    }

    /// Ends somebody's catching up: `reply` is sent, then what has come meanwhile and is newer than `seen`, then all that
    /// comes. `false` if the listening has ended by itself.
    pub(crate) fn go_live(&self, key: u64, reply: Utf8Bytes, seen: u64) -> bool {
        let mut state = self.state();
        let Some(listener) = state.listeners.get_mut(&key) else { return false };
        listener.link.push(reply);
        for (sequence, push) in listener.waiting.take().unwrap_or_default().pushes {
            if sequence == 0 || sequence > seen {
                listener.link.push(push);
            }
        }
        listener.after = seen;
        true
    }
}

/// The last step of a trace: what it has led to is on its way to so many sockets.
fn handed_out(sockets: u64, trace: Option<&TraceParent>) {
    if sockets > 0 {
        Metric::Pushed.add(sockets, &[]);
        tracing::debug!(trace_id = trace.map(TraceParent::trace_id), sockets, "handed to sockets");
    }
}

fn end(state: &mut State, key: u64, why: Close) {
    let Some(listener) = state.listeners.remove(&key) else { return };
    listener.ended.lock().expect("no panic happens under this lock").push(listener.channel.to_string());
    // Who is still catching up finds its place gone, and is refused.
    if listener.waiting.is_none() {
        listener.link.push(unsubscribed(&listener.channel, why));
    }
}

#[cfg(test)]
mod tests {
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::link::Next;

    fn topic(queue_bytes: usize) -> Topic {
        let kind = TopicKind::Log("rooms.room.a.acme".to_owned());
        Topic::new("live.acme.room.a".to_owned(), kind, queue_bytes, CancellationToken::new().drop_guard())
    }

    fn listener(topic: &Topic, key: u64, user: &str) -> (Arc<Link>, Arc<Mutex<Vec<String>>>) {
        let (link, ended) = (Arc::new(Link::new(1024 * 1024)), Arc::default());
        let listener = Listener::new(link.clone(), "room:a".into(), user.into(), None, Arc::clone(&ended));
        topic.seat(key, listener);
        (link, ended)
    }

    /// Everything that waits for a socket, which is closed by this.
    async fn texts(link: &Link) -> String {
        link.close(crate::codes::NORMAL);
        let mut all = String::new();
        while let Next::Texts(texts) = link.next(usize::MAX).await {
            texts.iter().for_each(|text| all.push_str(text));
        }
        all
    }

    #[tokio::test]
    async fn a_client_that_is_ahead_of_its_node_gets_no_entry_twice() {
        let topic = topic(1024);
        topic.begin("e".to_owned(), 5);
        let (ahead, _) = listener(&topic, 1, "ada");
        let (level, _) = listener(&topic, 2, "bob");
        // While Ada catches up, and after that, this node hears of what she has seen on another.
        topic.entry(6, "6", None);
        assert!(topic.go_live(1, "reply".into(), 8) && topic.go_live(2, "reply".into(), 5));
        for sequence in 7..=9 {
            assert!(topic.entry(sequence, &sequence.to_string(), None));
        }
        assert!(!topic.entry(9, "9", None), "it was handed on before");
        let push = |sequence: u64| publication("room:a", &sequence.to_string(), Some(sequence), None).to_string();
        assert_eq!(texts(&ahead).await, format!("reply{}", push(9)));
        assert_eq!(texts(&level).await, format!("reply{}{}{}{}", push(6), push(7), push(8), push(9)));
    }

    #[tokio::test]
    async fn who_catches_up_too_slowly_loses_his_place_and_nobody_else_does() {
        let topic = topic(200);
        let (slow, ended) = listener(&topic, 1, "ada");
        let (live, _) = listener(&topic, 2, "bob");
        assert!(topic.go_live(2, "reply".into(), 0));
        for sequence in 1..=10 {
            topic.entry(sequence, "\"some words\"", None);
        }
        assert!(!topic.go_live(1, "reply".into(), 0));
        assert_eq!(*ended.lock().unwrap(), ["room:a"]);
        assert_eq!(texts(&slow).await, "");
        assert_eq!(texts(&live).await.matches("some words").count(), 10);
    }
}
