//! Realtime: rooms, what is said in them, and who is there.

mod broadcast;
mod entry;
mod files;
mod messages;
mod people;
mod rooms;
mod unread;

pub use broadcast::{Broadcast, BroadcastSent};
pub use entry::{ENTRY, Entry, Kind, TENANT_CHANNEL, What};
pub use files::{FILES, File, FileContent, FileLink, FileShared, RoomFile, ShareFile};
pub use messages::{
    DeleteMessage, EditMessage, HistoryPage, MarkRead, Message, MessageDeleted, MessageEdited, MessagePosted,
    PostMessage, RoomHistory, RoomRead, Said,
};
pub use people::{Device, NotePresence, Online, OnlinePage, Person, PresenceChanged, RealtimeStats, Stats, Status};
pub use rooms::{
    DIRECT, DirectOpened, JoinRoom, LeaveRoom, Member, Membership, OpenDirect, Role, RoomJoined, RoomLeft, RoomUsers,
    Seat, UsersPage,
};
pub use unread::{CheckUnread, MessagesReadLate, MessagesUnread, SetContact};

use uuid::Uuid;

use crate::bucket::Bucket;
use crate::catalogue::Domain;
use crate::subject::Token;

/// The domain's name.
pub const DOMAIN: &str = "presence";
/// The bucket in which every open connection has a key, `<tenant>.<user>.<slot>`, that ends with it.
pub const BUCKET: &str = "presence";

/// Reads rooms, people and history.
pub const READ: &str = "websocket:read";
/// Joins, leaves, writes.
pub const WRITE: &str = "websocket:write";
/// Writes to a room, a user or a whole tenant as nobody in particular.
pub const BROADCAST: &str = "websocket:broadcast";
/// Says where users are written to.
pub const CONTACTS: &str = "websocket:contacts";
/// Connects.
pub const CONNECT: &str = "websocket:connect";

/// The domain's catalogue.
pub fn domain() -> Domain {
    Domain::new(DOMAIN, "Realtime")
        .command::<JoinRoom>()
        .command::<LeaveRoom>()
        .command::<OpenDirect>()
        .command::<PostMessage>()
        .command::<EditMessage>()
        .command::<DeleteMessage>()
        .command::<MarkRead>()
        .command::<ShareFile>()
        .command::<SetContact>()
        .command::<CheckUnread>()
        .command::<Broadcast>()
        .command::<NotePresence>()
        .event::<RoomJoined>()
        .event::<RoomLeft>()
        .event::<DirectOpened>()
        .event::<MessagePosted>()
        .event::<MessageEdited>()
        .event::<MessageDeleted>()
        .event::<RoomRead>()
        .event::<FileShared>()
        .event::<MessagesUnread>()
        .event::<MessagesReadLate>()
        .event::<BroadcastSent>()
        .event::<PresenceChanged>()
        .query::<RoomUsers>()
        .query::<RoomHistory>()
        .query::<RoomFile>()
        .query::<Seat>()
        .query::<Online>()
        .query::<RealtimeStats>()
        .hook::<FileContent>()
        .owns(Bucket::values(BUCKET, "Open connections, by tenant, user and slot").expiring())
        .owns(Bucket::objects(FILES, "Files in chat rooms, by tenant"))
        .posts()
}

fn token(word: &str) -> Token {
    word.parse().expect("examples are tokens")
}

fn a_file() -> Uuid {
    Uuid::from_u128(0x0197_9f6e_5a00_7000_8000_0000_0000_0c02)
}

fn a_message() -> Uuid {
    Uuid::from_u128(0x0197_9f6e_5a00_7000_8000_0000_0000_0c01)
}
