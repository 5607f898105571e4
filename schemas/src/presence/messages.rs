//! What is said in rooms.

use chrono::{DateTime, Utc};
use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{DOMAIN, File, READ, WRITE, a_message, token};
use crate::contract::{Command, Event, Http, Query};
use crate::subject::Token;

/// A message in a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Message {
    /// Its id, which is the id of the command that posted it.
    pub message_id: Uuid,
    /// Who wrote it.
    pub user: Token,
    /// What it says; empty once it is deleted.
    pub text: String,
    /// The message it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<Uuid>,
    /// Who is named in it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mentions: Vec<Token>,
    /// Files that belong to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<File>,
}

/// Says something in a room. Only its members may, and have then read what stood there before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct PostMessage {
    /// The room.
    #[garde(skip)]
    pub room_id: Token,
    /// Who says it. Absent for the token's own user; must be there with an API key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    #[schemars(extend("x-personal" = "subject"))]
    pub user: Option<Token>,
    /// What is said: 1 to 8000 characters of plain text.
    #[garde(length(chars, min = 1, max = 8000))]
    #[schemars(extend("x-personal" = "data"))]
    pub text: String,
    /// The message it answers, of the same room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub reply_to: Option<Uuid>,
    /// Members who are named in it, at most 50.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[garde(length(max = 50))]
    #[schemars(extend("x-personal" = "subject"))]
    pub mentions: Vec<Token>,
    /// Files that the same user has brought into this room, by their ids; at most 10.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[garde(length(max = 10))]
    pub attachments: Vec<Uuid>,
}

impl Command for PostMessage {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "post_message";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/websocket/rooms/{room_id}/message"));
    const SCOPE: &'static str = WRITE;

    fn example() -> Self {
        PostMessage {
            room_id: token("lobby"),
            user: Some(token("ada")),
            text: "Hello, everybody".into(),
            reply_to: None,
            mentions: vec![],
            attachments: vec![],
        }
    }
}

/// Says it otherwise. Only who wrote a message may.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct EditMessage {
    /// The room.
    #[garde(skip)]
    pub room_id: Token,
    /// The message.
    #[garde(skip)]
    pub message_id: Uuid,
    /// Who. Absent for the token's own user; must be there with an API key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    #[schemars(extend("x-personal" = "subject"))]
    pub user: Option<Token>,
    /// What it says from now on: 1 to 8000 characters of plain text.
    #[garde(length(chars, min = 1, max = 8000))]
    #[schemars(extend("x-personal" = "data"))]
    pub text: String,
}

impl Command for EditMessage {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "edit_message";
    const HTTP: Option<Http> = Some(Http::put("/api/v1/websocket/rooms/{room_id}/messages/{message_id}"));
    const SCOPE: &'static str = WRITE;

    fn example() -> Self {
        EditMessage {
            room_id: token("lobby"),
            message_id: a_message(),
            user: Some(token("ada")),
            text: "Hello, all of you".into(),
        }
    }
}

/// Takes a message back. Who wrote it may, and the room's moderators. Nobody is shown its text any more, nor its files if no
/// other message has them. The entry stays in the room's log until it is too old, for clients that follow the log itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct DeleteMessage {
    /// The room.
    #[garde(skip)]
    pub room_id: Token,
    /// The message.
    #[garde(skip)]
    pub message_id: Uuid,
    /// Who. Absent for the token's own user; must be there with an API key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    #[schemars(extend("x-personal" = "subject"))]
    pub user: Option<Token>,
}

impl Command for DeleteMessage {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "delete_message";
    const HTTP: Option<Http> = Some(Http::delete("/api/v1/websocket/rooms/{room_id}/messages/{message_id}"));
    const SCOPE: &'static str = WRITE;

    fn example() -> Self {
        DeleteMessage { room_id: token("lobby"), message_id: a_message(), user: Some(token("ada")) }
    }
}

/// Notes how far a user has read, on whichever device. Never goes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct MarkRead {
    /// The room.
    #[garde(skip)]
    pub room_id: Token,
    /// Who. Absent for the token's own user; must be there with an API key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    #[schemars(extend("x-personal" = "subject"))]
    pub user: Option<Token>,
    /// The revision of the newest entry that was read.
    #[garde(range(min = 0, max = 9_007_199_254_740_991_i64))]
    pub revision: i64,
}

impl Command for MarkRead {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "mark_read";
    // Messages lock rooms before seats. One transaction that has reading too would lock a seat first.
    const LANE: &'static str = "reading";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/websocket/rooms/{room_id}/read"));
    const SCOPE: &'static str = WRITE;

    fn example() -> Self {
        MarkRead { room_id: token("lobby"), user: Some(token("ada")), revision: 2 }
    }
}

/// A message was posted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MessagePosted {
    /// The room.
    pub room_id: Token,
    /// The message's id.
    pub message_id: Uuid,
    /// Who wrote it.
    #[schemars(extend("x-personal" = "subject"))]
    pub user: Token,
    /// Who is named in it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-personal" = "subject"))]
    pub mentions: Vec<Token>,
    /// The room's revision. The text stands in the room's log.
    pub revision: i64,
}

impl Event for MessagePosted {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "message_posted";

    fn example() -> Self {
        MessagePosted {
            room_id: token("lobby"),
            message_id: a_message(),
            user: token("ada"),
            mentions: vec![token("bob")],
            revision: 3,
        }
    }
}

/// A message reads otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MessageEdited {
    /// The room.
    pub room_id: Token,
    /// The message's id.
    pub message_id: Uuid,
    /// The room's revision.
    pub revision: i64,
}

impl Event for MessageEdited {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "message_edited";

    fn example() -> Self {
        MessageEdited { room_id: token("lobby"), message_id: a_message(), revision: 4 }
    }
}

/// A message is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MessageDeleted {
    /// The room.
    pub room_id: Token,
    /// The message's id.
    pub message_id: Uuid,
    /// Who took it back.
    #[schemars(extend("x-personal" = "subject"))]
    pub by: Token,
    /// The room's revision.
    pub revision: i64,
}

impl Event for MessageDeleted {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "message_deleted";

    fn example() -> Self {
        MessageDeleted { room_id: token("lobby"), message_id: a_message(), by: token("ada"), revision: 5 }
    }
}

/// A user has read on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RoomRead {
    /// The room.
    pub room_id: Token,
    /// Who.
    #[schemars(extend("x-personal" = "subject"))]
    pub user: Token,
    /// The room's revision up to which everything was read.
    pub revision: i64,
}

impl Event for RoomRead {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "room_read";

    fn example() -> Self {
        RoomRead { room_id: token("lobby"), user: token("bob"), revision: 3 }
    }
}

/// Asks what was said in a room, newest first, as it reads today. A user's own token must be a member's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct RoomHistory {
    /// The room.
    #[garde(skip)]
    pub room_id: Token,
    /// Only what was said before this revision: `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(range(min = 1, max = 9_007_199_254_740_991_i64)))]
    #[schemars(range(min = 1, max = 9_007_199_254_740_991_i64))]
    pub before: Option<i64>,
    /// How many; 50 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(range(min = 1, max = 500)))]
    #[schemars(range(min = 1, max = 500))]
    pub limit: Option<u32>,
}

/// A message as it reads today.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Said {
    /// The message.
    #[serde(flatten)]
    pub message: Message,
    /// The room's revision when it was posted.
    pub revision: i64,
    /// When it was posted.
    pub at: DateTime<Utc>,
    /// When it was last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edited_at: Option<DateTime<Utc>>,
    /// When it was taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<DateTime<Utc>>,
}

/// A page of what was said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HistoryPage {
    /// Newest first.
    pub messages: Vec<Said>,
    /// Where the next page begins, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<i64>,
}

impl Query for RoomHistory {
    type Answer = HistoryPage;
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "room_history";
    const HTTP: Option<Http> = Some(Http::get("/api/v1/websocket/rooms/{room_id}/history"));
    const SCOPE: &'static str = READ;

    fn example() -> Self {
        RoomHistory { room_id: token("lobby"), before: None, limit: Some(50) }
    }
}
