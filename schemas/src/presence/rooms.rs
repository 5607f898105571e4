//! Rooms and who is in them.

use chrono::{DateTime, Utc};
use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DOMAIN, READ, WRITE, token};
use crate::contract::{Command, Event, Http, Query};
use crate::subject::Token;

/// What the id of a room of two begins with. Nobody can join such a room.
pub const DIRECT: &str = "dm-";

/// Puts a user into a room. The first one makes the room and moderates it; so does the first in a room that everybody left
/// before anything was said. A user is in 1000 rooms at most, those of two not counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct JoinRoom {
    /// The room.
    #[garde(skip)]
    pub room_id: Token,
    /// Who. Absent for the token's own user; must be there with an API key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    #[schemars(extend("x-personal" = "subject"))]
    pub user: Option<Token>,
}

impl Command for JoinRoom {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "join_room";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/websocket/rooms/{room_id}/join"));
    const SCOPE: &'static str = WRITE;

    fn example() -> Self {
        JoinRoom { room_id: token("lobby"), user: Some(token("ada")) }
    }
}

/// Takes a user out of a room. After its last moderator, whoever has been there longest moderates it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct LeaveRoom {
    /// The room.
    #[garde(skip)]
    pub room_id: Token,
    /// Who. Absent for the token's own user; must be there with an API key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    #[schemars(extend("x-personal" = "subject"))]
    pub user: Option<Token>,
}

impl Command for LeaveRoom {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "leave_room";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/websocket/rooms/{room_id}/leave"));
    const SCOPE: &'static str = WRITE;

    fn example() -> Self {
        LeaveRoom { room_id: token("lobby"), user: Some(token("bob")) }
    }
}

/// Opens the room that two users have to themselves: the same one, whoever opens it and however often. Who has left it is in
/// it again. Who is in 1000 such rooms opens no more of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct OpenDirect {
    /// Who. Absent for the token's own user; must be there with an API key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    #[schemars(extend("x-personal" = "subject"))]
    pub user: Option<Token>,
    /// The other.
    #[garde(skip)]
    #[schemars(extend("x-personal" = "subject"))]
    pub with: Token,
}

impl Command for OpenDirect {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "open_direct";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/websocket/direct"));
    const SCOPE: &'static str = WRITE;

    fn example() -> Self {
        OpenDirect { user: Some(token("ada")), with: token("bob") }
    }
}

/// Two users have a room to themselves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DirectOpened {
    /// The room; its id begins with `dm-`.
    pub room_id: Token,
    /// The two, by name.
    #[schemars(extend("x-personal" = "subject"))]
    pub users: [Token; 2],
}

impl Event for DirectOpened {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "direct_opened";

    fn example() -> Self {
        DirectOpened { room_id: token("dm-5d7e1c0f8a9b4b0f9f6c2d1e0a3b4c5d"), users: [token("ada"), token("bob")] }
    }
}

/// What a member may do in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Reads and writes.
    Member,
    /// Also deletes what others wrote.
    Moderator,
}

/// A user is in a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RoomJoined {
    /// The room.
    pub room_id: Token,
    /// Who.
    #[schemars(extend("x-personal" = "subject"))]
    pub user: Token,
    /// As what.
    pub role: Role,
    /// The room's revision.
    pub revision: i64,
}

impl Event for RoomJoined {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "room_joined";

    fn example() -> Self {
        RoomJoined { room_id: token("lobby"), user: token("ada"), role: Role::Moderator, revision: 1 }
    }
}

/// A user is no longer in a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RoomLeft {
    /// The room.
    pub room_id: Token,
    /// Who.
    #[schemars(extend("x-personal" = "subject"))]
    pub user: Token,
    /// The room's revision.
    pub revision: i64,
    /// Who moderates the room from now on, if its last moderator has left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-personal" = "subject"))]
    pub moderator: Option<Token>,
}

impl Event for RoomLeft {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "room_left";

    fn example() -> Self {
        RoomLeft { room_id: token("lobby"), user: token("bob"), revision: 7, moderator: Some(token("ada")) }
    }
}

/// Asks who is in a room, by name. A user's own token must be a member's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct RoomUsers {
    /// The room.
    #[garde(skip)]
    pub room_id: Token,
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

/// A user in a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Member {
    /// Who.
    pub user: Token,
    /// As what.
    pub role: Role,
    /// Since when.
    pub since: DateTime<Utc>,
    /// Online, away or offline, on all devices taken together.
    pub status: super::Status,
    /// The room's revision up to which this user has read.
    pub read: i64,
}

/// A page of a room's users.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UsersPage {
    /// By name.
    pub users: Vec<Member>,
    /// Where the next page begins, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Token>,
}

impl Query for RoomUsers {
    type Answer = UsersPage;
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "room_users";
    const HTTP: Option<Http> = Some(Http::get("/api/v1/websocket/rooms/{room_id}/users"));
    const SCOPE: &'static str = READ;

    fn example() -> Self {
        RoomUsers { room_id: token("lobby"), after: None, limit: Some(100) }
    }
}

/// Asks whether a user is in a room. The WebSocket door asks it before it lets a socket listen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct Seat {
    /// The room.
    #[garde(skip)]
    pub room_id: Token,
    /// Who.
    #[garde(skip)]
    pub user: Token,
}

/// A user's place in a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Membership {
    /// As what.
    pub role: Role,
}

impl Query for Seat {
    type Answer = Membership;
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "seat";
    const SCOPE: &'static str = READ;

    fn example() -> Self {
        Seat { room_id: token("lobby"), user: token("ada") }
    }
}
