//! What stands in a channel's log. Clients get it as it is, and get what they have missed from there.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::messages::Message;
use crate::subject::Token;

/// The CloudEvents type of an entry.
pub const ENTRY: &str = "omnibus.presence.entry.v1";
/// The id of the one channel that all of a tenant's people share.
pub const TENANT_CHANNEL: &str = "all";

/// Whose log it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A room's; its members read it.
    Room,
    /// One user's.
    User,
    /// The whole tenant's.
    Tenant,
}

impl Kind {
    /// As in subjects and channel names.
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Room => "room",
            Kind::User => "user",
            Kind::Tenant => "tenant",
        }
    }
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Entry {
    /// Counts the channel's entries from 1 without a gap. Two that were written at the same moment may be read in the
    /// other order; this number has the right one.
    pub revision: i64,
    /// When it was written.
    pub at: DateTime<Utc>,
    /// What it says.
    #[serde(flatten)]
    pub what: What,
}

/// What an entry says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum What {
    /// Somebody wrote.
    Message(Message),
    /// A message reads otherwise now.
    Edited {
        /// Which.
        message_id: Uuid,
        /// What it says now.
        text: String,
    },
    /// A message is gone.
    Deleted {
        /// Which.
        message_id: Uuid,
    },
    /// Somebody came into the room.
    Joined {
        /// Who.
        user: Token,
    },
    /// Somebody left the room for good.
    Left {
        /// Who.
        user: Token,
    },
    /// Something for everybody who reads the channel.
    Notice {
        /// Whatever the sender put there.
        data: Map<String, Value>,
    },
}
