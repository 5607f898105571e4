//! What names somebody and stays unread.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use omnibus_presence::Settings;
use omnibus_runtime::clock;
use omnibus_runtime::testing::{PATIENCE, Told};
use omnibus_schemas::headers;
use omnibus_schemas::presence::{
    CheckUnread, DeleteMessage, JoinRoom, MarkRead, NotePresence, OpenDirect, PostMessage, SetContact, Status,
};
use serde_json::json;

use crate::{Scene, post, token};

/// Where so many seconds are left to read what names somebody. They are to be enough for what a test does in time, on a busy
/// machine too.
async fn scene(unread_seconds: u32) -> Scene {
    let scene = Scene::with(Settings { unread_seconds, chat_url: Some("https://chat.test/{room}".into()) }).await;
    for user in ["ada", "bob", "carol", "dave"] {
        scene.join("acme", "lobby", user).await;
        scene.contact("acme", user).await;
    }
    scene
}

impl Scene {
    async fn contact(&self, tenant: &str, user: &str) {
        let email = Some(format!("{user}@{tenant}.test"));
        self.done(tenant, &SetContact { user: token(user), email }).await;
    }

    /// Waits until nobody is looked after any more, and for a command of the same lane after that.
    async fn all_looked_after(&self) {
        let looked = async {
            loop {
                let open: i64 = sqlx::query_scalar("select count(*) from presence.members where look_at is not null")
                    .fetch_one(&self.stage.db)
                    .await
                    .unwrap();
                if open == 0 {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, looked).await.expect("every look comes");
        let last = NotePresence { user: token("last"), status: Status::Offline, seen: 0 };
        self.done("acme", &last).await;
    }

    /// Waits until so many messages are told of.
    async fn told_of(&self, count: i64) {
        let told = async {
            while self.unread().iter().map(|(_, count)| count).sum::<i64>() < count {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, told).await.expect("it is told of");
    }

    /// When it is looked next after somebody in the lobby.
    async fn look_at(&self, user: &str) -> Option<DateTime<Utc>> {
        sqlx::query_scalar("select look_at from presence.members where room_id = 'lobby' and user_id = $1")
            .bind(user)
            .fetch_one(&self.stage.db)
            .await
            .unwrap()
    }

    /// Who was told of, and of how many, in whatever order.
    fn unread(&self) -> Vec<(String, i64)> {
        let told = self.stage.told();
        let of = |told: &Told| {
            (told.name == "messages_unread")
                .then(|| (told.data["email"].as_str().unwrap().to_owned(), told.data["count"].as_i64().unwrap()))
        };
        let mut unread: Vec<_> = told.iter().filter_map(of).collect();
        unread.sort();
        unread
    }
}

fn naming(users: &[&str], text: &str) -> PostMessage {
    PostMessage { mentions: users.iter().map(|user| token(user)).collect(), ..post("lobby", "ada", text) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mention_that_is_not_read_in_time_is_told_once_and_one_that_is_read_never() {
    let scene = scene(15).await;
    // Ada names herself too, which she has read; and nobody is told of what names nobody.
    scene.done("acme", &naming(&["ada", "bob", "carol"], "Look")).await;
    scene.done("acme", &naming(&["carol"], "Carol, too")).await;
    scene.done("acme", &post("lobby", "ada", "To all")).await;
    // Bob reads it, on whichever device.
    let read = MarkRead { room_id: token("lobby"), user: Some(token("bob")), revision: 7 };
    scene.done("acme", &read).await;
    let event = scene.stage.event(|told| told.name == "messages_unread").await;
    assert_eq!(event.data["email"], "carol@acme.test");
    assert_eq!((&event.data["author"], &event.data["link"]), (&json!("ada"), &json!("https://chat.test/lobby")));
    assert!(!event.data.to_string().contains("Look"), "what was said stands in the log alone");
    scene.told_of(2).await;
    scene.all_looked_after().await;
    // The second may have been too young for the first look; each is told of once.
    let count: i64 = scene.unread().iter().map(|(_, count)| count).sum();
    assert_eq!((count, scene.unread().iter().all(|(email, _)| email == "carol@acme.test")), (2, true));
    // Told once, it is not told again with the next.
    scene.done("acme", &naming(&["carol"], "Once more")).await;
    scene.told_of(3).await;
    scene.all_looked_after().await;
    let count: i64 = scene.unread().iter().map(|(_, count)| count).sum();
    assert_eq!(count, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_address_who_left_and_what_was_taken_back_are_not_told_of() {
    let scene = scene(30).await;
    scene.done("acme", &SetContact { user: token("bob"), email: None }).await;
    let (taken_back, _) = scene.done("acme", &naming(&["carol"], "Never mind")).await;
    scene.done("acme", &naming(&["bob"], "Bob?")).await;
    scene.done("acme", &naming(&["dave"], "Dave?")).await;
    let delete = DeleteMessage { room_id: token("lobby"), message_id: taken_back, user: Some(token("ada")) };
    scene.done("acme", &delete).await;
    let leave = omnibus_schemas::presence::LeaveRoom { room_id: token("lobby"), user: Some(token("dave")) };
    scene.done("acme", &leave).await;
    scene.all_looked_after().await;
    assert!(scene.unread().is_empty(), "{:?}", scene.unread());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_to_one_alone_is_told_of_and_the_room_of_two_is_nobody_elses() {
    let scene = scene(8).await;
    let open = |user: &str, with: &str| OpenDirect { user: Some(token(user)), with: token(with) };
    let (_, told) = scene.done("acme", &open("ada", "bob")).await;
    let room = told.data["room_id"].as_str().unwrap().to_owned();
    assert_eq!(scene.done("acme", &open("bob", "ada")).await.1.data["room_id"], json!(room), "the same for both");
    scene.contact("globex", "bob").await;
    let (_, other) = scene.done("globex", &open("ada", "bob")).await;
    assert_ne!(other.data["room_id"], json!(room), "another tenant's two are others");
    let eve = JoinRoom { room_id: token(&room), user: Some(token("eve")) };
    assert_eq!(scene.refused("acme", &eve).await, "room_of_two");
    assert_eq!(scene.refused("acme", &post(&room, "carol", "Hi")).await, "not_a_member");
    let (_, himself) = scene.done("acme", &open("ada", "ada")).await;
    assert_eq!(himself.data["faults"][0]["pointer"], "/with");
    scene.done("acme", &post(&room, "ada", "For you alone")).await;
    scene.told_of(1).await;
    scene.all_looked_after().await;
    assert_eq!(scene.unread(), [("bob@acme.test".to_owned(), 1)]);
}

/// Where nobody is told of anything as long as a test takes.
async fn slow() -> Scene {
    let scene = Scene::with(Settings { unread_seconds: 3600, chat_url: None }).await;
    for user in ["ada", "carol"] {
        scene.join("acme", "lobby", user).await;
        scene.contact("acme", user).await;
    }
    scene
}

#[tokio::test(flavor = "multi_thread")]
async fn what_names_somebody_while_a_look_ends_gets_a_look_of_its_own() {
    let scene = slow().await;
    scene.done("acme", &naming(&["carol"], "First")).await;
    assert!(scene.look_at("carol").await.is_some());
    // A look that is about to be committed: it has not seen the second message.
    let mut look = scene.stage.db.begin().await.unwrap();
    sqlx::query("update presence.members set look_at = null where user_id = 'carol'")
        .execute(&mut *look)
        .await
        .unwrap();
    let second = scene.stage.publish("acme", &naming(&["carol"], "Second")).await;
    scene.waits(second).await;
    look.commit().await.unwrap();
    assert_eq!(scene.stage.outcome(second).await.name, "message_posted");
    assert!(scene.look_at("carol").await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_while_no_worker_was_there_has_its_time_from_when_it_was_carried_out() {
    let scene = slow().await;
    // Written two hours ago, carried out now.
    let id = clock::new_id();
    let mut map = async_nats::HeaderMap::new();
    map.insert(headers::ID, id.to_string().as_str());
    map.insert(headers::TIME, (clock::now() - TimeDelta::hours(2)).to_rfc3339().as_str());
    let body = serde_json::to_vec(&naming(&["carol"], "Long ago")).unwrap();
    let before = clock::now();
    scene.stage.publish_raw("cmd.presence.default.post_message.acme", map, body).await;
    scene.stage.outcome(id).await;
    let due = scene.look_at("carol").await.unwrap();
    assert!(due > before + TimeDelta::minutes(59), "{due}");

    // A look that waited for a worker: what was read meanwhile may wait too. It is looked once more.
    let late = DateTime::from_timestamp(clock::now().timestamp() - 600, 0).unwrap();
    sqlx::query("update presence.members set look_at = $1 where user_id = 'carol'")
        .bind(late)
        .execute(&scene.stage.db)
        .await
        .unwrap();
    let look = CheckUnread { room_id: token("lobby"), user: token("carol"), due: late, again: false };
    let (id, _) = scene.done("acme", &look).await;
    assert_eq!(scene.events_of(id), ["command_done"]);
    let again = scene.look_at("carol").await.unwrap();
    assert!(again > before + TimeDelta::minutes(59), "{again}");
    // In its time, it tells.
    let now = DateTime::from_timestamp(clock::now().timestamp(), 0).unwrap();
    sqlx::query("update presence.members set look_at = $1 where user_id = 'carol'")
        .bind(now)
        .execute(&scene.stage.db)
        .await
        .unwrap();
    let (id, told) = scene.done("acme", &CheckUnread { due: now, ..look }).await;
    assert_eq!(scene.events_of(id), ["messages_unread"]);
    assert_eq!((&told.data["email"], &told.data["count"]), (&json!("carol@acme.test"), &json!(1)));
    assert_eq!(scene.look_at("carol").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_that_is_late_once_more_tells_and_each_occasion_has_its_own_number() {
    let scene = slow().await;
    let at = DateTime::from_timestamp(clock::now().timestamp() - 600, 0).unwrap();
    let late = CheckUnread { room_id: token("lobby"), user: token("carol"), due: at, again: true };
    let mut occasions = Vec::new();
    for text in ["First", "Second"] {
        let (message, posted) = scene.done("acme", &naming(&["carol"], text)).await;
        let old = "update presence.messages set posted_at = posted_at - interval '2 hours' where message_id = $1";
        sqlx::query(old).bind(message).execute(&scene.stage.db).await.unwrap();
        sqlx::query("update presence.members set look_at = $1 where user_id = 'carol'")
            .bind(at)
            .execute(&scene.stage.db)
            .await
            .unwrap();
        let (id, told) = scene.done("acme", &late).await;
        assert_eq!(scene.events_of(id), ["messages_unread"]);
        assert_eq!(told.data["count"], 1);
        let revision = posted.data["revision"].as_i64().unwrap();
        let read = MarkRead { room_id: token("lobby"), user: Some(token("carol")), revision };
        let (id, _) = scene.done("acme", &read).await;
        let events = scene.stage.caused_by(id);
        let read = events.iter().find(|event| event.name == "messages_read_late").unwrap();
        assert_eq!(read.data["told_since"], told.data["told_since"]);
        occasions.push(told.data["told_since"].clone());
    }
    assert_ne!(occasions[0], occasions[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_told_past_a_message_that_has_not_had_its_time() {
    let scene = slow().await;
    let mut messages = Vec::new();
    for text in ["Young", "Old"] {
        messages.push(scene.done("acme", &naming(&["carol"], text)).await.0);
    }
    // Which was carried out first is not which was written first.
    let old = "update presence.messages set posted_at = posted_at - interval '2 hours' where message_id = $1";
    sqlx::query(old).bind(messages[1]).execute(&scene.stage.db).await.unwrap();
    let now = DateTime::from_timestamp(clock::now().timestamp(), 0).unwrap();
    sqlx::query("update presence.members set look_at = $1 where user_id = 'carol'")
        .bind(now)
        .execute(&scene.stage.db)
        .await
        .unwrap();
    let look = CheckUnread { room_id: token("lobby"), user: token("carol"), due: now, again: false };
    let (id, _) = scene.done("acme", &look).await;
    assert_eq!(scene.events_of(id), ["command_done"]);
    assert!(scene.look_at("carol").await.unwrap() > now, "both have their look");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_what_he_was_told_of_or_answers_it_has_read_late_and_once() {
    let scene = scene(8).await;
    let read = |user: &str, revision| MarkRead { room_id: token("lobby"), user: Some(token(user)), revision };
    let (_, posted) = scene.done("acme", &naming(&["bob", "carol"], "Look")).await;
    let revision = posted.data["revision"].as_i64().unwrap();
    scene.told_of(2).await;
    // Who reads less has not read it yet.
    let (id, _) = scene.done("acme", &read("bob", revision - 1)).await;
    assert!(!scene.events_of(id).contains(&"messages_read_late".to_owned()));
    let (id, told) = scene.done("acme", &read("bob", revision)).await;
    assert_eq!((told.name.as_str(), scene.events_of(id)), ("room_read", events(&["messages_read_late", "room_read"])));
    let (id, told) = scene.done("acme", &post("lobby", "carol", "I see")).await;
    assert_eq!(told.name, "message_posted");
    assert_eq!(scene.events_of(id), events(&["messages_read_late", "message_posted"]));
    // Read once, it is not read late once more.
    for user in ["bob", "carol"] {
        let (id, _) = scene.done("acme", &read(user, revision + 1)).await;
        assert!(!scene.events_of(id).contains(&"messages_read_late".to_owned()), "{user}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_answered_is_not_told_of_what_stood_before_his_answer() {
    let scene = scene(30).await;
    scene.done("acme", &naming(&["bob", "carol"], "Anybody?")).await;
    scene.done("acme", &post("lobby", "bob", "Me")).await;
    scene.told_of(1).await;
    scene.all_looked_after().await;
    assert_eq!(scene.unread(), [("carol@acme.test".to_owned(), 1)]);
}

fn events(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}
