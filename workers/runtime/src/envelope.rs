//! The envelope: CloudEvents in NATS headers, read and written. A message without any header is understood too.

use async_nats::{HeaderMap, HeaderName};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use omnibus_schemas::Encoding;
use omnibus_schemas::headers;
use omnibus_schemas::subject::{CommandSubject, EventSubject, Token, ce_type};
use uuid::Uuid;

use crate::trace::TraceParent;

/// Who asked for what, when, and in which chain.
#[derive(Debug, Clone, PartialEq)]
pub struct Meta {
    /// The command's id; for an event that is reacted to, an id derived from the event's.
    pub id: Uuid,
    /// `ce-id` as it was written.
    pub ce_id: String,
    /// The domain in the subject.
    pub domain: String,
    /// The command's or event's name in the subject.
    pub name: String,
    /// The version in `ce-type`, 1 if absent.
    pub version: u16,
    /// The tenant in the subject.
    pub tenant: String,
    /// The key, user or part that asked.
    pub actor: Option<String>,
    /// The id of the first message of the chain.
    pub correlation: String,
    /// `ce-time`, at most five minutes after the server stored it; when the server stored it, if absent.
    pub time: DateTime<Utc>,
    /// This hop of the trace.
    pub trace: TraceParent,
    /// How the body is written.
    pub encoding: Encoding,
    /// Its sequence in its stream.
    pub sequence: u64,
}

/// What a message says of itself can't be believed or understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Malformed {
    /// `forged_tenant`, `undecodable` or `unknown_command`.
    pub code: &'static str,
    /// In words.
    pub detail: String,
}

/// How far a publisher's clock may be ahead of the server's.
const AHEAD: TimeDelta = TimeDelta::minutes(5);

/// Where a message stood when it was delivered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Position<'a> {
    pub(crate) stream: &'a str,
    pub(crate) sequence: u64,
    pub(crate) stored: DateTime<Utc>,
}

impl Meta {
    /// Reads the envelope of a stored message, as a worker would: for tools that look at streams.
    pub fn at(
        subject: &str,
        given: Option<&HeaderMap>,
        stream: &str,
        sequence: u64,
        stored: DateTime<Utc>,
    ) -> (Meta, Result<(), Malformed>) {
        Meta::read(subject, given, Position { stream, sequence, stored })
    }

    /// Reads the envelope of a command or event. What is malformed still has a [`Meta`], so that it can be accounted
    /// for: everybody is told under the id and tenant that its place on the bus gives.
    pub(crate) fn read(
        subject: &str,
        given: Option<&HeaderMap>,
        position: Position<'_>,
    ) -> (Meta, Result<(), Malformed>) {
        let get = |name: &'static str| Some(given?.get(HeaderName::from_static(name))?.as_str());
        let tokens = CommandSubject::parse(subject)
            .map(|s| (s.domain, s.name, s.tenant))
            .or_else(|| EventSubject::parse(subject).map(|s| (s.domain, s.name, s.tenant)));
        let (domain, name, tenant) = tokens.unwrap_or(("", "", "_"));
        let mut meta = Meta {
            id: Uuid::nil(),
            ce_id: String::new(),
            domain: domain.to_owned(),
            name: name.to_owned(),
            version: 1,
            tenant: tenant.to_owned(),
            // It goes into every event that the message causes.
            actor: get(headers::ACTOR).map(|actor| actor.chars().take(200).collect()),
            correlation: String::new(),
            time: position.stored,
            trace: get(headers::TRACEPARENT)
                .and_then(TraceParent::parse)
                .map_or_else(TraceParent::start, |t| t.child()),
            encoding: Encoding::Json,
            sequence: position.sequence,
        };
        let checked = meta.believe(tokens.is_some(), &get);
        if meta.ce_id.is_empty() {
            let stored = position.stored.timestamp_nanos_opt().unwrap_or(0);
            let place = format!("{}/{}/{stored}", position.stream, position.sequence);
            meta.id = Uuid::new_v5(&Uuid::NAMESPACE_OID, place.as_bytes());
            meta.ce_id = meta.id.to_string();
        }
        if meta.correlation.is_empty() {
            meta.correlation = meta.ce_id.clone();
        }
        (meta, checked)
    }

    fn believe<'h>(&mut self, known: bool, get: &impl Fn(&'static str) -> Option<&'h str>) -> Result<(), Malformed> {
        let undecodable = |detail: String| Malformed { code: "undecodable", detail };
        if !known {
            return Err(undecodable("the subject has not the form cmd.<domain>.<lane>.<command>.<tenant>".into()));
        }
        if let Err(error) = self.tenant.parse::<Token>() {
            return Err(undecodable(format!("the tenant in the subject {error}")));
        }
        if let Some(tenant) = get(headers::TENANT)
            && tenant != self.tenant
        {
            let detail = format!("the header {} names another tenant than the subject", headers::TENANT);
            return Err(Malformed { code: "forged_tenant", detail });
        }
        // Identity comes after the tenant's check: a forged message must not be able to claim somebody's id.
        if let Some(id) = get(headers::ID) {
            if id.is_empty() || id.len() > 200 {
                return Err(undecodable(format!("the header {} must have 1 to 200 bytes", headers::ID)));
            }
            self.id = id.parse().unwrap_or_else(|_| Uuid::new_v5(&Uuid::NAMESPACE_OID, id.as_bytes()));
            self.ce_id = id.to_owned();
        }
        if let Some(correlation) = get(headers::CORRELATION)
            && !correlation.is_empty()
            && correlation.len() <= 200
        {
            self.correlation = correlation.to_owned();
        }
        if let Some(time) = get(headers::TIME) {
            self.time = DateTime::parse_from_rfc3339(time)
                .map_err(|_| undecodable(format!("the header {} is not an RFC 3339 time", headers::TIME)))?
                .with_timezone(&Utc)
                // Handlers take it for now: nobody may be ahead of the server by more than clocks differ.
                .min(self.time + AHEAD);
        }
        if let Some(kind) = get(headers::TYPE) {
            let prefix = ce_type(&self.domain, &self.name, 0);
            let version = kind.strip_prefix(prefix.trim_end_matches('0')).and_then(|v| v.parse().ok());
            self.version = version.ok_or_else(|| {
                undecodable(format!(
                    "the header {} is not {}<version>, as the subject says",
                    headers::TYPE,
                    prefix.trim_end_matches('0')
                ))
            })?;
        }
        if let Some(content_type) = get(headers::CONTENT_TYPE) {
            self.encoding = Encoding::from_content_type(content_type).ok_or_else(|| {
                undecodable(format!("the {} must be application/json or application/msgpack", headers::CONTENT_TYPE))
            })?;
        }
        Ok(())
    }
}

/// What the headers of a new message say.
#[derive(Debug, Clone)]
pub struct Envelope<'a> {
    /// `ce-id`.
    pub id: &'a str,
    /// `ce-type`.
    pub kind: &'a str,
    /// `ce-source`.
    pub source: &'a str,
    /// `ce-time`.
    pub time: DateTime<Utc>,
    /// `ce-tenant`.
    pub tenant: &'a str,
    /// `ce-actor`.
    pub actor: Option<&'a str>,
    /// `ce-correlationid`.
    pub correlation: &'a str,
    /// `ce-causationid`.
    pub causation: Option<&'a str>,
    /// `traceparent`.
    pub trace: &'a TraceParent,
    /// `Content-Type`.
    pub encoding: Encoding,
}

impl Envelope<'_> {
    /// The headers, without `Nats-Msg-Id`.
    pub fn headers(&self) -> HeaderMap {
        let mut map = HeaderMap::new();
        // A static name is not copied.
        let mut insert = |name, value: String| map.insert(HeaderName::from_static(name), value);
        insert(headers::SPEC_VERSION, "1.0".to_owned());
        insert(headers::ID, self.id.to_owned());
        insert(headers::TYPE, self.kind.to_owned());
        insert(headers::SOURCE, self.source.to_owned());
        insert(headers::TIME, self.time.to_rfc3339_opts(SecondsFormat::Micros, true));
        insert(headers::TENANT, self.tenant.to_owned());
        if let Some(actor) = self.actor {
            insert(headers::ACTOR, actor.to_owned());
        }
        insert(headers::CORRELATION, self.correlation.to_owned());
        if let Some(causation) = self.causation {
            insert(headers::CAUSATION, causation.to_owned());
        }
        insert(headers::TRACEPARENT, self.trace.as_str().to_owned());
        insert(headers::CONTENT_TYPE, self.encoding.content_type().to_owned());
        map
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUBJECT: &str = "cmd.mailer.default.send_email.acme";

    fn read(subject: &str, headers: &[(&str, &str)]) -> (Meta, Result<(), Malformed>) {
        let map: HeaderMap = headers.iter().map(|(name, value)| (name.parse().unwrap(), (*value).into())).collect();
        Meta::read(subject, Some(&map), Position { stream: "CMD_MAILER", sequence: 7, stored: DateTime::UNIX_EPOCH })
    }

    #[test]
    fn a_message_without_headers_has_its_identity_from_its_place() {
        let position = Position { stream: "CMD_MAILER", sequence: 7, stored: DateTime::UNIX_EPOCH };
        let (meta, checked) = Meta::read(SUBJECT, None, position);
        assert_eq!(checked, Ok(()));
        assert_eq!((meta.tenant.as_str(), meta.name.as_str(), meta.version), ("acme", "send_email", 1));
        assert_eq!(meta.encoding, Encoding::Json);
        let (again, _) = Meta::read(SUBJECT, None, position);
        assert_eq!(meta.id, again.id);
        let (other, _) = Meta::read(SUBJECT, None, Position { sequence: 8, ..position });
        assert_ne!(meta.id, other.id);
    }

    #[test]
    fn another_tenant_in_the_header_is_a_forgery_and_claims_no_identity() {
        let id = "01979f6e-5a00-7000-8000-000000000001";
        let (meta, checked) = read(SUBJECT, &[("ce-tenant", "globex"), ("ce-id", id)]);
        assert_eq!(checked.unwrap_err().code, "forged_tenant");
        assert_eq!(meta.tenant, "acme");
        assert_ne!(meta.ce_id, id);
    }

    #[test]
    fn an_envelope_is_read_as_it_was_written() {
        let trace = TraceParent::start();
        let time = DateTime::from_timestamp_micros(1_700_000_000_123_456).unwrap();
        let written = Envelope {
            id: "01979f6e-5a00-7000-8000-000000000001",
            kind: "omnibus.mailer.send_email.v3",
            source: "omnibus/ingest",
            time,
            tenant: "acme",
            actor: Some("key:1"),
            correlation: "c",
            causation: Some("b"),
            trace: &trace,
            encoding: Encoding::MessagePack,
        }
        .headers();
        let position = Position { stream: "CMD_MAILER", sequence: 7, stored: time };
        let (meta, checked) = Meta::read(SUBJECT, Some(&written), position);
        assert_eq!(checked, Ok(()));
        assert_eq!(meta.id.to_string(), meta.ce_id);
        assert_eq!((meta.version, meta.time, meta.encoding), (3, time, Encoding::MessagePack));
        assert_eq!((meta.actor.as_deref(), meta.correlation.as_str()), (Some("key:1"), "c"));
        assert_eq!(meta.trace.trace_id(), trace.trace_id());
    }

    #[test]
    fn a_time_in_the_future_is_brought_back_to_when_it_was_stored() {
        let at = |time: &str| read(SUBJECT, &[("ce-time", time)]).0.time;
        assert_eq!(at("1969-12-31T23:00:00Z"), DateTime::UNIX_EPOCH - TimeDelta::hours(1));
        assert_eq!(at("1970-01-01T00:04:00Z"), DateTime::UNIX_EPOCH + TimeDelta::minutes(4));
        assert_eq!(at("2099-01-01T00:00:00Z"), DateTime::UNIX_EPOCH + AHEAD);
    }

    #[test]
    fn what_contradicts_the_subject_or_can_not_be_read_is_told() {
        for headers in [
            [("ce-type", "omnibus.mailer.other.v1")],
            [("ce-type", "omnibus.mailer.send_email.vx")],
            [("ce-time", "yesterday")],
            [("Content-Type", "text/html")],
            [("ce-id", "")],
        ] {
            assert_eq!(read(SUBJECT, &headers).1.unwrap_err().code, "undecodable", "{headers:?}");
        }
        assert_eq!(read("cmd.mailer.default.send_email.Acme", &[]).1.unwrap_err().code, "undecodable");
        assert_eq!(read("cmd.mailer.default", &[]).1.unwrap_err().code, "undecodable");
    }
}
