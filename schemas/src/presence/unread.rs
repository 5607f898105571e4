//! What stays unread: where its reader is written to, and when.

use chrono::{DateTime, Utc};
use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{CONTACTS, DOMAIN, a_message, token};
use crate::contract::{Command, Event, Http};
use crate::subject::Token;

/// Notes where a user is written to when what names him stays unread. For a back end, which knows whose address it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct SetContact {
    /// Who.
    #[garde(skip)]
    #[schemars(extend("x-personal" = "subject"))]
    pub user: Token,
    /// The address; absent, and the user is not written to any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(email, length(max = 254)))]
    #[schemars(email, length(max = 254), extend("x-personal" = "subject"))]
    pub email: Option<String>,
}

impl Command for SetContact {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "set_contact";
    const HTTP: Option<Http> = Some(Http::put("/api/v1/websocket/users/{user}/contact"));
    const SCOPE: &'static str = CONTACTS;

    fn example() -> Self {
        SetContact { user: token("bob"), email: Some("bob@example.com".into()) }
    }
}

/// Looks whether a user has read what names him. Written by the presence worker for itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct CheckUnread {
    /// The room.
    #[garde(skip)]
    pub room_id: Token,
    /// Who.
    #[garde(skip)]
    #[schemars(extend("x-personal" = "subject"))]
    pub user: Token,
    /// When it is to be looked. What is younger than the wait at this time gets a look of its own.
    #[garde(skip)]
    pub due: DateTime<Utc>,
    /// Whether it was put off, because nobody was there in time. It is no second time.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[garde(skip)]
    pub again: bool,
}

impl Command for CheckUnread {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "check_unread";
    const LANE: &'static str = "people";
    const SCOPE: &'static str = "websocket:operate";

    fn example() -> Self {
        let due = DateTime::from_timestamp(1_790_000_000, 0).expect("a time of this century");
        CheckUnread { room_id: token("lobby"), user: token("bob"), due, again: false }
    }
}

/// Messages that name a user, or were written to him alone, were not read in time, on no device. The mailer writes to
/// him. Each message is told of once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MessagesUnread {
    /// Who has not read them.
    #[schemars(extend("x-personal" = "subject"))]
    pub user: Token,
    /// The room.
    pub room_id: Token,
    /// Whether the room is the two's own.
    pub direct: bool,
    /// How many.
    pub count: i64,
    /// Who wrote the oldest of them.
    #[schemars(extend("x-personal" = "subject"))]
    pub author: Token,
    /// The oldest of them.
    pub message_id: Uuid,
    /// Tells occasions apart: the same until the user has read all that he was told of in this room, and then higher.
    #[serde(default)]
    pub told_since: i64,
    /// Where the user is written to.
    #[schemars(extend("x-personal" = "subject"))]
    pub email: String,
    /// Where the room is to be seen, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
}

impl Event for MessagesUnread {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "messages_unread";

    fn example() -> Self {
        MessagesUnread {
            user: token("bob"),
            room_id: token("lobby"),
            direct: false,
            count: 2,
            author: token("ada"),
            message_id: a_message(),
            told_since: 6,
            email: "bob@example.com".into(),
            link: Some("https://chat.example.com/rooms/lobby".into()),
        }
    }
}

/// A user has read what `messages_unread` had told of. The mailer takes back what has not left yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MessagesReadLate {
    /// Who has read them.
    #[schemars(extend("x-personal" = "subject"))]
    pub user: Token,
    /// The room.
    pub room_id: Token,
    /// The room's revision up to which everything was read.
    pub revision: i64,
    /// As `messages_unread` had it.
    #[serde(default)]
    pub told_since: i64,
}

impl Event for MessagesReadLate {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "messages_read_late";

    fn example() -> Self {
        MessagesReadLate { user: token("bob"), room_id: token("lobby"), revision: 7, told_since: 6 }
    }
}
