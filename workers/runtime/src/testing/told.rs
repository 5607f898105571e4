//! Everything that is said on `EVT` and `DLQ`, as it is said.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::consumer::pull::OrderedConfig;
use futures_util::StreamExt;
use omnibus_schemas::platform::Outcome;
use omnibus_schemas::{Encoding, body, headers};
use tokio::sync::Notify;

use crate::bus::Bus;

/// A message on `EVT` or `DLQ`.
#[derive(Debug, Clone)]
pub struct Told {
    /// Its subject.
    pub subject: String,
    /// The event's name, or the command's for a dead letter.
    pub name: String,
    /// The tenant in the subject.
    pub tenant: String,
    /// `ce-id`.
    pub id: String,
    /// `Nats-Msg-Id`.
    pub message_id: String,
    /// `ce-causationid`.
    pub causation: String,
    /// `ce-outcome`.
    pub outcome: Option<Outcome>,
    /// All headers, first values.
    pub headers: Vec<(String, String)>,
    /// The payload.
    pub data: serde_json::Value,
    /// The stream's sequence.
    pub sequence: u64,
}

impl Told {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }
}

pub(super) struct Listener {
    heard: Arc<Mutex<Vec<Told>>>,
    more: Arc<Notify>,
}

impl Listener {
    pub(super) fn start(operator: &Bus) -> Self {
        let listener = Listener { heard: Arc::default(), more: Arc::default() };
        for stream in ["EVT", "DLQ"] {
            tokio::spawn(follow(stream, operator.clone(), listener.heard.clone(), listener.more.clone()));
        }
        listener
    }

    pub(super) fn deaf() -> Self {
        Listener { heard: Arc::default(), more: Arc::default() }
    }

    pub(super) fn all(&self) -> Vec<Told> {
        self.heard.lock().expect("no panic happens under this lock").clone()
    }

    pub(super) async fn wait(&self, patience: Duration, wanted: impl Fn(&Told) -> bool) -> Told {
        let waiting = async {
            loop {
                let notified = self.more.notified();
                tokio::pin!(notified);
                notified.as_mut().enable();
                let found =
                    self.heard.lock().expect("no panic happens under this lock").iter().find(|t| wanted(t)).cloned();
                match found {
                    Some(told) => return told,
                    None => notified.await,
                }
            }
        };
        match tokio::time::timeout(patience, waiting).await {
            Ok(told) => told,
            Err(_) => panic!("not told within {patience:?}; told were: {:#?}", self.all()),
        }
    }
}

async fn follow(stream: &'static str, operator: Bus, heard: Arc<Mutex<Vec<Told>>>, more: Arc<Notify>) {
    let (mut connected, mut next) = (operator.connected(), 1);
    loop {
        connected.mark_unchanged();
        let following = async {
            let config = OrderedConfig {
                deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: next },
                ..OrderedConfig::default()
            };
            let stream = operator.jetstream().get_stream_no_info(stream).await?;
            Ok::<_, async_nats::Error>(stream.create_consumer(config).await?.messages().await?)
        };
        let Ok(mut messages) = following.await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        loop {
            let message = tokio::select! {
                message = messages.next() => message,
                // A server that was killed has forgotten the consumer; its heartbeat would tell so late.
                changed = connected.changed() => match changed {
                    Ok(()) if *connected.borrow() => break,
                    Ok(()) => continue,
                    Err(_) => return,
                },
            };
            match message {
                Some(Ok(message)) => {
                    let told = read(&message);
                    next = told.sequence + 1;
                    heard.lock().expect("no panic happens under this lock").push(told);
                    more.notify_waiters();
                }
                Some(Err(_)) => {}
                None => break,
            }
        }
    }
}

fn read(message: &async_nats::jetstream::Message) -> Told {
    let headers: Vec<(String, String)> = message
        .headers
        .iter()
        .flat_map(|map| map.iter())
        .filter_map(|(name, values)| Some((name.to_string(), values.first()?.to_string())))
        .collect();
    let get = |name: &str| headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.clone());
    let tokens: Vec<_> = message.subject.split('.').collect();
    let token = |from_end: usize| tokens.iter().rev().nth(from_end).map(|t| (*t).to_owned()).unwrap_or_default();
    let encoding = get(headers::CONTENT_TYPE).and_then(|value| Encoding::from_content_type(&value)).unwrap_or_default();
    Told {
        subject: message.subject.to_string(),
        name: token(1),
        tenant: token(0),
        id: get(headers::ID).unwrap_or_default(),
        message_id: get(headers::MSG_ID).unwrap_or_default(),
        causation: get(headers::CAUSATION).unwrap_or_default(),
        outcome: get(headers::OUTCOME).and_then(|word| Outcome::parse(&word)),
        data: body::to_json(encoding, &message.payload).unwrap_or_default(),
        sequence: message.info().map(|info| info.stream_sequence).unwrap_or_default(),
        headers,
    }
}
