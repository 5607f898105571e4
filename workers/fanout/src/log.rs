//! Reads the stream of logs: where it stands, and what a client has missed.
//!
//! A position is the stream's identity (the epoch: when it was made) and a sequence in it (the offset). Both are the bus's
//! own, so they are the same on every node and outlive each of them.
//!
//! Many entries are read by direct gets, which any replica answers, also one that is behind. Where a log begins and ends is
//! asked of the stream's leader, and a reading that does not reach that end is not believed.

use std::collections::VecDeque;
use std::time::Duration;

use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{Info, LastRawMessageErrorKind};
use async_nats::{HeaderMap, HeaderName, Message};
use bytes::Bytes;
use futures_util::StreamExt;
use omnibus_bus::{ROOM_HEADS, ROOMS};
use omnibus_runtime::Bus;
use omnibus_runtime::trace::TraceParent;
use omnibus_schemas::headers::TRACEPARENT;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Mutex;
use tokio::time::Instant;

const SEQUENCE: &str = "Nats-Sequence";
const LAST_SEQUENCE: &str = "Nats-Last-Sequence";
/// How long the bus has for one answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// The most bytes, and the most entries, of one answer.
const MOST_BYTES: usize = 1024 * 1024;
const BATCH: usize = 256;
/// The most that a reply writes around an entry, in bytes: names, offset and trace.
const AROUND: usize = 128;

/// The log could not be read.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the stream {ROOMS} can't be read: {0}")]
pub(crate) struct Unread(String);

impl Unread {
    /// Whoever answered does not have yet what others have told of.
    pub(crate) fn behind() -> Self {
        Unread("the answer ends before what was heard of".to_owned())
    }
}

/// Where the stream stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Position {
    /// The stream's identity.
    pub(crate) epoch: String,
    /// Its first sequence that is kept.
    first: u64,
    /// Its last.
    pub(crate) last: u64,
    created: i128,
}

/// An entry of a log.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    pub(crate) sequence: u64,
    pub(crate) body: Bytes,
    /// The trace that led to it.
    pub(crate) trace: Option<TraceParent>,
}

impl Kept {
    /// Bytes that it takes in a reply.
    pub(crate) fn size(&self) -> usize {
        self.body.len() + AROUND
    }
}

/// What a client may be handed at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Most {
    pub(crate) entries: usize,
    pub(crate) bytes: usize,
}

/// A reader.
#[derive(Debug)]
pub(crate) struct Log {
    bus: Bus,
    /// Where the stream stood when that was asked last, and what came of it.
    asked: Mutex<Option<(Instant, Result<Position, Unread>)>>,
}

impl Log {
    pub(crate) fn new(bus: Bus) -> Self {
        Log { bus, asked: Mutex::default() }
    }

    /// Where the stream stands, not before this is called. Of many who ask at once, one asks the bus for all.
    pub(crate) async fn position(&self) -> Result<Position, Unread> {
        let since = Instant::now();
        let mut asked = self.asked.lock().await;
        if let Some((at, answer)) = &*asked
            && *at >= since
        {
            return answer.clone();
        }
        let at = Instant::now();
        let answer = self.position_now().await;
        *asked = Some((at, answer.clone()));
        answer
    }

    async fn position_now(&self) -> Result<Position, Unread> {
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
            created,
        })
    }

    /// Entries of the log `subject` after `offset`, in order. No more are read than are wanted: the last one may be the one
    /// that is too much.
    pub(crate) async fn after(&self, subject: &str, offset: u64, most: Most) -> Result<Vec<Kept>, Unread> {
        let (mut found, mut bytes): (Vec<Kept>, usize) = (Vec::new(), 0);
        let mut from = offset.saturating_add(1);
        loop {
            let left = most.entries.saturating_sub(found.len());
            if left == 0 || bytes > most.bytes {
                return Ok(found);
            }
            let (batch, more) = self.batch(subject, from, left.min(BATCH)).await?;
            let nothing = batch.is_empty();
            for kept in batch {
                from = kept.sequence.saturating_add(1);
                bytes += kept.size();
                found.push(kept);
                if bytes > most.bytes {
                    return Ok(found);
                }
            }
            if nothing || more == 0 {
                return Ok(found);
            }
        }
    }

    /// The newest entries of the log `subject` before `below`, newest first. No more are kept in memory than are wanted.
    pub(crate) async fn before(&self, subject: &str, below: u64, most: Most) -> Result<Vec<Kept>, Unread> {
        if below <= 1 || most.entries == 0 {
            return Ok(vec![]);
        }
        let mut from = self.start_of_the_last(subject, below, most.entries).await?;
        let (mut found, mut bytes): (VecDeque<Kept>, usize) = (VecDeque::new(), 0);
        loop {
            let (batch, more) = self.batch(subject, from, BATCH).await?;
            let Some(last) = batch.last().map(|kept| kept.sequence) else { break };
            from = last.saturating_add(1);
            for kept in batch.into_iter().filter(|kept| kept.sequence < below) {
                bytes += kept.size();
                found.push_back(kept);
                while found.len() > most.entries || bytes > most.bytes {
                    bytes -= found.pop_front().map_or(0, |kept| kept.size());
                }
            }
            if from >= below || more == 0 {
                break;
            }
        }
        Ok(found.into_iter().rev().collect())
    }

    /// A sequence from which on there are at least `count` entries before `below`, if there are so many, and not many more.
    /// The bus reads forwards only, but says how many entries are to come.
    async fn start_of_the_last(&self, subject: &str, below: u64, count: usize) -> Result<u64, Unread> {
        let slack = BATCH as u64;
        // What is stored meanwhile counts as well, so a little more is wanted than is needed.
        let wanted = self.count(subject, below).await?.saturating_add(count as u64).saturating_add(slack);
        let (mut low, mut high) = (1, below);
        if self.count(subject, low).await? <= wanted.saturating_add(slack) {
            return Ok(low);
        }
        while low.saturating_add(1) < high {
            let middle = low + (high - low) / 2;
            match self.count(subject, middle).await? {
                some if some < wanted => high = middle,
                some if some <= wanted.saturating_add(slack) => return Ok(middle),
                _ => low = middle,
            }
        }
        Ok(low)
    }

    /// How many entries there are from a sequence on.
    async fn count(&self, subject: &str, from: u64) -> Result<u64, Unread> {
        let (batch, more) = self.batch(subject, from, 1).await?;
        Ok(batch.len() as u64 + more)
    }

    /// The revision of a log's newest entry; 0 if none is kept.
    pub(crate) async fn revision(&self, subject: &str) -> Result<i64, Unread> {
        let newest = self.one(ROOMS, subject, End::Newest).await?;
        let entry = newest.and_then(|message| serde_json::from_slice::<Numbered>(&message.payload).ok());
        Ok(entry.map_or(0, |entry| entry.revision))
    }

    /// The sequence of the oldest entry that is kept of a log.
    async fn oldest(&self, subject: &str) -> Result<Option<u64>, Unread> {
        Ok(self.one(ROOMS, subject, End::Oldest).await?.map(|message| message.sequence))
    }

    /// The sequence of the newest entry that is kept of a log.
    pub(crate) async fn newest(&self, subject: &str) -> Result<Option<u64>, Unread> {
        Ok(self.one(ROOMS, subject, End::Newest).await?.map(|message| message.sequence))
    }

    /// The sequence of the last entry that a log ever had, kept or not. `None` if that is not known.
    async fn head(&self, subject: &str, position: &Position) -> Result<Option<u64>, Unread> {
        let Some(message) = self.one(ROOM_HEADS, subject, End::Newest).await? else { return Ok(None) };
        // What was copied from a stream of the same name before this one says nothing.
        if message.time.unix_timestamp_nanos() < position.created {
            return Ok(None);
        }
        // `ROOMS 17 > > rooms.room.lobby.acme`: the stream it comes from, and its sequence there.
        let source = message.headers.get("Nats-Stream-Source").map_or("", |value| value.as_str());
        Ok(source.split_ascii_whitespace().nth(1).and_then(|sequence| sequence.parse().ok()))
    }

    /// What a client that has seen a log up to `offset` has missed, up to `upto`; `None` if that can't be said whole.
    pub(crate) async fn missed(
        &self,
        subject: &str,
        (epoch, offset): (&str, u64),
        upto: u64,
        most: Most,
    ) -> Result<Option<Vec<Kept>>, Unread> {
        let one_more = Most { entries: most.entries.saturating_add(1), ..most };
        // Asked before: whatever was heard of by now stands in the log by then.
        let newest = self.newest(subject).await?;
        let mut missed = self.after(subject, offset, one_more).await?;
        // Read afterwards: what was trimmed before the entries were read, is trimmed here.
        let position = self.position().await?;
        if position.epoch != epoch || offset > position.last {
            // Of another log, or of what nobody can have seen, since it is not written.
            return Ok(None);
        }
        let last = missed.last().map_or(offset, |kept| kept.sequence);
        let whole = self.is_whole(subject, offset, &position, &missed).await?;
        missed.retain(|kept| kept.sequence <= upto);
        let bytes: usize = missed.iter().map(Kept::size).sum();
        if missed.len() > most.entries || bytes > most.bytes {
            return Ok(None);
        }
        if !reaches(last, upto, newest) {
            return Err(Unread::behind());
        }
        Ok(whole.then_some(missed))
    }

    /// Whether nothing has been trimmed between `offset` and what is kept after it. A log loses its oldest entries first.
    async fn is_whole(&self, subject: &str, offset: u64, position: &Position, kept: &[Kept]) -> Result<bool, Unread> {
        // The stream keeps everything since, and of this log there is nothing: its newest entry is the last to go.
        if position.first <= offset.saturating_add(1) && kept.is_empty() {
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

    /// The message at one end of what a stream keeps of a subject, or none, as the stream's leader has it.
    async fn one(&self, stream: &str, subject: &str, end: End) -> Result<Option<StreamMessage>, Unread> {
        let found = self.within(async {
            let stream = self.bus.jetstream().get_stream_no_info(stream).await.map_err(|e| Unread(e.to_string()))?;
            Ok(match end {
                End::Oldest => stream.get_first_raw_message_by_subject(subject, 1).await,
                End::Newest => stream.get_last_raw_message_by_subject(subject).await,
            })
        });
        match found.await? {
            Ok(message) => Ok(Some(message)),
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(Unread(error.to_string())),
        }
    }

    /// Entries of a log from a sequence on, and how many more there are.
    async fn batch(&self, subject: &str, from: u64, most: usize) -> Result<(Vec<Kept>, u64), Unread> {
        let ask = json!({ "seq": from, "next_by_subj": subject, "batch": most, "max_bytes": MOST_BYTES });
        self.within(self.batched(ask)).await
    }

    /// One batched direct get.
    async fn batched(&self, ask: serde_json::Value) -> Result<(Vec<Kept>, u64), Unread> {
        let failed = |error: &dyn std::fmt::Display| Unread(error.to_string());
        let client = self.bus.client();
        let inbox = client.new_inbox();
        let mut answers = client.subscribe(inbox.clone()).await.map_err(|e| failed(&e))?;
        let subject = format!("$JS.API.DIRECT.GET.{ROOMS}");
        client.publish_with_reply(subject, inbox, ask.to_string().into()).await.map_err(|e| failed(&e))?;
        let mut batch = Batch::default();
        while let Some(message) = answers.next().await {
            if let Some(more) = batch.take(message)? {
                return Ok((batch.found, more));
            }
        }
        Err(Unread("the connection was lost".to_owned()))
    }

    async fn within<T>(&self, work: impl Future<Output = Result<T, Unread>>) -> Result<T, Unread> {
        tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| Err(Unread("no answer in time".to_owned())))
    }
}

/// One end of a log.
#[derive(Debug, Clone, Copy)]
enum End {
    Oldest,
    Newest,
}

/// Whether a reading of a log that ends with `last` has all that the log has up to `upto`, its newest entry of all being
/// `newest`. Entries come in their order, so whoever has a later one has each before it.
fn reaches(last: u64, upto: u64, newest: Option<u64>) -> bool {
    newest.is_none_or(|newest| newest.min(upto) <= last)
}

/// What came of one batched get. A connection that is lost and found again in the middle loses entries and not the end, so
/// each message must follow the one before it: it says which that was.
#[derive(Debug, Default)]
struct Batch {
    found: Vec<Kept>,
}

impl Batch {
    /// One more message. How many entries there are beyond, if it is the end.
    fn take(&mut self, message: Message) -> Result<Option<u64>, Unread> {
        let headers = message.headers.as_ref();
        let more = match message.status.map(|status| status.as_u16()) {
            None => None,
            Some(204) => Some(number(headers, "Nats-Num-Pending").unwrap_or(0)),
            // There was nothing at all.
            Some(404) => return Ok(Some(0)),
            Some(code) => return Err(Unread(format!("the server says {code}"))),
        };
        let last = self.found.last().map_or(0, |kept| kept.sequence);
        if number(headers, LAST_SEQUENCE) != Some(last) {
            return Err(Unread("a part of the answer was lost on the way".to_owned()));
        }
        if more.is_none() {
            let sequence = number(headers, SEQUENCE).ok_or_else(|| Unread("an entry without a sequence".to_owned()))?;
            let trace = trace_of(headers);
            self.found.push(Kept { sequence, body: message.payload, trace });
        }
        Ok(more)
    }
}

#[derive(Deserialize)]
struct Numbered {
    revision: i64,
}

fn number(headers: Option<&HeaderMap>, name: &str) -> Option<u64> {
    headers?.get(name)?.as_str().parse().ok()
}

/// The trace that a message is part of.
pub(crate) fn trace_of(headers: Option<&HeaderMap>) -> Option<TraceParent> {
    TraceParent::parse(headers?.get(HeaderName::from_static(TRACEPARENT))?.as_str())
}

/// An entry as the server repeats it: its sequence, and that of the entry before it in the same log.
pub(crate) fn repeated(message: &Message) -> Option<(u64, u64)> {
    let headers = message.headers.as_ref()?;
    headers.get("Nats-Stream").filter(|stream| stream.as_str() == ROOMS)?;
    Some((number(Some(headers), SEQUENCE)?, number(Some(headers), LAST_SEQUENCE).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message of a batch, as the server writes it.
    fn message(status: Option<u16>, said: &[(&str, u64)]) -> Message {
        let mut headers = HeaderMap::new();
        said.iter().for_each(|(name, value)| headers.insert(*name, value.to_string()));
        let status = status.map(|code| async_nats::StatusCode::from_u16(code).unwrap());
        let (subject, payload) = ("_INBOX.a".into(), Bytes::new());
        Message { subject, reply: None, payload, headers: Some(headers), status, description: None, length: 0 }
    }

    fn entry(sequence: u64, last: u64, more: u64) -> Message {
        message(None, &[(SEQUENCE, sequence), (LAST_SEQUENCE, last), ("Nats-Num-Pending", more)])
    }

    fn end(last: u64, more: u64) -> Message {
        message(Some(204), &[(LAST_SEQUENCE, last), ("Nats-Num-Pending", more)])
    }

    fn batch(messages: Vec<Message>) -> Result<Option<(Vec<u64>, u64)>, Unread> {
        let mut batch = Batch::default();
        for message in messages {
            if let Some(more) = batch.take(message)? {
                return Ok(Some((batch.found.iter().map(|kept| kept.sequence).collect(), more)));
            }
        }
        Ok(None)
    }

    #[test]
    fn a_reading_that_ends_before_the_log_does_is_of_a_replica_that_is_behind() {
        assert!(reaches(20, 20, Some(20)), "up to the newest");
        assert!(reaches(20, 25, Some(20)), "others' entries come after it");
        assert!(reaches(22, 20, Some(30)), "what is newer comes live");
        assert!(reaches(20, 25, None) && reaches(20, 25, Some(15)), "the client has seen all that there is");
        assert!(!reaches(19, 20, Some(20)), "the last is missing");
        assert!(!reaches(10, 20, Some(30)), "nothing came, or not enough");
    }

    #[test]
    fn a_batch_is_believed_whole_or_not_at_all() {
        let whole = batch(vec![entry(2, 0, 4), entry(4, 2, 3), end(4, 3)]).unwrap();
        assert_eq!(whole, Some((vec![2, 4], 3)));
        assert_eq!(batch(vec![message(Some(404), &[])]).unwrap(), Some((vec![], 0)), "there is nothing");
        assert_eq!(batch(vec![entry(2, 0, 4)]).unwrap(), None, "there is more to come");
        for (what, holed) in [
            ("the first", vec![entry(4, 2, 3), end(4, 3)]),
            ("one in the middle", vec![entry(2, 0, 4), entry(6, 4, 2), end(6, 2)]),
            ("the last", vec![entry(2, 0, 4), end(4, 3)]),
            ("all", vec![end(4, 3)]),
        ] {
            assert!(batch(holed).is_err(), "{what} was lost on the way");
        }
    }
}
