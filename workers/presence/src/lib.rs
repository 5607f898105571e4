#![doc = include_str!("../README.md")]

mod broadcast;
mod change_message;
mod channel;
mod direct;
mod discarded;
mod files;
mod held;
mod interrupted;
mod join_room;
mod leave_room;
mod mark_read;
mod note_presence;
mod online;
mod post_message;
mod room_history;
mod room_users;
mod settings;
mod share_file;
mod stats;
mod unread;
mod watch;
mod who;

pub use settings::Settings;

use chrono::TimeDelta;
use omnibus_runtime::{Desk, Worker};
use omnibus_schemas::presence::{
    Broadcast, CheckUnread, DOMAIN, DeleteMessage, EditMessage, FileContent, JoinRoom, LeaveRoom, MarkRead,
    NotePresence, Online, OpenDirect, PostMessage, RealtimeStats, RoomFile, RoomHistory, RoomUsers, Seat, SetContact,
    ShareFile,
};
use tokio::sync::watch as kept;

/// The worker's tables.
const MIGRATIONS: &[(&str, &str)] = &[
    ("0001_rooms", include_str!("../migrations/0001_rooms.sql")),
    ("0002_files_and_unread", include_str!("../migrations/0002_files_and_unread.sql")),
];

/// What the handlers share. All else they know is in the database.
#[derive(Debug)]
pub(crate) struct Presence {
    /// How long what names somebody may stay unread; `None` for ever.
    unread_after: Option<TimeDelta>,
    /// Where rooms are to be seen.
    chat_url: Option<String>,
    desk: kept::Sender<Option<Desk>>,
}

impl Presence {
    /// The worker's connections, as soon as it runs.
    async fn desk(&self) -> Desk {
        let mut desks = self.desk.subscribe();
        let found = desks.wait_for(Option::is_some).await.expect("the sender lives as long as this");
        found.clone().expect("it was waited for")
    }
}

/// The worker: its tables, and what it does with each command and query.
pub fn worker(settings: Settings) -> anyhow::Result<Worker> {
    let Settings { unread_seconds, chat_url } = settings.checked()?;
    let state = Presence {
        unread_after: (unread_seconds > 0).then(|| TimeDelta::seconds(unread_seconds.into())),
        chat_url,
        desk: kept::Sender::new(None),
    };
    let worker = Worker::new(DOMAIN, state)
        .migrations("presence", MIGRATIONS)
        .handles::<JoinRoom>()
        .handles::<LeaveRoom>()
        .handles::<OpenDirect>()
        .handles_many::<PostMessage>()
        .handles::<EditMessage>()
        .handles::<DeleteMessage>()
        .handles_many::<MarkRead>()
        .effects::<ShareFile>()
        .handles::<SetContact>()
        .handles_many::<CheckUnread>()
        .handles::<Broadcast>()
        .handles::<NotePresence>()
        .answers::<RoomUsers>()
        .answers::<RoomHistory>()
        .answers::<RoomFile>()
        .answers::<Seat>()
        .answers::<Online>()
        .answers::<RealtimeStats>()
        .receives::<FileContent>()
        .runs("desk", |presence, desk| async move {
            presence.desk.send_replace(Some(desk));
            Ok(())
        })
        .runs("people", watch::people)
        .runs("files", discarded::clear)
        .build();
    Ok(worker)
}
