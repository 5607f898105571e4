//! What a handler causes: events, and follow-up commands, in order.

use chrono::{DateTime, Utc};
use omnibus_schemas::body::encode;
use omnibus_schemas::subject;
use omnibus_schemas::{Command, Encoding, Event};
use serde::{Deserialize, Serialize};

/// Events and follow-up commands of one command. They are committed with its rows and published afterwards.
#[derive(Debug, Default)]
pub struct Events {
    pub(crate) list: Vec<Caused>,
}

/// A message that is yet to get its identity and its tenant.
#[derive(Debug)]
pub(crate) enum Caused {
    Event {
        domain: &'static str,
        name: &'static str,
        version: u16,
        about: Option<String>,
        body: Vec<u8>,
    },
    Command {
        domain: &'static str,
        name: &'static str,
        version: u16,
        lane: String,
        at: Option<DateTime<Utc>>,
        body: Vec<u8>,
    },
    /// An entry of a log.
    Entry {
        kind: String,
        id: String,
        ce_type: &'static str,
        body: Vec<u8>,
    },
    /// A message that is passed on as it was.
    Passed(Outgoing),
}

impl Events {
    /// Nothing to tell. The runtime then tells that the command is done.
    pub fn none() -> Self {
        Events::default()
    }

    /// One event.
    pub fn of<E: Event>(event: E) -> Self {
        Events::none().and(event)
    }

    /// One more event.
    #[must_use]
    pub fn and<E: Event>(self, event: E) -> Self {
        self.push::<E>(event, None)
    }

    /// One more event, about this thing (`ce-subject`).
    #[must_use]
    pub fn about<E: Event>(self, what: impl Into<String>, event: E) -> Self {
        self.push::<E>(event, Some(what.into()))
    }

    fn push<E: Event>(mut self, event: E, about: Option<String>) -> Self {
        let body = encode(Encoding::Json, &event);
        self.list.push(Caused::Event { domain: E::DOMAIN, name: E::NAME, version: E::VERSION, about, body });
        self
    }

    /// An entry in the log `kind` `id` that people's clients follow, such as a room's. It goes out before the events.
    #[must_use]
    pub fn post(mut self, kind: &str, id: &str, ce_type: &'static str, entry: &impl Serialize) -> Self {
        let body = encode(Encoding::Json, entry);
        self.list.push(Caused::Entry { kind: kind.to_owned(), id: id.to_owned(), ce_type, body });
        self
    }

    /// A follow-up command, now.
    #[must_use]
    pub fn then<C: Command>(self, command: C) -> Self {
        self.follow::<C>(command, C::LANE, None)
    }

    /// A follow-up command in a lane of its domain other than its own.
    #[must_use]
    pub fn then_in<C: Command>(self, lane: &str, command: C) -> Self {
        self.follow::<C>(command, lane, None)
    }

    /// A follow-up command, at a time.
    #[must_use]
    pub fn then_at<C: Command>(self, at: DateTime<Utc>, command: C) -> Self {
        self.follow::<C>(command, C::LANE, Some(at))
    }

    fn follow<C: Command>(mut self, command: C, lane: &str, at: Option<DateTime<Utc>>) -> Self {
        let body = encode(Encoding::MessagePack, &command);
        self.list.push(Caused::Command {
            domain: C::DOMAIN,
            name: C::NAME,
            version: C::VERSION,
            lane: lane.to_owned(),
            at,
            body,
        });
        self
    }

    /// Appends another list.
    #[must_use]
    pub fn join(mut self, more: Events) -> Self {
        self.list.extend(more.list);
        self
    }

    /// How many messages.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Nothing to tell?
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

/// A message as it stands in the inbox row, with all that a later publication needs but what the row itself knows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Outgoing {
    /// The full subject, tenant included.
    pub(crate) subject: String,
    /// `ce-type`.
    pub(crate) kind: String,
    /// Is the body MessagePack? Else JSON.
    pub(crate) msgpack: bool,
    /// `ce-subject`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) about: Option<String>,
    /// On the terminal event: `ce-outcome`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) outcome: Option<String>,
    /// Not before; in milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) at: Option<i64>,
    /// Headers beyond the envelope: a dead letter's why, or the whole envelope of a message that is passed on as it was.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) extra: Vec<(String, String)>,
    /// The payload.
    #[serde(with = "serde_bytes")]
    pub(crate) body: Vec<u8>,
}

impl Caused {
    pub(crate) fn for_tenant(self, tenant: &str) -> Outgoing {
        match self {
            Caused::Passed(message) => message,
            Caused::Entry { kind, id, ce_type, body } => Outgoing {
                subject: subject::log(&kind, &id, tenant),
                kind: ce_type.to_owned(),
                body,
                ..Outgoing::default()
            },
            Caused::Event { domain, name, version, about, body } => Outgoing {
                subject: subject::event(domain, name, tenant),
                kind: subject::ce_type(domain, name, version),
                msgpack: false,
                about,
                outcome: None,
                at: None,
                extra: vec![],
                body,
            },
            Caused::Command { domain, name, version, lane, at, body } => Outgoing {
                subject: subject::command(domain, &lane, name, tenant),
                kind: subject::ce_type(domain, name, version),
                msgpack: true,
                about: None,
                outcome: None,
                at: at.map(|at| at.timestamp_millis()),
                extra: vec![],
                body,
            },
        }
    }
}
