//! One delivered message, and the answers that can be given to the server about it.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::{AckKind, Context, Message};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use tokio::sync::OwnedSemaphorePermit;

use crate::envelope::{Malformed, Meta, Position};
use crate::inbox::Key;
use crate::turns::First;

/// A message with its envelope read.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) meta: Meta,
    /// Why its envelope can't be believed, if so.
    pub(crate) malformed: Option<Malformed>,
    /// 1 for the first delivery.
    pub(crate) delivered: u32,
    message: Message,
    /// Its room in the lane, given back when the last who works on it lets go.
    _permit: Option<OwnedSemaphorePermit>,
    /// While it, or another that came with it, is in hand, what is done in bulk gives way.
    _first: Option<Arc<First>>,
}

impl Delivery {
    /// `None` if it did not come from JetStream.
    pub(crate) fn read(message: Message) -> Option<Self> {
        let (meta, checked, delivered) = {
            let info = message.info().ok()?;
            let published = info.published;
            let stored = DateTime::<Utc>::from_timestamp(published.unix_timestamp(), published.nanosecond())?;
            let position = Position { stream: info.stream, sequence: info.stream_sequence, stored };
            let (meta, checked) = Meta::read(&message.subject, message.headers.as_ref(), position);
            (meta, checked, u32::try_from(info.delivered).unwrap_or(u32::MAX))
        };
        Some(Delivery { meta, malformed: checked.err(), delivered, message, _permit: None, _first: None })
    }

    pub(crate) fn with(self, permit: OwnedSemaphorePermit, first: Option<Arc<First>>) -> Self {
        Delivery { _permit: Some(permit), _first: first, ..self }
    }

    /// A message read back from its stream, which can't be acknowledged.
    pub(crate) fn stored(stored: StreamMessage, stream: &str, context: Context, delivered: u32) -> Option<Self> {
        let at = DateTime::<Utc>::from_timestamp(stored.time.unix_timestamp(), stored.time.nanosecond())?;
        let position = Position { stream, sequence: stored.sequence, stored: at };
        let (meta, checked) = Meta::read(&stored.subject, Some(&stored.headers), position);
        let message = async_nats::Message {
            length: stored.payload.len(),
            subject: stored.subject,
            reply: None,
            payload: stored.payload,
            headers: Some(stored.headers),
            status: None,
            description: None,
        };
        let message = Message { message, context };
        Some(Delivery { meta, malformed: checked.err(), delivered, message, _permit: None, _first: None })
    }

    /// A message whose headers can't be read, taken from its stream. Its place on the bus is all that it says of itself.
    pub(crate) fn unreadable(
        subject: &str,
        sequence: u64,
        stored: DateTime<Utc>,
        body: Vec<u8>,
        stream: &str,
        context: Context,
        detail: String,
    ) -> Self {
        let (meta, checked) = Meta::read(subject, None, Position { stream, sequence, stored });
        let message = async_nats::Message {
            length: body.len(),
            subject: subject.into(),
            reply: None,
            payload: body.into(),
            headers: None,
            status: None,
            description: None,
        };
        let malformed = checked.err().unwrap_or(Malformed { code: "undecodable", detail });
        let message = Message { message, context };
        Delivery { meta, malformed: Some(malformed), delivered: 0, message, _permit: None, _first: None }
    }

    pub(crate) fn key(&self) -> Key {
        Key::of(&self.meta)
    }

    pub(crate) fn body(&self) -> &Bytes {
        &self.message.payload
    }

    pub(crate) fn subject(&self) -> &str {
        &self.message.subject
    }

    pub(crate) fn headers(&self) -> Option<&async_nats::HeaderMap> {
        self.message.headers.as_ref()
    }

    /// Says to the server that this need not come again. Advisory: the inbox is what counts.
    pub(crate) async fn ack(&self) {
        self.say(AckKind::Ack).await;
    }

    /// Asks for it again, not before `delay`.
    pub(crate) async fn again_in(&self, delay: Duration) {
        self.say(AckKind::Nak((!delay.is_zero()).then_some(delay))).await;
    }

    /// Ends it, with a reason that shows in the server's advisories. The client has no call for the reason.
    pub(crate) async fn terminate(&self, reason: &str) {
        let Some(reply) = self.message.reply.clone() else { return };
        let one_line: String = reason.chars().map(|c| if c.is_control() { ' ' } else { c }).take(120).collect();
        let sent = self.message.context.client().publish(reply, format!("+TERM {one_line}").into()).await;
        if let Err(error) = sent {
            tracing::debug!(%error, "an acknowledgement was not sent");
        }
    }

    pub(crate) fn acker(&self) -> Acker {
        Acker { client: self.message.context.client(), reply: self.message.reply.clone() }
    }

    async fn say(&self, kind: AckKind) {
        if let Err(error) = self.message.ack_with(kind).await {
            // It comes again, and the inbox knows it.
            tracing::debug!(%error, "an acknowledgement was not sent");
        }
    }
}

/// What is needed to speak of a message after the message itself is gone.
pub(crate) struct Acker {
    client: async_nats::Client,
    reply: Option<async_nats::Subject>,
}

impl Acker {
    pub(crate) async fn ack_with(&self, kind: AckKind) -> Result<(), async_nats::PublishError> {
        match &self.reply {
            Some(reply) => self.client.publish(reply.clone(), kind.into()).await,
            None => Ok(()),
        }
    }
}
