//! Files in rooms: brought once, then named by messages.

use chrono::{DateTime, Utc};
use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{DOMAIN, READ, WRITE, a_file, token};
use crate::contract::{Command, Event, Http, Query};
use crate::hook::Hook;
use crate::subject::Token;
use crate::upload::{Object, Upload};

/// The object store in which rooms have their files, as `<tenant>/<file id>`.
pub const FILES: &str = "room_files";

/// Most bytes of a file.
const MOST_BYTES: u64 = 25 << 20;

fn file_name(name: &str, _: &()) -> garde::Result {
    match name.chars().any(|c| c.is_control() || c == '/' || c == '\\') || name == "." || name == ".." {
        true => Err(garde::Error::new("must be a file's name without folders and control characters")),
        false => Ok(()),
    }
}

/// Brings a file into a room: the body is the file itself, at most 25 MiB. Messages then name it by this command's id. It
/// goes when every message that named it was taken back. One user has 10,000 files and 1 GiB of them at most, a tenant
/// 10 GiB.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct ShareFile {
    /// The room.
    #[garde(skip)]
    pub room_id: Token,
    /// Who. Absent for the token's own user; must be there with an API key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    #[schemars(extend("x-personal" = "subject"))]
    pub user: Option<Token>,
    /// Its name, 1 to 200 characters, without folders.
    #[garde(length(chars, min = 1, max = 200), custom(file_name))]
    #[schemars(regex(pattern = r"^[^\u0000-\u001F\u007F-\u009F/\\]*$"))]
    #[schemars(extend("x-personal" = "data"))]
    pub filename: String,
    /// The file.
    #[garde(dive)]
    pub object: Object,
}

impl Command for ShareFile {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "share_file";
    const LANE: &'static str = "files";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/websocket/rooms/{room_id}/files"));
    const SCOPE: &'static str = WRITE;
    const UPLOAD: Option<Upload> = Some(Upload { max_bytes: MOST_BYTES, types: &[] });

    fn example() -> Self {
        ShareFile {
            room_id: token("lobby"),
            user: Some(token("ada")),
            filename: "plan.pdf".into(),
            object: Object::example("acme", "application/pdf"),
        }
    }
}

/// A file of a room, as messages show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct File {
    /// The id of the command that brought it.
    pub file_id: Uuid,
    /// Its name.
    pub filename: String,
    /// The media type that the sender said.
    pub content_type: String,
    /// Bytes.
    pub size: i64,
    /// SHA-256 of the bytes, in lower-case hexadecimal.
    pub sha256: String,
}

/// A file is in a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileShared {
    /// The room.
    pub room_id: Token,
    /// Who brought it.
    #[schemars(extend("x-personal" = "subject"))]
    pub user: Token,
    /// The file's id.
    pub file_id: Uuid,
    /// Bytes.
    pub size: i64,
}

impl Event for FileShared {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "file_shared";

    fn example() -> Self {
        FileShared { room_id: token("lobby"), user: token("ada"), file_id: a_file(), size: 5 }
    }
}

/// Asks where a room's file is to be had. A user's own token must be a member's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct RoomFile {
    /// The room.
    #[garde(skip)]
    pub room_id: Token,
    /// The file.
    #[garde(skip)]
    pub file_id: Uuid,
}

/// Where a file is to be had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileLink {
    /// The file.
    #[serde(flatten)]
    pub file: File,
    /// The path at the HTTP door. Whoever has it may fetch the file, without a credential.
    pub path: String,
    /// Until when the path is good.
    pub until: DateTime<Utc>,
}

impl Query for RoomFile {
    type Answer = FileLink;
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "room_file";
    const HTTP: Option<Http> = Some(Http::get("/api/v1/websocket/rooms/{room_id}/files/{file_id}"));
    const SCOPE: &'static str = READ;

    fn example() -> Self {
        RoomFile { room_id: token("lobby"), file_id: a_file() }
    }
}

/// A room's file itself, for whoever was given its link.
#[derive(Debug)]
pub struct FileContent;

impl Hook for FileContent {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "file_content";
    const HTTP: Http = Http::get("/room-files/{link}");
    const MAX_BODY: usize = 0;
    const SUMMARY: &'static str = "A file of a chat room. The link is signed and good for five minutes.";
}
