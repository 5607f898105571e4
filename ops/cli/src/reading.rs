//! A message of the bus as people and programs read it: its envelope, and its body in either encoding.

use async_nats::HeaderMap;
use async_nats::jetstream::message::StreamMessage;
use chrono::{DateTime, Utc};
use omnibus_runtime::Meta;
use omnibus_schemas::{Encoding, body, headers};
use serde::Serialize;
use serde_json::Value;

use crate::show;

/// One message.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Reading {
    /// Where it was published.
    pub(crate) subject: String,
    /// Its number in its stream, if it was read from one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sequence: Option<u64>,
    /// `ce-time`, or when the stream took it.
    pub(crate) time: Option<DateTime<Utc>>,
    /// `ce-id`.
    pub(crate) id: Option<String>,
    /// `ce-type`.
    #[serde(rename = "type")]
    pub(crate) kind: Option<String>,
    /// `ce-tenant`.
    pub(crate) tenant: Option<String>,
    /// `ce-actor`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) actor: Option<String>,
    /// `ce-correlationid`.
    pub(crate) correlation: Option<String>,
    /// `ce-causationid`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) causation: Option<String>,
    /// `ce-outcome`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) outcome: Option<String>,
    /// The trace's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) trace: Option<String>,
    /// The body, decoded.
    pub(crate) data: Value,
    /// Why the body could not be decoded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) undecodable: Option<String>,
}

impl Reading {
    /// Of a message that was just heard.
    pub(crate) fn of(subject: &str, given: Option<&HeaderMap>, payload: &[u8]) -> Self {
        let get = |name: &str| Some(given?.get(name)?.as_str().to_owned());
        let encoding = match get(headers::CONTENT_TYPE) {
            None => Some(Encoding::Json),
            Some(kind) => Encoding::from_content_type(&kind),
        };
        let decoded = match encoding {
            Some(encoding) => body::to_json(encoding, payload).map_err(|fault| fault.reason),
            None => Err("the Content-Type is neither JSON nor MessagePack".to_owned()),
        };
        let (data, undecodable) = match decoded {
            Ok(data) => (data, None),
            Err(why) => (Value::String(format!("{} bytes", payload.len())), Some(why)),
        };
        Reading {
            subject: subject.to_owned(),
            sequence: None,
            time: get(headers::TIME)
                .and_then(|time| Some(DateTime::parse_from_rfc3339(&time).ok()?.with_timezone(&Utc))),
            id: get(headers::ID),
            kind: get(headers::TYPE),
            tenant: get(headers::TENANT),
            actor: get(headers::ACTOR),
            correlation: get(headers::CORRELATION),
            causation: get(headers::CAUSATION),
            outcome: get(headers::OUTCOME),
            trace: get(headers::TRACEPARENT).and_then(|trace| trace.split('-').nth(1).map(str::to_owned)),
            data,
            undecodable,
        }
    }

    /// Of a stored message. One without an envelope has the identity that its place gives it.
    pub(crate) fn stored(stream: &str, message: &StreamMessage) -> Self {
        let mut reading = Reading::of(&message.subject, Some(&message.headers), &message.payload);
        reading.sequence = Some(message.sequence);
        reading.time = reading.time.or_else(|| stored_at(message));
        if let Some(at) = stored_at(message)
            && (message.subject.starts_with("cmd.") || message.subject.starts_with("evt."))
        {
            let (meta, _) = Meta::at(&message.subject, Some(&message.headers), stream, message.sequence, at);
            reading.id.get_or_insert(meta.ce_id);
            reading.tenant.get_or_insert(meta.tenant);
            reading.correlation.get_or_insert(meta.correlation);
        }
        reading
    }

    /// One line for a person; the outcome colours it.
    pub(crate) fn line(&self) -> String {
        let time = show::or_dash(self.time.map(show::time));
        let subject = show::bold(&self.subject);
        let outcome = match &self.outcome {
            Some(outcome) => format!(" {}", show::outcome(outcome)),
            None => String::new(),
        };
        let data = match &self.undecodable {
            Some(why) => format!("({}; {why})", show::one_line(&self.data).trim_matches('"')),
            None => show::one_line(&self.data),
        };
        let id = show::dim(&show::or_dash(self.id.as_ref()));
        format!("{} {subject}{outcome} {id} {data}", show::dim(&time))
    }
}

/// When the stream took it.
pub(crate) fn stored_at(message: &StreamMessage) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(message.time.unix_timestamp(), message.time.nanosecond())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_encodings_and_garbage_are_read() {
        let value = json!({ "name": "Ada" });
        let mut map = HeaderMap::new();
        assert_eq!(Reading::of("evt.a.b.c", None, br#"{"name":"Ada"}"#).data, value);
        map.insert(headers::CONTENT_TYPE, Encoding::MessagePack.content_type());
        let packed = body::encode(Encoding::MessagePack, &value);
        assert_eq!(Reading::of("evt.a.b.c", Some(&map), &packed).data, value);
        let garbage = Reading::of("evt.a.b.c", None, b"\x00\xffgarbage");
        assert!(garbage.undecodable.is_some(), "{garbage:?}");
    }
}
