//! Who is there.

use chrono::{DateTime, Utc};
use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DOMAIN, READ, token};
use crate::contract::{Command, Event, Http, Query};
use crate::subject::Token;

/// Whether somebody is there, on all devices taken together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// At one device at least.
    Online,
    /// Every device that is connected says that nobody is at it.
    Away,
    /// No device is connected.
    Offline,
}

impl Status {
    /// As in events and tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Status::Online => "online",
            Status::Away => "away",
            Status::Offline => "offline",
        }
    }

    /// The reverse.
    pub fn parse(word: &str) -> Option<Self> {
        [Status::Online, Status::Away, Status::Offline].into_iter().find(|status| status.as_str() == word)
    }
}

/// The value of a connection's key in the bucket `presence`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Device {
    /// The connection.
    pub client: String,
    /// The node that holds it.
    pub node: String,
    /// Whether nobody is at the device.
    #[serde(default)]
    pub away: bool,
    /// Whether it has gone, and may be back before its key ends.
    #[serde(default)]
    pub leaving: bool,
    /// What it listens to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub channels: Vec<String>,
}

/// What was seen of a user in the bucket of connections. Written by the presence worker for itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct NotePresence {
    /// Who.
    #[garde(skip)]
    #[schemars(extend("x-personal" = "subject"))]
    pub user: Token,
    /// What was seen.
    #[garde(skip)]
    pub status: Status,
    /// When it was seen, in microseconds since 1970; of two at once, one is counted later. An older one than the last
    /// changes nothing, and one of more than a day ahead is refused.
    #[garde(range(min = 0, max = 9_007_199_254_740_991_i64))]
    pub seen: i64,
}

impl Command for NotePresence {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "note_presence";
    const LANE: &'static str = "people";
    const SCOPE: &'static str = "websocket:operate";

    fn example() -> Self {
        NotePresence { user: token("ada"), status: Status::Online, seen: 4711 }
    }
}

/// Somebody came, went, or turned away from every device. Exactly one for each change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PresenceChanged {
    /// Who.
    #[schemars(extend("x-personal" = "subject"))]
    pub user: Token,
    /// Now.
    pub status: Status,
    /// Before.
    pub before: Status,
    /// Grows by one with every change of this user.
    pub revision: i64,
}

impl Event for PresenceChanged {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "presence_changed";

    fn example() -> Self {
        PresenceChanged { user: token("ada"), status: Status::Online, before: Status::Offline, revision: 1 }
    }
}

/// Asks who is online or away, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct Online {
    /// Those after this one: `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub after: Option<Token>,
    /// How many; 100 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(range(min = 1, max = 1000)))]
    #[schemars(range(min = 1, max = 1000))]
    pub limit: Option<u32>,
}

/// Somebody who is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Person {
    /// Who.
    pub user: Token,
    /// Online or away.
    pub status: Status,
    /// Since when.
    pub since: DateTime<Utc>,
}

/// A page of those who are there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OnlinePage {
    /// By name.
    pub users: Vec<Person>,
    /// Where the next page begins, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Token>,
}

impl Query for Online {
    type Answer = OnlinePage;
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "online";
    const HTTP: Option<Http> = Some(Http::get("/api/v1/websocket/online"));
    const SCOPE: &'static str = READ;

    fn example() -> Self {
        Online { after: None, limit: Some(100) }
    }
}

/// Asks for the tenant's numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct RealtimeStats {}

/// A tenant's numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Stats {
    /// Rooms with at least one member.
    pub rooms: i64,
    /// Memberships, a user in two rooms counted twice.
    pub members: i64,
    /// Messages that are kept, deleted ones not counted.
    pub messages: i64,
    /// Users who are online.
    pub online: i64,
    /// Users who are away.
    pub away: i64,
}

impl Query for RealtimeStats {
    type Answer = Stats;
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "stats";
    const HTTP: Option<Http> = Some(Http::get("/api/v1/websocket/stats"));
    const SCOPE: &'static str = READ;

    fn example() -> Self {
        RealtimeStats {}
    }
}
