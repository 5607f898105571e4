//! Who may see what, and how many there are.

use std::time::Duration;

use omnibus_schemas::presence::{
    DeleteMessage, NotePresence, Online, RealtimeStats, RoomFile, RoomHistory, RoomUsers, Status,
};
use omnibus_schemas::{Query, headers, subject};

use crate::{Scene, post, token};

impl Scene {
    /// Asks as the doors do for this actor of acme's. `None` if there is nothing to be seen.
    async fn asked_as<Q: Query>(&self, actor: &str, query: &Q) -> Option<Q::Answer> {
        let mut map = async_nats::HeaderMap::new();
        map.insert(headers::TENANT, "acme");
        map.insert(headers::ACTOR, actor);
        let (subject, body) = (subject::query("presence", Q::NAME), serde_json::to_vec(query).unwrap());
        let asked = self.stage.operator.ask(subject, map, body.into(), Duration::from_secs(60)).await;
        let answer = asked.unwrap().expect("the worker answers");
        match answer.headers.as_ref().and_then(|map| map.get(async_nats::service::NATS_SERVICE_ERROR_CODE)) {
            Some(code) => {
                assert_eq!(code.as_str(), "404");
                None
            }
            None => Some(serde_json::from_slice(&answer.payload).unwrap()),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_users_own_token_reads_of_the_rooms_he_is_in_and_a_back_end_of_all() {
    let scene = Scene::new().await;
    scene.join("acme", "lobby", "ada").await;
    scene.done("acme", &post("lobby", "ada", "Hello")).await;
    let (file_id, _) = scene.shared("acme", "lobby", "ada").await;
    let history = |room: &str| RoomHistory { room_id: token(room), before: None, limit: None };
    let users = |room: &str| RoomUsers { room_id: token(room), after: None, limit: None };
    let file = |room: &str| RoomFile { room_id: token(room), file_id };
    // From here on it answers.
    scene.stage.ask("presence", "acme", &history("lobby")).await.unwrap();
    for (actor, sees) in [
        ("jwt:ada", true),
        ("ws:ada", true),
        ("key:1", true),
        ("jwt:eve", false),
        ("ws:eve", false),
        ("jwt:Ada", false),
    ] {
        let found = (
            scene.asked_as(actor, &history("lobby")).await.map(|page| page.messages.len()),
            scene.asked_as(actor, &users("lobby")).await.map(|page| page.users.len()),
            scene.asked_as(actor, &file("lobby")).await.map(|link| link.file.file_id),
        );
        assert_eq!(found, (sees.then_some(1), sees.then_some(1), sees.then_some(file_id)), "{actor}");
        assert!(scene.asked_as(actor, &history("nowhere")).await.is_none(), "{actor}");
    }
    // Who leaves sees nothing any more.
    let leave = omnibus_schemas::presence::LeaveRoom { room_id: token("lobby"), user: Some(token("ada")) };
    scene.done("acme", &leave).await;
    assert!(scene.asked_as("jwt:ada", &history("lobby")).await.is_none());
    assert!(scene.asked_as("jwt:ada", &file("lobby")).await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_are_there_are_listed_by_name_and_counted() {
    let scene = Scene::new().await;
    scene.watches().await;
    // Later than what the worker itself sees: that nobody is connected.
    let seen = omnibus_runtime::clock::now().timestamp_micros() + 3_600_000_000;
    for (tenant, user, status) in [
        ("acme", "bob", Status::Away),
        ("acme", "ada", Status::Online),
        ("acme", "carol", Status::Online),
        ("acme", "dave", Status::Offline),
        ("globex", "eve", Status::Online),
    ] {
        scene.done(tenant, &NotePresence { user: token(user), status, seen }).await;
    }
    let (mut after, mut found) = (None, Vec::new());
    loop {
        let page = scene.stage.ask("presence", "acme", &Online { after, limit: Some(2) }).await.unwrap();
        found.extend(page.users.into_iter().map(|person| (person.user.to_string(), person.status)));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let wanted = [("ada", Status::Online), ("bob", Status::Away), ("carol", Status::Online)];
    assert_eq!(found, wanted.map(|(user, status)| (user.to_owned(), status)));

    for (room, user) in [("lobby", "ada"), ("lobby", "bob"), ("other", "ada")] {
        scene.join("acme", room, user).await;
    }
    let mut said = Vec::new();
    for (room, user) in [("lobby", "ada"), ("lobby", "bob"), ("other", "ada")] {
        said.push(scene.done("acme", &post(room, user, "Hello")).await.0);
    }
    let delete = DeleteMessage { room_id: token("lobby"), message_id: said[1], user: Some(token("bob")) };
    scene.done("acme", &delete).await;
    assert_eq!(scene.refused("acme", &delete).await, "message_deleted");
    let stats = scene.stage.ask("presence", "acme", &RealtimeStats {}).await.unwrap();
    assert_eq!((stats.rooms, stats.members, stats.messages, stats.online, stats.away), (2, 3, 2, 2, 1));
}
