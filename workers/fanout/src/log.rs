//! Reads the stream of logs: where it stands, and what a client has missed.
//!
//! A position is the stream's identity (the epoch: when it was made) and a sequence in it (the offset). Both are the bus's
//! own, so they are the same on every node and outlive each of them.

use std::time::Duration;

use async_nats::jetstream::stream::Info;
use async_nats::{HeaderMap, Message};
use bytes::Bytes;
use futures_util::StreamExt;
use omnibus_bus::{ROOM_HEADS, ROOMS};
use omnibus_runtime::Bus;
use serde::Deserialize;
use serde_json::json;

const SEQUENCE: &str = "Nats-Sequence";
const LAST_SEQUENCE: &str = "Nats-Last-Sequence";
/// How long the bus has for one answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// The most bytes of one answer.
const MOST_BYTES: usize = 1024 * 1024;

/// The log could not be read.
#[derive(Debug, thiserror::Error)]
#[error("the stream {ROOMS} can't be read: {0}")]
pub(crate) struct Unread(String);

/// Where the stream stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Position {
    /// The stream's identity.
    pub(crate) epoch: String,
    /// Its first sequence that is kept.
    first: u64,
    /// Its last.
    pub(crate) last: u64,
    /// Most entries that it keeps of one log.
    most: u64,
    created: i128,
}

/// An entry of a log.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    pub(crate) sequence: u64,
    pub(crate) body: Bytes,
}

/// What a client may be handed at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Most {
    pub(crate) entries: usize,
    pub(crate) bytes: usize,
}

/// A reader.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    bus: Bus,
}

impl Log {
    pub(crate) fn new(bus: Bus) -> Self {
        Log { bus }
    }

    /// Where the stream stands now.
    pub(crate) async fn position(&self) -> Result<Position, Unread> {
        let info: Info = self
            .within(async {
                let stream = self.bus.jetstream().get_stream(ROOMS).await.map_err(|e| Unread(e.to_string()))?;
                Ok(stream.cached_info().clone())
            })
            .await?;
        let created = info.created.unix_timestamp_nanos();
        Ok(Position {
            epoch: format!("{created:x}"),
            first: info.state.first_sequence,
            last: info.state.last_sequence,
            most: u64::try_from(info.config.max_messages_per_subject).unwrap_or(u64::MAX),
            created,
        })
    }

    /// Entries of the log `subject` after `offset`, in order; at most `most` of them.
    pub(crate) async fn after(&self, subject: &str, offset: u64, most: usize) -> Result<Vec<Kept>, Unread> {
        let mut found: Vec<Kept> = Vec::new();
        loop {
            let from = found.last().map_or(offset, |kept| kept.sequence) + 1;
            let left = most - found.len();
            if left == 0 {
                return Ok(found);
            }
            let ask = json!({ "seq": from, "next_by_subj": subject, "batch": left.min(256), "max_bytes": MOST_BYTES });
            let (batch, more) = self.within(self.batch(ask)).await?;
            let nothing = batch.is_empty();
            found.extend(batch);
            if nothing || !more {
                return Ok(found);
            }
        }
    }

    /// The sequence of the oldest entry that is kept of a log.
    async fn oldest(&self, subject: &str) -> Result<Option<u64>, Unread> {
        let ask = json!({ "seq": 1, "next_by_subj": subject });
        Ok(self.one(ROOMS, ask).await?.and_then(|message| number(message.headers.as_ref(), SEQUENCE)))
    }

    /// The sequence of the newest entry that is kept of a log.
    pub(crate) async fn newest(&self, subject: &str) -> Result<Option<u64>, Unread> {
        let ask = json!({ "last_by_subj": subject });
        Ok(self.one(ROOMS, ask).await?.and_then(|message| number(message.headers.as_ref(), SEQUENCE)))
    }

    /// The sequence of the last entry that a log ever had, kept or not. `None` if that is not known.
    async fn head(&self, subject: &str, position: &Position) -> Result<Option<u64>, Unread> {
        let ask = json!({ "last_by_subj": subject });
        let Some(message) = self.one(ROOM_HEADS, ask).await? else { return Ok(None) };
        let get = |name: &str| message.headers.as_ref()?.get(name).map(|value| value.as_str());
        let stored = get("Nats-Time-Stamp").and_then(|at| chrono::DateTime::parse_from_rfc3339(at).ok());
        // What was copied from a stream of the same name before this one says nothing.
        if stored.and_then(|at| at.timestamp_nanos_opt()).is_none_or(|at| i128::from(at) < position.created) {
            return Ok(None);
        }
        // `ROOMS 17 > > rooms.room.lobby.acme`: the stream it comes from, and its sequence there.
        let mut source = get("Nats-Stream-Source").unwrap_or_default().split_ascii_whitespace();
        Ok(source.nth(1).and_then(|sequence| sequence.parse().ok()))
    }

    /// What a client that has seen a log up to `offset` has missed, up to `upto`; `None` if that can't be said whole.
    pub(crate) async fn missed(
        &self,
        subject: &str,
        (epoch, offset): (&str, u64),
        upto: u64,
        most: Most,
    ) -> Result<Option<Vec<Kept>>, Unread> {
        let mut missed = self.after(subject, offset, most.entries + 1).await?;
        let found = missed.len();
        // Read afterwards: what was trimmed before the entries were read, is trimmed here.
        let position = self.position().await?;
        if position.epoch != epoch || offset > position.last {
            // Of another log, or of what nobody can have seen, since it is not written.
            return Ok(None);
        }
        let whole = self.is_whole(subject, offset, &position, &missed, found > most.entries).await?;
        missed.retain(|kept| kept.sequence <= upto);
        let bytes: usize = missed.iter().map(|kept| kept.body.len()).sum();
        Ok((whole && missed.len() <= most.entries && bytes <= most.bytes).then_some(missed))
    }

    /// Whether nothing has been trimmed between `offset` and what is kept after it. A log loses its oldest entries first.
    async fn is_whole(
        &self,
        subject: &str,
        offset: u64,
        position: &Position,
        kept: &[Kept],
        more: bool,
    ) -> Result<bool, Unread> {
        // The stream keeps everything since, unless this log alone has become too long.
        if position.first <= offset + 1 && !more && (kept.len() as u64) < position.most {
            return Ok(true);
        }
        // An entry as old as the client's last is kept: so is all that came after it.
        if self.oldest(subject).await?.is_some_and(|oldest| oldest <= offset) {
            return Ok(true);
        }
        match kept.first() {
            // The log's very first entry is kept.
            Some(first) => Ok(serde_json::from_slice::<Numbered>(&first.body).is_ok_and(|entry| entry.revision == 1)),
            // All is trimmed. Was the last of it seen?
            None => Ok(self.head(subject, position).await?.is_some_and(|head| head <= offset)),
        }
    }

    /// One message by a direct get, or none.
    async fn one(&self, stream: &str, ask: serde_json::Value) -> Result<Option<Message>, Unread> {
        let subject = format!("$JS.API.DIRECT.GET.{stream}");
        let request = self.bus.client().request(subject, ask.to_string().into());
        let message = self.within(async { request.await.map_err(|e| Unread(e.to_string())) }).await?;
        match message.status.map(|status| status.as_u16()) {
            None => Ok(Some(message)),
            Some(404) => Ok(None),
            Some(code) => Err(Unread(format!("the server says {code}"))),
        }
    }

    /// One batched direct get, and whether there is more.
    async fn batch(&self, ask: serde_json::Value) -> Result<(Vec<Kept>, bool), Unread> {
        let failed = |error: &dyn std::fmt::Display| Unread(error.to_string());
        let client = self.bus.client();
        let inbox = client.new_inbox();
        let mut answers = client.subscribe(inbox.clone()).await.map_err(|e| failed(&e))?;
        let subject = format!("$JS.API.DIRECT.GET.{ROOMS}");
        client.publish_with_reply(subject, inbox, ask.to_string().into()).await.map_err(|e| failed(&e))?;
        let mut found = Vec::new();
        while let Some(message) = answers.next().await {
            match message.status.map(|status| status.as_u16()) {
                None => {}
                // The end of a batch; 404 if there was nothing at all.
                Some(204) => {
                    let left = number(message.headers.as_ref(), "Nats-Num-Pending").unwrap_or(0);
                    return Ok((found, left > 0));
                }
                Some(404) => return Ok((found, false)),
                Some(code) => return Err(Unread(format!("the server says {code}"))),
            }
            let sequence = number(message.headers.as_ref(), SEQUENCE);
            let sequence = sequence.ok_or_else(|| Unread("an entry without a sequence".to_owned()))?;
            found.push(Kept { sequence, body: message.payload });
        }
        Err(Unread("the connection was lost".to_owned()))
    }

    async fn within<T>(&self, work: impl Future<Output = Result<T, Unread>>) -> Result<T, Unread> {
        tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| Err(Unread("no answer in time".to_owned())))
    }
}

#[derive(Deserialize)]
struct Numbered {
    revision: i64,
}

fn number(headers: Option<&HeaderMap>, name: &str) -> Option<u64> {
    headers?.get(name)?.as_str().parse().ok()
}

/// An entry as the server repeats it: its sequence, and that of the entry before it in the same log.
pub(crate) fn repeated(message: &Message) -> Option<(u64, u64)> {
    let headers = message.headers.as_ref()?;
    headers.get("Nats-Stream").filter(|stream| stream.as_str() == ROOMS)?;
    Some((number(Some(headers), SEQUENCE)?, number(Some(headers), LAST_SEQUENCE).unwrap_or(0)))
}
