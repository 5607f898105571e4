//! What names somebody and stays unread.

use std::time::Duration;

use omnibus_presence::Settings;
use omnibus_runtime::testing::Told;
use omnibus_schemas::presence::{
    DeleteMessage, JoinRoom, MarkRead, NotePresence, OpenDirect, PostMessage, SetContact, Status,
};
use serde_json::json;

use crate::{Scene, post, token};

const PATIENCE: Duration = Duration::from_secs(60);

async fn scene() -> Scene {
    let scene = Scene::with(Settings { unread_seconds: 2, chat_url: Some("https://chat.test/{room}".into()) }).await;
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
    let scene = scene().await;
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
    let scene = scene().await;
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
    let scene = scene().await;
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
