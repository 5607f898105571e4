//! Who comes, who goes, and who decides then.

use omnibus_presence::Settings;
use omnibus_runtime::local::Postgres;
use omnibus_runtime::testing::{Stage, Told};
use omnibus_schemas::Catalogue;
use omnibus_schemas::platform::CommandPage;
use omnibus_schemas::presence::{
    DeleteMessage, EditMessage, JoinRoom, LeaveRoom, OpenDirect, PostMessage, RoomHistory, RoomUsers,
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{Scene, post, token};

impl Scene {
    async fn leave(&self, room: &str, user: &str) -> Told {
        self.done("acme", &LeaveRoom { room_id: token(room), user: Some(token(user)) }).await.1
    }

    /// The names of those who are in a room.
    async fn users(&self, room: &str) -> Vec<String> {
        let users = RoomUsers { room_id: token(room), after: None, limit: None };
        let page = self.stage.ask("presence", "acme", &users).await.unwrap();
        page.users.iter().map(|member| member.user.to_string()).collect()
    }
}

fn take_back(room: &str, user: &str, message_id: Uuid) -> DeleteMessage {
    DeleteMessage { room_id: token(room), message_id, user: Some(token(user)) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_has_a_moderator_as_long_as_anybody_is_in_it() {
    let scene = Scene::new().await;
    for user in ["ada", "zoe", "bob", "carol"] {
        scene.join("acme", "lobby", user).await;
    }
    let (message, _) = scene.done("acme", &post("lobby", "carol", "Hm")).await;
    assert_eq!(scene.refused("acme", &take_back("lobby", "zoe", message)).await, "not_the_author");
    assert_eq!(scene.leave("lobby", "bob").await.data["moderator"], Value::Null, "ada is there yet");
    // Who has been there longest, whatever his name is.
    assert_eq!(scene.leave("lobby", "ada").await.data["moderator"], "zoe");
    assert_eq!(scene.leave("lobby", "ada").await.name, "command_done", "gone is gone");
    assert_eq!(scene.done("acme", &take_back("lobby", "zoe", message)).await.1.name, "message_deleted");
    assert_eq!(scene.join("acme", "lobby", "ada").await.data["role"], "member", "nobody moderates for ever");
    assert_eq!(scene.leave("lobby", "zoe").await.data["moderator"], "carol");
    let entries = scene.log("rooms.room.lobby.acme").await;
    let mut revisions: Vec<_> = entries.iter().map(|entry| entry["revision"].as_i64().unwrap()).collect();
    revisions.sort_unstable();
    assert_eq!(revisions, (1..=10).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_first_after_all_have_left_does_not_decide_over_what_they_said() {
    let scene = Scene::new().await;
    for room in ["den", "hut"] {
        scene.join("acme", room, "ada").await;
    }
    let (message, _) = scene.done("acme", &post("den", "ada", "Mine")).await;
    for room in ["den", "hut"] {
        assert_eq!(scene.leave(room, "ada").await.data["moderator"], Value::Null);
    }
    assert_eq!(scene.join("acme", "den", "eve").await.data["role"], "member");
    assert_eq!(scene.refused("acme", &take_back("den", "eve", message)).await, "not_the_author");
    assert_eq!(scene.join("acme", "hut", "eve").await.data["role"], "moderator", "nothing was said there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_of_two_that_one_has_left_is_opened_again_for_both() {
    let scene = Scene::new().await;
    let open = OpenDirect { user: Some(token("ada")), with: token("bob") };
    let (_, told) = scene.done("acme", &open).await;
    let room = told.data["room_id"].as_str().unwrap().to_owned();
    assert_eq!(scene.users(&room).await, ["ada", "bob"]);
    let left = scene.leave(&room, "bob").await;
    assert_eq!((left.name.as_str(), &left.data["moderator"]), ("room_left", &Value::Null));
    assert_eq!(scene.users(&room).await, ["ada"]);
    assert_eq!(scene.refused("acme", &post(&room, "bob", "Gone")).await, "not_a_member");
    assert_eq!(scene.done("acme", &post(&room, "ada", "Are you there?")).await.1.name, "message_posted");
    assert_eq!(scene.done("acme", &open).await.1.data["room_id"], json!(room));
    assert_eq!(scene.users(&room).await, ["ada", "bob"]);
    assert_eq!(scene.done("acme", &post(&room, "bob", "Again")).await.1.data["revision"], 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_says_anything_after_he_has_left() {
    let scene = Scene::new().await;
    for user in ["ada", "bob"] {
        scene.join("acme", "lobby", user).await;
    }
    let (message_id, _) = scene.done("acme", &post("lobby", "bob", "Hello")).await;
    let edit =
        EditMessage { room_id: token("lobby"), message_id, user: Some(token("bob")), text: "Not said any more".into() };
    // The room is locked by who takes bob out of it, and all that bob still says waits for that.
    for said in [
        Said::Posted(post("lobby", "bob", "Too late")),
        Said::Edited(edit),
        Said::Deleted(take_back("lobby", "bob", message_id)),
    ] {
        let mut leaving = scene.stage.db.begin().await.unwrap();
        for statement in [
            "select 1 from presence.channels where id = 'lobby' for update",
            "delete from presence.members where user_id = 'bob'",
        ] {
            sqlx::query(statement).execute(&mut *leaving).await.unwrap();
        }
        let id = match said {
            Said::Posted(command) => scene.stage.publish("acme", &command).await,
            Said::Edited(command) => scene.stage.publish("acme", &command).await,
            Said::Deleted(command) => scene.stage.publish("acme", &command).await,
        };
        scene.waits(id).await;
        leaving.commit().await.unwrap();
        assert_eq!(scene.stage.outcome(id).await.data["code"], "not_a_member");
        scene.join("acme", "lobby", "bob").await;
    }
    assert!(scene.log("rooms.room.lobby.acme").await.iter().all(|entry| entry["type"] != "edited"));
}

enum Said {
    Posted(PostMessage),
    Edited(EditMessage),
    Deleted(DeleteMessage),
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_in_a_thousand_rooms_and_those_who_write_to_him_take_none_of_them() {
    let scene = Scene::new().await;
    sqlx::query(
        "insert into presence.members (tenant, room_id, user_id, role, joined_at)
         select 'acme', kind || n, 'eve', 'member', now()
         from generate_series(1, 1000) as n, unnest(array['room-', 'dm-']) as kind",
    )
    .execute(&scene.stage.db)
    .await
    .unwrap();
    let join = JoinRoom { room_id: token("one-more"), user: Some(token("eve")) };
    assert_eq!(scene.refused("acme", &join).await, "too_many_rooms");
    let open = |user: &str, with: &str| OpenDirect { user: Some(token(user)), with: token(with) };
    assert_eq!(scene.refused("acme", &open("eve", "ada")).await, "too_many_rooms");
    assert_eq!(scene.done("globex", &join).await.1.name, "room_joined", "another tenant's is another user");
    assert_eq!(scene.done("acme", &open("ada", "eve")).await.1.name, "direct_opened");
    assert_eq!(scene.leave("room-1", "eve").await.name, "room_left");
    assert_eq!(scene.done("acme", &join).await.1.name, "room_joined");
    // The one that was opened with him counts too.
    for (room, name) in [("dm-1", "command_rejected"), ("dm-2", "direct_opened")] {
        assert_eq!(scene.leave(room, "eve").await.name, "room_left");
        assert_eq!(scene.done("acme", &open("eve", "bob")).await.1.name, name);
    }
    let rooms: i64 = sqlx::query_scalar("select count(*) from presence.channels where revision = 0")
        .fetch_one(&scene.stage.db)
        .await
        .unwrap();
    assert_eq!(rooms, 0, "what was refused has made no room");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_log_forgets_its_oldest_entries_and_the_history_does_not() {
    let limits = omnibus_bus::Settings { rooms_max_entries: 5, ..omnibus_bus::Settings::default() };
    let stage = Stage::with(Catalogue::omnibus(), limits, Postgres::shared().await.unwrap()).await;
    let scene = Scene::on(stage, Settings::defaults()).await;
    scene.join("acme", "lobby", "ada").await;
    for n in 0..8 {
        scene.done("acme", &post("lobby", "ada", &n.to_string())).await;
    }
    let log = scene.log("rooms.room.lobby.acme").await;
    assert_eq!(log.iter().map(|entry| entry["revision"].as_i64().unwrap()).collect::<Vec<_>>(), [5, 6, 7, 8, 9]);
    let history = RoomHistory { room_id: token("lobby"), before: None, limit: None };
    assert_eq!(scene.stage.ask("presence", "acme", &history).await.unwrap().messages.len(), 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commands_page_tells_what_it_caused_and_not_what_was_said() {
    let scene = Scene::new().await;
    scene.join("acme", "lobby", "ada").await;
    let (id, _) = scene.done("acme", &post("lobby", "ada", "For members alone")).await;
    let report = scene.stage.ask("presence", "acme", &CommandPage { command_id: id }).await.unwrap();
    let caused: Vec<_> =
        report.events.iter().map(|caused| (caused.subject.as_str(), caused.payload.is_null())).collect();
    assert_eq!(caused, [("rooms.room.lobby.acme", true), ("evt.presence.message_posted.acme", false)]);
    assert!(!serde_json::to_string(&report).unwrap().contains("For members alone"));
}
