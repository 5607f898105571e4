//! The presence worker with a real bus and a real database.
#![expect(clippy::unwrap_used, reason = "a test that can not go on has failed")]

mod attached;
mod busy;
mod killed;
mod places;
mod reading;
mod unread;

use std::time::Duration;

use omnibus_presence::{Settings, worker};
use omnibus_runtime::testing::{Running, Stage, Told};
use omnibus_schemas::platform::Outcome;
use omnibus_schemas::presence::{
    Broadcast, DeleteMessage, EditMessage, JoinRoom, Kind, LeaveRoom, MarkRead, NotePresence, PostMessage,
    RealtimeStats, Role, RoomHistory, RoomUsers, Seat, Status,
};
use omnibus_schemas::{Catalogue, Command, Token, headers};
use serde_json::{Map, Value, json};
use uuid::Uuid;

fn token(word: &str) -> Token {
    word.parse().unwrap()
}

struct Scene {
    stage: Stage,
    _running: Running,
}

impl Scene {
    async fn new() -> Self {
        Self::with(Settings::defaults()).await
    }

    async fn with(settings: Settings) -> Self {
        Self::on(Stage::new(Catalogue::omnibus()).await, settings).await
    }

    async fn on(stage: Stage, settings: Settings) -> Self {
        let running = stage.run(worker(settings).unwrap()).await;
        Scene { stage, _running: running }
    }

    async fn done<C: Command>(&self, tenant: &str, command: &C) -> (Uuid, Told) {
        let id = self.stage.publish(tenant, command).await;
        (id, self.stage.outcome(id).await)
    }

    /// Waits until the worker watches the bucket: by then it has found the sight from which it counts on.
    async fn watches(&self) {
        let bucket = || self.stage.operator.jetstream().get_stream("KV_presence");
        let watching = async {
            while bucket().await.unwrap().cached_info().state.consumer_count == 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(120), watching).await.expect("it watches");
    }

    /// The code of a refusal.
    async fn refused<C: Command>(&self, tenant: &str, command: &C) -> String {
        let (_, told) = self.done(tenant, command).await;
        assert_eq!(told.outcome, Some(Outcome::Rejected), "{told:?}");
        told.data["code"].as_str().unwrap().to_owned()
    }

    async fn join(&self, tenant: &str, room: &str, user: &str) -> Told {
        self.done(tenant, &JoinRoom { room_id: token(room), user: Some(token(user)) }).await.1
    }

    /// The names of the events that a command has caused.
    fn events_of(&self, id: Uuid) -> Vec<String> {
        self.stage.caused_by(id).into_iter().map(|told| told.name).collect()
    }

    /// Waits until a command waits for a lock that the test holds.
    async fn waits(&self, id: Uuid) {
        let waits = async {
            loop {
                let waiting: i64 = sqlx::query_scalar(
                    "select count(*) from pg_stat_activity
                     where datname = current_database() and wait_event_type = 'Lock'",
                )
                .fetch_one(&self.stage.db)
                .await
                .unwrap();
                assert!(self.events_of(id).is_empty(), "it waited for nothing");
                if waiting > 0 {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(120), waits).await.expect("it waits");
    }

    /// The log of a channel, in its own order.
    async fn log(&self, subject: &str) -> Vec<Value> {
        log_of(&self.stage, subject).await
    }
}

async fn log_of(stage: &Stage, subject: &str) -> Vec<Value> {
    let stream = stage.operator.jetstream().get_stream(omnibus_bus::ROOMS).await.unwrap();
    let last = stream.get_info().await.unwrap().state.last_sequence;
    let mut entries = Vec::new();
    for sequence in 1..=last {
        let Ok(message) = stream.get_raw_message(sequence).await else { continue };
        if message.subject.as_str() == subject {
            assert!(message.headers.get(headers::ID).is_some(), "an entry has an envelope");
            entries.push(serde_json::from_slice(&message.payload).unwrap());
        }
    }
    entries
}

fn post(room: &str, user: &str, text: &str) -> PostMessage {
    PostMessage {
        room_id: token(room),
        user: Some(token(user)),
        text: text.into(),
        reply_to: None,
        mentions: vec![],
        attachments: vec![],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_its_entry_and_its_event_are_committed_together() {
    let scene = Scene::new().await;
    scene.join("acme", "lobby", "ada").await;
    let (id, told) = scene.done("acme", &post("lobby", "ada", "Hello")).await;
    assert_eq!(told.name, "message_posted");
    assert!(!told.data.to_string().contains("Hello"), "the text stands in the log alone");
    let log = scene.log("rooms.room.lobby.acme").await;
    assert_eq!(log.iter().map(|entry| entry["type"].as_str().unwrap()).collect::<Vec<_>>(), ["joined", "message"]);
    assert_eq!((&log[1]["message_id"], &log[1]["text"], &log[1]["revision"]), (&json!(id), &json!("Hello"), &json!(2)));
    // The same command again is the same message.
    scene.stage.publish_as(id, "acme", &post("lobby", "ada", "Hello")).await;
    scene.done("acme", &post("lobby", "ada", "Again")).await;
    assert_eq!(scene.log("rooms.room.lobby.acme").await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn revisions_count_a_channels_entries_without_a_gap_however_many_write_at_once() {
    let scene = Scene::new().await;
    for user in ["ada", "bob"] {
        scene.join("acme", "lobby", user).await;
    }
    let mut ids = Vec::new();
    for n in 0..60 {
        let user = if n % 2 == 0 { "ada" } else { "bob" };
        ids.push(scene.stage.publish("acme", &post("lobby", user, &n.to_string())).await);
        // What is refused takes no number.
        ids.push(scene.stage.publish("acme", &post("lobby", "eve", "no")).await);
    }
    for id in ids {
        scene.stage.outcome(id).await;
    }
    let log = scene.log("rooms.room.lobby.acme").await;
    let mut revisions: Vec<_> = log.iter().map(|entry| entry["revision"].as_i64().unwrap()).collect();
    revisions.sort_unstable();
    assert_eq!(revisions, (1..=62).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn only_members_write_and_only_authors_and_moderators_change() {
    let scene = Scene::new().await;
    assert_eq!(scene.join("acme", "lobby", "ada").await.data["role"], "moderator");
    assert_eq!(scene.join("acme", "lobby", "bob").await.data["role"], "member");
    assert_eq!(scene.join("acme", "lobby", "bob").await.name, "command_done", "joining twice changes nothing");
    assert_eq!(scene.refused("acme", &post("lobby", "eve", "Hi")).await, "not_a_member");
    let (message_id, _) = scene.done("acme", &post("lobby", "bob", "Helo")).await;
    let edit = |user: &str, text: &str| EditMessage {
        room_id: token("lobby"),
        message_id,
        user: Some(token(user)),
        text: text.into(),
    };
    let delete =
        |user: &str, message_id| DeleteMessage { room_id: token("lobby"), message_id, user: Some(token(user)) };
    assert_eq!(scene.refused("acme", &edit("ada", "Not mine")).await, "not_the_author");
    assert_eq!(scene.done("acme", &edit("bob", "Hello")).await.1.name, "message_edited");
    let (second, _) = scene.done("acme", &post("lobby", "ada", "A moderator's")).await;
    assert_eq!(scene.refused("acme", &delete("bob", second)).await, "not_the_author");
    assert_eq!(scene.done("acme", &delete("ada", message_id)).await.1.name, "message_deleted");
    assert_eq!(scene.refused("acme", &edit("bob", "Too late")).await, "message_deleted");
    assert_eq!(scene.refused("acme", &delete("bob", message_id)).await, "message_deleted");
    let history = RoomHistory { room_id: token("lobby"), before: None, limit: None };
    let page = scene.stage.ask("presence", "acme", &history).await.unwrap();
    let said: Vec<_> =
        page.messages.iter().map(|said| (said.message.text.as_str(), said.deleted_at.is_some())).collect();
    assert_eq!(said, [("A moderator's", false), ("", true)]);
    let log = scene.log("rooms.room.lobby.acme").await;
    assert_eq!(log.last().unwrap()["type"], "deleted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_users_own_token_acts_for_that_user_alone() {
    let scene = Scene::new().await;
    let as_user = |actor: &'static str, command: PostMessage| {
        let stage = &scene.stage;
        async move {
            let id = omnibus_runtime::clock::new_id();
            let mut map = async_nats::HeaderMap::new();
            map.insert(headers::ID, id.to_string().as_str());
            map.insert(headers::ACTOR, actor);
            let body = serde_json::to_vec(&command).unwrap();
            stage.publish_raw("cmd.presence.default.post_message.acme", map, body).await;
            stage.outcome(id).await
        }
    };
    for user in ["ada", "bob"] {
        scene.join("acme", "lobby", user).await;
    }
    for actor in ["jwt:ada", "ws:ada"] {
        let own = as_user(actor, PostMessage { user: None, ..post("lobby", "ada", "Mine") }).await;
        assert_eq!((own.name.as_str(), &own.data["user"]), ("message_posted", &json!("ada")));
        let forged = as_user(actor, post("lobby", "bob", "Not mine")).await;
        assert_eq!(forged.data["code"], "another_user");
    }
    let unfit = as_user("jwt:Ada Lovelace", PostMessage { user: None, ..post("lobby", "ada", "x") }).await;
    assert_eq!(unfit.data["code"], "user_unfit");
    let nobody = as_user("key:1", PostMessage { user: None, ..post("lobby", "ada", "x") }).await;
    assert_eq!(nobody.data["faults"][0]["pointer"], "/user");
}

#[tokio::test(flavor = "multi_thread")]
async fn references_must_be_of_the_room_and_each_fault_is_named() {
    let scene = Scene::new().await;
    for room in ["lobby", "other"] {
        scene.join("acme", room, "ada").await;
    }
    let (elsewhere, _) = scene.done("acme", &post("other", "ada", "Elsewhere")).await;
    let message = PostMessage {
        reply_to: Some(elsewhere),
        mentions: vec![token("ada"), token("nobody")],
        ..post("lobby", "ada", "Hm")
    };
    let (_, told) = scene.done("acme", &message).await;
    let pointers: Vec<_> = told.data["faults"].as_array().unwrap().iter().map(|fault| &fault["pointer"]).collect();
    assert_eq!(pointers, ["/reply_to", "/mentions/1"]);
    let (_, told) = scene.done("acme", &post("lobby", "ada", "a\u{0}b")).await;
    assert_eq!(told.data["faults"][0]["pointer"], "/text");
    assert_eq!(scene.log("rooms.room.lobby.acme").await.len(), 1, "nothing was written");
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_goes_on_and_never_back_or_ahead() {
    let scene = Scene::new().await;
    for user in ["ada", "bob"] {
        scene.join("acme", "lobby", user).await;
    }
    scene.done("acme", &post("lobby", "ada", "3")).await;
    let read = |revision| MarkRead { room_id: token("lobby"), user: Some(token("bob")), revision };
    assert_eq!(scene.done("acme", &read(99)).await.1.data["revision"], 3, "no more than there is");
    assert_eq!(scene.done("acme", &read(1)).await.1.name, "command_done");
    let users = RoomUsers { room_id: token("lobby"), after: None, limit: None };
    let users = scene.stage.ask("presence", "acme", &users).await.unwrap().users;
    let read: Vec<_> = users.iter().map(|member| (member.user.as_str(), member.role, member.read)).collect();
    // Who writes has read what stands there, his own included.
    assert_eq!(read, [("ada", Role::Moderator, 3), ("bob", Role::Member, 3)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notice_goes_to_a_room_a_user_or_the_tenant_and_to_nobody_else() {
    let scene = Scene::new().await;
    scene.join("acme", "lobby", "ada").await;
    let notice =
        |to, id: Option<&str>| Broadcast { to, id: id.map(token), data: Map::from_iter([("n".to_owned(), 1.into())]) };
    for (to, id, subject) in [
        (Kind::Room, Some("lobby"), "rooms.room.lobby.acme"),
        (Kind::User, Some("ada"), "rooms.user.ada.acme"),
        (Kind::Tenant, None, "rooms.tenant.all.acme"),
    ] {
        assert_eq!(scene.done("acme", &notice(to, id)).await.1.name, "broadcast_sent");
        assert_eq!(scene.log(subject).await.last().unwrap()["data"], json!({ "n": 1 }), "{subject}");
    }
    assert_eq!(scene.refused("acme", &notice(Kind::Room, Some("nowhere"))).await, "no_such_room");
    assert_eq!(scene.refused("globex", &notice(Kind::Room, Some("lobby"))).await, "no_such_room");
    for command in [notice(Kind::Tenant, Some("globex")), notice(Kind::User, None)] {
        assert_eq!(scene.done("acme", &command).await.1.data["faults"][0]["pointer"], "/id");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_presence_is_told_once_and_an_older_sight_changes_nothing() {
    let scene = Scene::new().await;
    scene.watches().await;
    // Later than any sight that the worker has of its own: it sees that nobody is connected.
    let later = omnibus_runtime::clock::now().timestamp_micros() + 3_600_000_000;
    let note = |status, seen: i64| NotePresence { user: token("ada"), status, seen: later + seen };
    let (_, told) = scene.done("acme", &note(Status::Online, 10)).await;
    assert_eq!((&told.data["before"], &told.data["revision"]), (&json!("offline"), &json!(1)));
    for (status, seen) in [(Status::Online, 11), (Status::Offline, 11), (Status::Offline, 9)] {
        assert_eq!(scene.done("acme", &note(status, seen)).await.1.name, "command_done");
    }
    assert_eq!(scene.done("acme", &note(Status::Offline, 12)).await.1.data["revision"], 2);
    // Another tenant's user of the same name is another user.
    assert_eq!(scene.done("globex", &note(Status::Online, 1)).await.1.data["revision"], 1);
    // Everybody's sights count on from the highest: none takes all the numbers.
    let last = NotePresence { seen: 9_007_199_254_740_991, ..note(Status::Online, 0) };
    assert_eq!(scene.refused("globex", &last).await, "seen_ahead");
    let highest: i64 =
        sqlx::query_scalar("select max(seen) from presence.people").fetch_one(&scene.stage.db).await.unwrap();
    assert!(highest <= later + 12, "{highest}");
    // Where one stands all the same, what is seen now is believed.
    sqlx::query("update presence.people set seen = 9007199254740991").execute(&scene.stage.db).await.unwrap();
    assert_eq!(scene.done("acme", &note(Status::Online, 2)).await.1.data["revision"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tenant_finds_no_room_no_message_no_seat_and_no_number() {
    let scene = Scene::new().await;
    scene.join("acme", "lobby", "ada").await;
    let (message_id, _) = scene.done("acme", &post("lobby", "ada", "Ours")).await;
    let room = || token("lobby");
    assert_eq!(scene.refused("globex", &post("lobby", "ada", "Theirs")).await, "not_a_member");
    let delete = DeleteMessage { room_id: room(), message_id, user: Some(token("ada")) };
    assert_eq!(scene.refused("globex", &delete).await, "not_a_member");
    // Even in a room of the same name, with a user of the same name.
    scene.join("globex", "lobby", "ada").await;
    assert_eq!(scene.refused("globex", &delete).await, "no_such_message");
    let leave = LeaveRoom { room_id: room(), user: Some(token("ada")) };
    assert_eq!(scene.done("globex", &leave).await.1.name, "room_left");
    let seat = Seat { room_id: room(), user: token("ada") };
    assert!(scene.stage.ask("presence", "acme", &seat).await.is_ok());
    assert_eq!(scene.stage.ask("presence", "globex", &seat).await.unwrap_err().0, 404);
    let history = RoomHistory { room_id: room(), before: None, limit: None };
    assert!(scene.stage.ask("presence", "globex", &history).await.unwrap().messages.is_empty());
    let stats = scene.stage.ask("presence", "globex", &RealtimeStats {}).await.unwrap();
    assert_eq!((stats.rooms, stats.members, stats.messages), (0, 0, 0));
    let stats = scene.stage.ask("presence", "acme", &RealtimeStats {}).await.unwrap();
    assert_eq!((stats.rooms, stats.members, stats.messages), (1, 1, 1));
}
