//! Messages whose headers the client can't read: a line without a colon, a name that is none, a carriage return inside a
//! value, bytes that are not UTF-8. Clients don't write such headers; a tenant with a raw connection can, and the server
//! stores them. At their delivery the client ends the connection, or dies, so no handler ever sees them.
//!
//! So they are looked for where they must be when that has happened: among the messages that are out. The server hands
//! them over inside a JSON document, which can always be read. They become dead letters and leave the stream.

use std::pin::pin;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use async_nats::header::{HeaderName, HeaderValue};
use async_nats::jetstream::consumer::PullConsumer;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use futures_util::{StreamExt, stream};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::delivery::Delivery;
use crate::inbox;
use crate::lane::Lane;

/// Single messages asked for at once.
const AT_ONCE: usize = 64;
/// How long one look takes, roughly. A single message that is put off keeps the acknowledgement floor where it is, however
/// many above it are done with. What is left is looked through the next time: what can't be read ends a connection again
/// when it is delivered again.
const LOOK: Duration = Duration::from_secs(10);

/// A message as `STREAM.MSG.GET` tells it.
#[derive(Debug, Deserialize)]
struct Raw {
    subject: String,
    seq: u64,
    #[serde(default)]
    hdrs: String,
    #[serde(default)]
    data: String,
    time: DateTime<Utc>,
}

impl Lane {
    /// Ends the messages of the lane that are out and can't be read, as far as a look gets. One of the lane's loops looks
    /// for all; the others go on. `consumer` is of a connection that lives.
    pub(crate) async fn weed(self: &Arc<Self>, consumer: &PullConsumer) -> anyhow::Result<()> {
        if self.reaction {
            // Events are written by workers, whose clients write no such headers.
            return Ok(());
        }
        let Ok(mut next) = self.looked.try_lock() else { return Ok(()) };
        let end = Instant::now() + LOOK;
        let info = tokio::time::timeout_at(end, consumer.get_info()).await??;
        if info.num_ack_pending == 0 {
            return Ok(());
        }
        let delivered = info.delivered.stream_sequence;
        *next = first(info.ack_floor.stream_sequence, *next, delivered);
        let mut found = pin!(stream::iter(*next..=delivered).map(|at| self.unreadable(at)).buffered(AT_ONCE));
        loop {
            let one = tokio::time::timeout_at(end, found.next());
            match self.engine.stop.run_until_cancelled(one).await {
                None => return Ok(()),
                Some(Err(_)) => {
                    let (domain, lane) = (self.engine.domain, &self.name);
                    tracing::warn!(domain, lane, from = *next, "a part of what is out is yet to be looked through");
                    return Ok(());
                }
                Some(Ok(None)) => break,
                Some(Ok(Some(found))) => {
                    if let Some((raw, why)) = found? {
                        self.root_out(raw, why).await?;
                    }
                    *next += 1;
                }
            }
        }
        *next = 0;
        Ok(())
    }

    /// The message, if it is of this lane and its headers can't be read, and why.
    async fn unreadable(&self, sequence: u64) -> anyhow::Result<Option<(Raw, String)>> {
        let call = format!("STREAM.MSG.GET.{}", self.stream);
        let answer: Value = self.engine.bus.jetstream().request(call, &json!({ "seq": sequence })).await?;
        // It may have been trimmed or taken out meanwhile.
        let Some(message) = answer.get("message") else { return Ok(None) };
        let raw: Raw = serde_json::from_value(message.clone())?;
        let ours = raw.subject.split('.').nth(2) == Some(self.name.as_str());
        if !ours || raw.hdrs.is_empty() {
            return Ok(None);
        }
        Ok(fault(&STANDARD.decode(&raw.hdrs)?).map(|why| (raw, why)))
    }

    async fn root_out(self: &Arc<Self>, raw: Raw, why: String) -> anyhow::Result<()> {
        let body = STANDARD.decode(&raw.data)?;
        let detail = format!("the headers can't be read: {why}");
        let context = self.engine.bus.jetstream().clone();
        let delivery = Delivery::unreadable(&raw.subject, raw.seq, raw.time, body, &self.stream, context, detail);
        let (delivery, key) = (Arc::new(delivery), Delivery::key);
        let key = key(&delivery);
        self.process(vec![delivery]).await;
        let mut db = self.engine.db.acquire().await?;
        let row = inbox::find(&mut db, &self.consumer, std::slice::from_ref(&key), false).await?;
        drop(db);
        anyhow::ensure!(row.first().is_some_and(|row| row.outcome.is_some()), "it could not be ended yet");
        let stream = self.engine.bus.jetstream().get_stream_no_info(&self.stream).await?;
        stream.delete_message(raw.seq).await?;
        tracing::warn!(domain = self.engine.domain, sequence = raw.seq, "took out a message with unreadable headers");
        Ok(())
    }
}

/// The first message to look at: where the look before left off, if that is still among what is out.
fn first(floor: u64, left_off: u64, delivered: u64) -> u64 {
    if (floor + 1..=delivered).contains(&left_off) { left_off } else { floor + 1 }
}

/// What the client would stumble over, if anything.
fn fault(headers: &[u8]) -> Option<String> {
    let Ok(text) = std::str::from_utf8(headers) else { return Some("they are not UTF-8".to_owned()) };
    let mut lines = text.lines().peekable();
    let Some(status) = lines.next().and_then(|line| line.strip_prefix("NATS/1.0")) else {
        return Some("the first line is not NATS/1.0".to_owned());
    };
    if !status.trim().is_empty() {
        return Some("the first line has a status, as only the server's own messages have".to_owned());
    }
    while let Some(line) = lines.next() {
        if line.is_empty() {
            continue;
        }
        let Some((name, value)) = line.split_once(':') else { return Some("a line has no colon".to_owned()) };
        if HeaderName::from_str(name).is_err() {
            return Some("a name has characters that a name can't have".to_owned());
        }
        let mut value = value.trim_start().to_owned();
        while let Some(more) = lines.next_if(|line| line.starts_with(char::is_whitespace)) {
            value.push_str(more);
        }
        if HeaderValue::from_str(value.trim_end()).is_err() {
            return Some("a value has a line break in it".to_owned());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_goes_on_where_the_one_before_left_off() {
        assert_eq!(first(10, 15, 20), 15);
        // None was before, or it saw everything.
        assert_eq!(first(10, 0, 20), 11);
        // What was to be looked at has ended meanwhile.
        assert_eq!(first(17, 15, 20), 18);
        // The stream is another one.
        assert_eq!(first(3, 15, 5), 4);
    }

    #[test]
    fn headers_that_the_client_reads_have_no_fault() {
        for good in [
            &b"NATS/1.0\r\n\r\n"[..],
            b"NATS/1.0\r\nce-id: 1\r\nX-Odd_Name.1:  value \r\n\r\n",
            b"NATS/1.0\r\na: one\r\n two\r\n\r\n",
            "NATS/1.0\r\nname: \u{e4}\r\n\r\n".as_bytes(),
            b"NATS/1.0\r\na:\r\n\r\n",
        ] {
            assert_eq!(fault(good), None, "{}", String::from_utf8_lossy(good));
        }
    }

    #[test]
    fn what_ends_the_clients_connection_or_its_life_is_named() {
        for (bad, why) in [
            (&b"NATS/1.0\r\nno colon\r\n\r\n"[..], "no colon"),
            (b"NATS/1.0\r\nb\xff: x\r\n\r\n", "UTF-8"),
            (b"NATS/1.0\r\na: x\ry\r\n\r\n", "line break"),
            (b"NATS/1.0\r\na b: x\r\n\r\n", "name"),
            (b"NATS/2.0\r\n\r\n", "NATS/1.0"),
            (b"NATS/1.0 nonsense\r\n\r\n", "status"),
            (b"", "NATS/1.0"),
        ] {
            assert!(fault(bad).is_some_and(|fault| fault.contains(why)), "{}", String::from_utf8_lossy(bad));
        }
    }
}
