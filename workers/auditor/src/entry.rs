//! From a message of the bus to an entry: who, what, on which target, when, where from, why, and the commitment to its
//! payload.

use std::collections::HashMap;

use async_nats::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use omnibus_runtime::Meta;
use omnibus_schemas::auditor::EraseSubject;
use omnibus_schemas::catalogue::Catalogue;
use omnibus_schemas::personal::{self, Mark};
use omnibus_schemas::{Command, Encoding, body, headers};
use serde::Serialize;
use uuid::Uuid;

use crate::keys::{self, Keys};
use crate::people::{self, Known, People};
use crate::tree::digest;

/// A publisher's clock may be off by so much before the entry says so.
const SKEW: TimeDelta = TimeDelta::minutes(5);
/// What others wrote is kept up to so many characters.
const LONGEST: usize = 200;

/// The marked fields of every contract, by `ce-type` without its version: `omnibus.mailer.send_email`.
#[derive(Debug)]
pub(crate) struct Marks(HashMap<String, Vec<Mark>>);

impl Marks {
    pub(crate) fn of(catalogue: &Catalogue) -> Self {
        let commands = catalogue.commands().flat_map(|c| {
            let marks = personal::marks(&(c.schema)());
            std::iter::once(c.name).chain(c.aliases.iter().copied()).map(move |name| (c.domain, name, marks.clone()))
        });
        let events = catalogue.events().map(|e| (e.domain, e.name, personal::marks(&(e.schema)())));
        let all = commands.chain(events).filter(|(.., marks)| !marks.is_empty());
        Marks(all.map(|(domain, name, marks)| (format!("{domain}.{name}"), marks)).collect())
    }

    fn people(
        &self,
        keys: &Keys,
        tenant: &str,
        what: &str,
        encoding: Encoding,
        payload: &[u8],
    ) -> anyhow::Result<People> {
        let Some(marks) = self.0.get(what) else { return Ok(People::default()) };
        // What can't be read has no fields; it is on the record as it came, by its commitment.
        let Ok(payload) = body::to_json(encoding, payload) else { return Ok(People::default()) };
        People::of(keys, tenant, personal::find(marks, &payload), &payload)
    }
}

/// A message that is to become an entry; its people's keys are not known yet.
#[derive(Debug)]
pub(crate) struct Draft {
    /// What it is once, whatever brings it how often.
    pub(crate) key: Uuid,
    pub(crate) tenant: String,
    pub(crate) people: People,
    body: Body,
    payload: Vec<u8>,
}

/// An entry without its place.
#[derive(Debug, Clone)]
pub(crate) struct Arrival {
    pub(crate) key: Uuid,
    pub(crate) tenant: String,
    /// The leaf's fields after those that the sequencer adds, as a JSON object.
    pub(crate) body: String,
    pub(crate) salt: Vec<u8>,
    pub(crate) sealed: Option<String>,
}

/// The leaf's fields, in the order in which they are hashed.
#[derive(Debug, Default, Serialize)]
struct Body {
    id: String,
    kind: &'static str,
    what: String,
    version: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    stream: String,
    sequence: u64,
    occurred_at: String,
    received_at: String,
    /// How far the publisher's clock was from the server's, in seconds, if that is much.
    #[serde(skip_serializing_if = "Option::is_none")]
    skew_seconds: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    causation: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<String>,
    /// Why the envelope is not believed.
    #[serde(skip_serializing_if = "Option::is_none")]
    malformed: Option<&'static str>,
    bytes: usize,
    commitment: String,
    /// The digest of the sealed fields.
    #[serde(skip_serializing_if = "Option::is_none")]
    sealed: Option<String>,
}

/// The key of an entry.
pub(crate) fn key(kind: &str, tenant: &str, id: &str) -> Uuid {
    let hash = digest(&[kind.as_bytes(), &[0], tenant.as_bytes(), &[0], id.as_bytes()]);
    Uuid::from_slice(&hash[..16]).expect("a UUID has 16 bytes")
}

fn short(text: &str) -> String {
    match text.len() <= LONGEST {
        true => text.to_owned(),
        false => text.chars().take(LONGEST).collect(),
    }
}

fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

impl Draft {
    /// Of a stored message.
    pub(crate) fn read(
        keys: &Keys,
        marks: &Marks,
        message: &async_nats::Message,
        stream: &str,
        sequence: u64,
        stored: DateTime<Utc>,
    ) -> anyhow::Result<Self> {
        let map = message.headers.as_ref();
        let (meta, checked) = Meta::at(&message.subject, map, stream, sequence, stored);
        let kind = if message.subject.starts_with("cmd.") { "command" } else { "event" };
        // A tenant that is none can have no log; the house's has it.
        let tenant = match meta.tenant.parse::<omnibus_schemas::Token>() {
            Ok(_) => meta.tenant.clone(),
            Err(_) => HOUSE.to_owned(),
        };
        let what = format!("{}.{}", meta.domain, meta.name);
        // Whoever asks for an erasure leaves no new trace of whom.
        let erasure = meta.domain == EraseSubject::DOMAIN && meta.name == EraseSubject::NAME;
        let people = match erasure {
            true => People::unopenable(),
            false => marks.people(keys, &tenant, &what, meta.encoding, &message.payload)?,
        };
        let body = Body {
            kind,
            what: short(&what),
            version: meta.version,
            malformed: checked.err().map(|error| error.code),
            bytes: message.payload.len(),
            ..envelope(&meta, map, stream, stored)
        };
        Ok(Draft { key: key(kind, &tenant, &meta.ce_id), people, tenant, body, payload: message.payload.to_vec() })
    }

    /// Of the auditor's own event, which it does not read on the bus.
    pub(crate) fn own(meta: &Meta, name: &str, target: Option<String>, payload: Vec<u8>) -> Self {
        let id = format!("{}/auditor.{name}", meta.ce_id);
        let body = Body {
            id: id.clone(),
            kind: "event",
            what: format!("auditor.{name}"),
            version: 1,
            actor: meta.actor.as_deref().map(short),
            target,
            source: Some("omnibus/auditor".to_owned()),
            stream: omnibus_schemas::subject::command_stream("auditor"),
            sequence: meta.sequence,
            occurred_at: time(meta.time),
            received_at: time(meta.time),
            correlation: Some(meta.correlation.clone()),
            causation: Some(meta.ce_id.clone()),
            outcome: Some("succeeded".to_owned()),
            bytes: payload.len(),
            ..Body::default()
        };
        let people = People::default();
        Draft { key: key("event", &meta.tenant, &id), tenant: meta.tenant.clone(), people, body, payload }
    }

    /// Of what the auditor did to one of its things without being asked, which is done once.
    pub(crate) fn unasked(tenant: &str, name: &str, target: String, at: DateTime<Utc>, payload: Vec<u8>) -> Self {
        let id = format!("{target}/auditor.{name}");
        let body = Body {
            id: id.clone(),
            kind: "event",
            what: format!("auditor.{name}"),
            version: 1,
            actor: Some("auditor".to_owned()),
            target: Some(target),
            source: Some("omnibus/auditor".to_owned()),
            occurred_at: time(at),
            received_at: time(at),
            bytes: payload.len(),
            ..Body::default()
        };
        Draft { key: key("event", tenant, &id), tenant: tenant.to_owned(), people: People::default(), body, payload }
    }

    /// With the keys of its people.
    pub(crate) fn finish(mut self, known: &Known) -> anyhow::Result<Arrival> {
        let stored = keys::chance::<32>()?;
        let salt = self.people.salt(&self.tenant, &stored, known);
        // What is stored of the salt: its own part, then the people whose shares belong to it. Nothing, if one of them was
        // erased: nobody is to guess the payload then.
        let kept = match salt {
            Some(_) => self.people.all.iter().fold(stored.to_vec(), |mut bytes, person| {
                bytes.extend_from_slice(person);
                bytes
            }),
            None => Vec::new(),
        };
        let salt = salt.map_or_else(keys::chance::<32>, Ok)?;
        self.body.commitment = STANDARD.encode(people::commitment(&salt, &self.payload));
        let sealed = self.people.seal(&self.tenant, self.key.as_bytes(), known)?;
        self.body.sealed = sealed.as_ref().map(|sealed| STANDARD.encode(digest(&[sealed.as_bytes()])));
        let body = serde_json::to_string(&self.body)?;
        Ok(Arrival { key: self.key, tenant: self.tenant, body, salt: kept, sealed })
    }
}

/// The log of what belongs to no tenant.
pub(crate) const HOUSE: &str = "_";

fn envelope(meta: &Meta, map: Option<&HeaderMap>, stream: &str, stored: DateTime<Utc>) -> Body {
    let get = |name: &str| map.and_then(|map| map.get(name)).map(|value| short(value.as_str()));
    // As it was written: the runtime holds it against its own clock, a record does not.
    let occurred = get(headers::TIME)
        .and_then(|time| DateTime::parse_from_rfc3339(&time).ok())
        .map_or(stored, |time| time.with_timezone(&Utc));
    let skew = occurred - stored;
    Body {
        id: meta.ce_id.clone(),
        actor: meta.actor.as_deref().map(short),
        target: get(headers::SUBJECT),
        source: get(headers::SOURCE),
        stream: stream.to_owned(),
        sequence: meta.sequence,
        occurred_at: time(occurred),
        received_at: time(stored),
        // What waited at its publisher is old, not skewed; an hour says which.
        skew_seconds: (skew > SKEW || skew < -TimeDelta::hours(1)).then_some(skew.num_seconds()),
        correlation: Some(meta.correlation.clone()).filter(|id| *id != meta.ce_id),
        causation: get(headers::CAUSATION),
        outcome: get(headers::OUTCOME),
        ..Body::default()
    }
}
