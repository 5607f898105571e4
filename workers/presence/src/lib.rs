#![doc = include_str!("../README.md")]

mod broadcast;
mod change_message;
mod channel;
mod join_room;
mod leave_room;
mod mark_read;
mod note_presence;
mod online;
mod post_message;
mod room_history;
mod room_users;
mod stats;
mod watch;
mod who;

use omnibus_runtime::Worker;
use omnibus_schemas::presence::{
    Broadcast, DOMAIN, DeleteMessage, EditMessage, JoinRoom, LeaveRoom, MarkRead, NotePresence, Online, PostMessage,
    RealtimeStats, RoomHistory, RoomUsers, Seat,
};

/// The worker's tables.
const MIGRATIONS: &[(&str, &str)] = &[("0001_rooms", include_str!("../migrations/0001_rooms.sql"))];

/// The presence worker has no settings of its own.
#[derive(Debug, Clone, Default, clap::Args)]
#[group(id = "presence")]
pub struct Settings {}

/// What the handlers share: nothing, all they know is in the database.
#[derive(Debug)]
pub struct Presence;

/// The worker: its tables, and what it does with each command and query.
pub fn worker(_: Settings) -> Worker {
    Worker::new(DOMAIN, Presence)
        .migrations("presence", MIGRATIONS)
        .handles::<JoinRoom>()
        .handles::<LeaveRoom>()
        .handles::<PostMessage>()
        .handles::<EditMessage>()
        .handles::<DeleteMessage>()
        .handles::<MarkRead>()
        .handles::<Broadcast>()
        .handles::<NotePresence>()
        .answers::<RoomUsers>()
        .answers::<RoomHistory>()
        .answers::<Seat>()
        .answers::<Online>()
        .answers::<RealtimeStats>()
        .runs("people", watch::people)
        .build()
}
