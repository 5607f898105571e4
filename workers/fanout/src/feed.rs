//! What feeds a topic: its one bus subscription, and the log behind it.
//!
//! Each entry that the server repeats says which entry came before it, so a hole is seen at once and filled from the log.
//! What is missing at the end no later entry tells of: after a lost connection, and from time to time, the log is asked.

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
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::hub::{Hub, Topic, TopicKind};
use crate::log::{Unread, repeated};
use crate::protocol::one_line;

/// Between two looks whether the log has more than was heard of.
const LOOK_EVERY: Duration = Duration::from_secs(25);
/// Between two tries to listen.
const PAUSE: Duration = Duration::from_millis(300);
/// The most entries that a hole is filled with; with more, clients start over.
const MOST: usize = 1000;

/// Feeds a topic until `stop`.
pub(crate) async fn run(hub: Arc<Hub>, topic: Weak<Topic>, stop: CancellationToken) {
    let feed = async {
        let Some(subject) = topic.upgrade().map(|topic| topic.subject.clone()) else { return };
        let mut first = true;
        loop {
            if !first {
                tokio::time::sleep(PAUSE).await;
            }
            first = false;
            let (mut messages, mut connected) = match listen(&hub, &topic, &subject).await {
                Ok(listening) => listening,
                Err(why) => {
                    tracing::warn!(why, "a channel can't be listened to; trying again");
                    continue;
                }
            };
            let why = follow(&hub, &topic, &mut messages, &mut connected).await;
            tracing::warn!(why, "a channel is listened to anew");
            if let Some(topic) = topic.upgrade() {
                topic.pause();
                topic.reset();
            }
        }
    };
    stop.run_until_cancelled(feed).await;
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
    let mut look = tokio::time::interval(LOOK_EVERY);
    look.reset();
    loop {
        let looked = tokio::select! {
            message = messages.next() => {
                let Some(message) = message else { return "the subscription ended".to_owned() };
                let Some(topic) = topic.upgrade() else { return "nobody listens any more".to_owned() };
                match take(hub, &topic, &message).await {
                    Ok(()) => continue,
                    Err(error) => Err(error.to_string()),
                }
            }
            changed = connected.changed() => {
                if changed.is_err() {
                    return "the connection was closed".to_owned();
                }
                if !*connected.borrow() {
                    continue;
                }
                look_after(hub, topic, true).await
            }
            _ = look.tick(), if *connected.borrow() => look_after(hub, topic, false).await,
        };
        if let Err(why) = looked {
            return why;
        }
    }
}

/// Whether the log has more than was heard of, and still is the same.
async fn look_after(hub: &Hub, topic: &Weak<Topic>, reconnected: bool) -> Result<(), String> {
    let Some(topic) = topic.upgrade() else { return Err("nobody listens any more".to_owned()) };
    let TopicKind::Log(log) = &topic.kind else {
        // What was said while nobody could hear it is gone: say so.
        return if reconnected { Err("events may have been missed".to_owned()) } else { Ok(()) };
    };
    if reconnected {
        // Whatever is stored after this was answered, is heard.
        hub.bus.client().flush().await.map_err(|error| error.to_string())?;
    }
    let position = hub.log.position().await.map_err(|error| error.to_string())?;
    if topic.epoch().as_deref() != Some(&position.epoch) || position.last < topic.last() {
        return Err("the log was made anew".to_owned());
    }
    match hub.log.newest(log).await.map_err(|error| error.to_string())? {
        Some(newest) if newest > topic.last() => {
            fill(hub, &topic, log, newest).await.map_err(|error| error.to_string())
        }
        _ => Ok(()),
    }
}

async fn take(hub: &Hub, topic: &Topic, message: &Message) -> Result<(), Unread> {
    match (&topic.kind, repeated(message)) {
        (TopicKind::Log(log), Some((sequence, before))) => {
            if before > topic.last() && sequence > topic.last() {
                fill(hub, topic, log, before).await?;
            }
            hand_on(topic, sequence, &message.payload);
        }
        (TopicKind::Log(_), None) => {
            if let Some(data) = one_line(&message.payload) {
                topic.passing(data.get());
            }
        }
        (TopicKind::Events, _) => {
            if let Some((_, _, told)) = told(message) {
                topic.passing(&told);
            }
        }
        (TopicKind::Outcomes, _) => {
            let cause = message.headers.as_ref().and_then(|map| map.get(headers::CAUSATION));
            let id = cause.and_then(|id| id.as_str().parse::<Uuid>().ok());
            if let (Some(id), Some((domain, Some(_), told))) = (id, told(message)) {
                topic.outcome(id, &domain, &told);
            }
        }
    }
    Ok(())
}

/// Reads what was not heard, up to and with `upto`, and hands it on.
async fn fill(hub: &Hub, topic: &Topic, log: &str, upto: u64) -> Result<(), Unread> {
    let missing = hub.log.after(log, topic.last(), MOST).await?;
    Metric::GapsFilled.count(&[]);
    for kept in missing.iter().filter(|kept| kept.sequence <= upto) {
        hand_on(topic, kept.sequence, &kept.body);
    }
    if topic.last() < upto && missing.len() >= MOST {
        // More than anybody can be handed at once: clients read the history instead.
        topic.reset();
    }
    Ok(())
}

fn hand_on(topic: &Topic, sequence: u64, body: &[u8]) {
    let Some(data) = one_line(body) else {
        tracing::error!(sequence, "an entry of a log is not JSON; it is left out");
        return;
    };
    topic.entry(sequence, data.get());
    if let Ok(Left { kind: "left", user: Some(user) }) = serde_json::from_slice(body) {
        topic.user_left(user);
    }
}

/// As much of an entry as this door reads.
#[derive(Deserialize)]
struct Left<'a> {
    #[serde(rename = "type", borrow)]
    kind: &'a str,
    #[serde(default, borrow)]
    user: Option<&'a str>,
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
