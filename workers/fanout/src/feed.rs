//! What feeds a topic: its one bus subscription, and the log behind it.
//!
//! Each entry that the server repeats says which entry came before it, so a hole is seen at once and filled from the log.
//! What is missing at the end no later entry tells of: after a lost connection, and from time to time, the log is asked.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_nats::{Message, Subscriber};
use futures_util::StreamExt;
use omnibus_runtime::metrics::Metric;
use omnibus_schemas::platform::Outcome;
use omnibus_schemas::subject::EventSubject;
use omnibus_schemas::{Encoding, body, headers};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::codes::{Close, INSUFFICIENT_STATE, LEFT};
use crate::hub::Hub;
use crate::log::{Kept, Most, Unread, repeated, trace_of};
use crate::protocol::one_line;
use crate::topic::{Topic, TopicKind};

/// Between two looks whether the log has more than was heard of.
const LOOK_EVERY: Duration = Duration::from_secs(25);
/// From a connection that is back to the look at what was missed.
const SOON: Duration = Duration::from_millis(300);
/// Before the second try to listen, and at most between two.
const PAUSES: (Duration, Duration) = (Duration::from_millis(300), Duration::from_secs(5));
/// The most entries that a hole is filled with; with more, clients start over.
const MOST: usize = 1000;

/// Feeds a topic until `stop`.
pub(crate) async fn run(hub: Arc<Hub>, topic: Weak<Topic>, stop: CancellationToken) {
    let feed = async {
        let Some(subject) = topic.upgrade().map(|topic| topic.subject.clone()) else { return };
        let (first, longest) = PAUSES;
        let mut pause = first;
        loop {
            match listen(&hub, &topic, &subject).await {
                Ok((mut messages, mut connected)) => {
                    pause = first;
                    let why = follow(&hub, &topic, &mut messages, &mut connected).await;
                    tracing::warn!(why, "a channel is listened to anew");
                    if let Some(topic) = topic.upgrade() {
                        topic.pause();
                        topic.reset();
                    }
                }
                Err(why) => tracing::warn!(why, "a channel can't be listened to; trying again"),
            }
            tokio::time::sleep(about(pause)).await;
            pause = longest.min(2 * pause);
        }
    };
    stop.run_until_cancelled(feed).await;
}

/// A quarter more or less: what happens to all topics of a node at once is not answered by all of them at once.
fn about(time: Duration) -> Duration {
    // Whatever a fresh key makes of nothing.
    let chance = (RandomState::new().build_hasher().finish() % 1000) as u32;
    time * 3 / 4 + time * chance / 2000
}

/// How far a log was heard live, and how far it was read because something was missing.
#[derive(Debug, Default)]
struct Heard {
    live: u64,
    filled: u64,
}

impl Heard {
    /// Whether an entry can't follow what was heard before, though it comes now: then the log may be another one, which
    /// counts from one again. What was read before it was heard comes once more, and is nothing strange.
    fn is_strange(&mut self, sequence: u64, last: u64) -> bool {
        let strange = sequence <= self.live || (sequence <= last && sequence > self.filled);
        self.live = sequence;
        strange
    }
}

/// Subscribes, and only then reads where the log stands: what is stored later is heard.
/// A connection that is lost from here on is seen by the receiver.
async fn listen(hub: &Hub, topic: &Weak<Topic>, subject: &str) -> Result<(Subscriber, watch::Receiver<bool>), String> {
    let mut connected = hub.bus.connected();
    connected.wait_for(|up| *up).await.map_err(|error| error.to_string())?;
    let messages = hub.bus.client().subscribe(subject.to_owned()).await.map_err(|error| error.to_string())?;
    hub.bus.client().flush().await.map_err(|error| error.to_string())?;
    let position = hub.log.position().await.map_err(|error| error.to_string())?;
    let topic = topic.upgrade().ok_or("nobody listens any more")?;
    topic.begin(position.epoch, position.last);
    Ok((messages, connected))
}

/// Returns why it can't go on.
async fn follow(
    hub: &Hub,
    topic: &Weak<Topic>,
    messages: &mut Subscriber,
    connected: &mut watch::Receiver<bool>,
) -> String {
    let mut heard = Heard::default();
    let mut reconnected = false;
    let look = tokio::time::sleep(about(LOOK_EVERY));
    tokio::pin!(look);
    loop {
        tokio::select! {
            biased;
            changed = connected.changed() => {
                if changed.is_err() {
                    return "the connection was closed".to_owned();
                }
                if *connected.borrow() {
                    reconnected = true;
                    look.as_mut().reset(Instant::now() + about(SOON));
                }
            }
            () = look.as_mut(), if *connected.borrow() => {
                look.as_mut().reset(Instant::now() + about(LOOK_EVERY));
                if let Err(why) = look_after(hub, topic, std::mem::take(&mut reconnected), &mut heard).await {
                    return why;
                }
            }
            message = messages.next() => {
                let Some(message) = message else { return "the subscription ended".to_owned() };
                let Some(topic) = topic.upgrade() else { return "nobody listens any more".to_owned() };
                match take(hub, &topic, &message, &mut heard).await {
                    Ok(false) => {}
                    Ok(true) => look.as_mut().reset(Instant::now()),
                    Err(error) => return error.to_string(),
                }
            }
        }
    }
}

/// Whether the log has more than was heard of, and still is the same.
async fn look_after(hub: &Hub, topic: &Weak<Topic>, reconnected: bool, heard: &mut Heard) -> Result<(), String> {
    let Some(topic) = topic.upgrade() else { return Err("nobody listens any more".to_owned()) };
    let TopicKind::Log(log) = &topic.kind else {
        // What was said while nobody could hear it is gone: say so.
        return if reconnected { Err("events may have been missed".to_owned()) } else { Ok(()) };
    };
    if reconnected {
        // Whatever is stored after this was answered, is heard.
        hub.bus.client().flush().await.map_err(|error| error.to_string())?;
    }
    topic.catch_up.forget();
    let position = hub.log.position().await.map_err(|error| error.to_string())?;
    if topic.epoch().as_deref() != Some(&position.epoch) || position.last < topic.last() {
        return Err("the log was made anew".to_owned());
    }
    match hub.log.newest(log).await.map_err(|error| error.to_string())? {
        Some(newest) if newest > topic.last() => {
            fill(hub, &topic, log, newest, heard).await.map_err(|error| error.to_string())
        }
        _ => Ok(()),
    }
}

/// Hands on what came. `true` if the log is to be looked at.
async fn take(hub: &Hub, topic: &Topic, message: &Message, heard: &mut Heard) -> Result<bool, Unread> {
    let trace = trace_of(message.headers.as_ref());
    match (&topic.kind, repeated(message)) {
        (TopicKind::Log(log), Some((sequence, before))) => {
            if heard.is_strange(sequence, topic.last()) {
                return Ok(true);
            }
            if before > topic.last() && sequence > topic.last() {
                fill(hub, topic, log, before, heard).await?;
            }
            hand_on(topic, &Kept { sequence, body: message.payload.clone(), trace }, LEFT);
        }
        (TopicKind::Log(_), None) => {
            if let Some(data) = one_line(&message.payload) {
                topic.passing(data.get(), trace.as_ref());
            }
        }
        (TopicKind::Events, _) => {
            if let Some((_, _, told)) = told(message) {
                topic.passing(&told, trace.as_ref());
            }
        }
        (TopicKind::Outcomes, _) => {
            let cause = message.headers.as_ref().and_then(|map| map.get(headers::CAUSATION));
            let id = cause.and_then(|id| id.as_str().parse::<Uuid>().ok());
            if let (Some(id), Some((domain, Some(_), told))) = (id, told(message)) {
                topic.outcome(id, &domain, &told, trace.as_ref());
            }
        }
    }
    Ok(false)
}

/// Reads what was not heard, up to and with `upto`, and hands it on: all of it, or nothing. Without all of it, whoever
/// listens is told to ask for himself, and whoever has left the room meanwhile is let in no more.
async fn fill(hub: &Hub, topic: &Topic, log: &str, upto: u64, heard: &mut Heard) -> Result<(), Unread> {
    let most = Most { entries: MOST, bytes: hub.queue_bytes / 2 };
    let missing = match topic.epoch() {
        Some(epoch) => hub.log.missed(log, (&epoch, topic.last()), upto, most).await?,
        None => None,
    };
    // A replica that answers may be behind the one that the entry was heard of.
    if missing.as_ref().is_some_and(|all| all.last().map(|kept| kept.sequence) != Some(upto)) {
        return Err(Unread::behind());
    }
    heard.filled = upto;
    let Some(missing) = missing else {
        topic.skip(upto);
        topic.reset();
        return Ok(());
    };
    for kept in missing {
        // Who has left in there may be back by now: he is to ask again.
        hand_on(topic, &kept, INSUFFICIENT_STATE);
    }
    topic.skip(upto);
    Metric::GapsFilled.count(&[]);
    Ok(())
}

/// Hands on an entry. If it tells that somebody has left, his listening ends with `left`.
fn hand_on(topic: &Topic, kept: &Kept, left: Close) {
    let Some(data) = one_line(&kept.body) else {
        tracing::error!(sequence = kept.sequence, "an entry of a log is not JSON; it is left out");
        return;
    };
    if !topic.entry(kept.sequence, data.get(), kept.trace.as_ref()) {
        return;
    }
    let Ok(Entry { kind, user, revision, message_id }) = serde_json::from_slice(&kept.body) else { return };
    topic.has_revision(revision);
    if let ("message", Some(message)) = (kind, message_id) {
        topic.said(message);
    }
    if let ("left", Some(user)) = (kind, user) {
        topic.user_left(user, left);
    }
}

/// As much of an entry as this door reads.
#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(rename = "type", borrow)]
    kind: &'a str,
    #[serde(default, borrow)]
    user: Option<&'a str>,
    #[serde(default)]
    revision: i64,
    #[serde(default)]
    message_id: Option<Uuid>,
}

/// An event as clients see it: its domain, its outcome if it is the last of its command, and its text.
fn told(message: &Message) -> Option<(String, Option<Outcome>, String)> {
    let get = |name: &str| message.headers.as_ref()?.get(name).map(|value| value.as_str());
    let subject = EventSubject::parse(&message.subject)?;
    let outcome = get(headers::OUTCOME).and_then(Outcome::parse);
    let encoding = get(headers::CONTENT_TYPE).and_then(Encoding::from_content_type).unwrap_or_default();
    let data = body::to_json(encoding, &message.payload).ok()?;
    let told = json!({
        "event": format!("{}.{}", subject.domain, subject.name),
        "id": get(headers::ID),
        "time": get(headers::TIME),
        "command": get(headers::CAUSATION),
        "outcome": outcome.map(Outcome::as_str),
        "data": data,
    });
    Some((subject.domain.to_owned(), outcome, told.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_not_follow_what_was_heard_is_strange() {
        let mut heard = Heard::default();
        // Live, one after the other; others' entries stand between.
        assert!(!heard.is_strange(11, 10) && !heard.is_strange(15, 11));
        // A hole was filled up to 30 before the rest of it was heard.
        heard.filled = 30;
        assert!(!heard.is_strange(20, 30) && !heard.is_strange(30, 30) && !heard.is_strange(31, 30));
        // A log that counts from one again.
        assert!(heard.is_strange(1, 31));
        // So does one of which nothing was heard before.
        assert!(Heard::default().is_strange(3, 10));
    }

    #[test]
    fn about_is_a_quarter_more_or_less() {
        let time = Duration::from_secs(100);
        let all: Vec<_> = (0..100).map(|_| about(time)).collect();
        assert!(all.iter().all(|one| (time * 3 / 4..time * 5 / 4).contains(one)));
        assert!(all.iter().any(|one| *one != all[0]));
    }
}
