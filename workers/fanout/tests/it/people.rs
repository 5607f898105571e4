//! Who is there.

use std::time::Duration;

use omnibus_runtime::testing::Told;
use omnibus_schemas::presence::{Online, RoomUsers, Status};
use serde_json::json;

use crate::scene::{Client, PATIENCE, Scene, jwt, token};

fn changes(scene: &Scene, tenant: &str, user: &str) -> Vec<String> {
    let of = |told: &Told| told.name == "presence_changed" && told.tenant == tenant && told.data["user"] == user;
    let told = scene.stage.told();
    told.iter().filter(|told| of(told)).map(|told| told.data["status"].as_str().unwrap().to_owned()).collect()
}

async fn change(scene: &Scene, user: &str, revision: i64) -> String {
    let wanted =
        |told: &Told| told.name == "presence_changed" && told.data["user"] == user && told.data["revision"] == revision;
    scene.stage.event(wanted).await.data["status"].as_str().unwrap().to_owned()
}

fn quick(settings: &mut omnibus_fanout::Settings) {
    // Refreshed every third of it: what is late on a busy machine is not gone.
    settings.presence_ttl_seconds = 30;
    settings.presence_grace_seconds = 2;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_online_until_the_last_device_leaves() {
    let scene = Scene::new().await;
    let (one, two) = (scene.node_with(quick).await, scene.node_with(quick).await);
    let first = Client::of(&one, "acme", "ada").await;
    let second = Client::of(&two, "acme", "ada").await;
    assert_eq!(change(&scene, "ada", 1).await, "online");
    let there = scene.stage.ask("presence", "acme", &Online { after: None, limit: None }).await.unwrap();
    assert_eq!(there.users.iter().map(|p| (p.user.as_str(), p.status)).collect::<Vec<_>>(), [("ada", Status::Online)]);
    let other = scene.stage.ask("presence", "globex", &Online { after: None, limit: None }).await.unwrap();
    assert!(other.users.is_empty(), "another tenant sees nobody");
    drop(first);
    // Somebody else comes and goes meanwhile, so the first device's end is long past.
    let eve = Client::of(&one, "acme", "eve").await;
    assert_eq!(change(&scene, "eve", 1).await, "online");
    drop(eve);
    assert_eq!(change(&scene, "eve", 2).await, "offline");
    assert_eq!(changes(&scene, "acme", "ada"), ["online"]);
    drop(second);
    assert_eq!(change(&scene, "ada", 2).await, "offline");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reconnect_within_the_grace_period_is_noticed_by_nobody() {
    let scene = Scene::new().await;
    let node = scene.node_with(|settings| settings.presence_grace_seconds = 30).await;
    let first = Client::of(&node, "acme", "ada").await;
    assert_eq!(change(&scene, "ada", 1).await, "online");
    drop(first);
    let mut again = Client::of(&node, "acme", "ada").await;
    // What is told after it has been told: nothing of the reconnect stands before.
    again.ask("rpc", json!({ "method": "away", "data": { "away": true } })).await;
    assert_eq!(change(&scene, "ada", 2).await, "away");
    assert_eq!(changes(&scene, "acme", "ada"), ["online", "away"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_nobody_is_at_comes_back_as_one_that_nobody_is_at() {
    let scene = Scene::new().await;
    let node = scene.node_with(|settings| settings.presence_grace_seconds = 30).await;
    for _ in 0..2 {
        let mut ada = Client::open(&node).await;
        let connect = json!({ "token": jwt("acme", "ada"), "data": { "away": true } });
        assert!(ada.ask("connect", connect).await["connect"].is_object());
        assert_eq!(change(&scene, "ada", 1).await, "away");
    }
    // Somebody comes to another one of hers, and only that is told.
    let _other = Client::of(&node, "acme", "ada").await;
    assert_eq!(change(&scene, "ada", 2).await, "online");
    assert_eq!(changes(&scene, "acme", "ada"), ["away", "online"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_of_the_node_yields_exactly_one_offline() {
    let scene = Scene::new().await;
    // As long as the other node's, so that by then a user there is gone too who was not refreshed.
    let quickly = [("PRESENCE_TTL_SECONDS", "30"), ("PRESENCE_GRACE_SECONDS", "2")];
    let (one, two) = (scene.process(&quickly).await, scene.node_with(quick).await);
    let _clients = [Client::of(&one, "acme", "ada").await, Client::of(&one, "acme", "ada").await];
    let mut eve = Client::of(&two, "acme", "eve").await;
    assert_eq!(change(&scene, "ada", 1).await, "online");
    one.kill().await;
    let offline = tokio::time::timeout(PATIENCE, change(&scene, "ada", 2)).await.expect("within the time to live");
    assert_eq!(offline, "offline");
    // The other node's user has been refreshed over and over, and stayed.
    eve.ask("rpc", json!({ "method": "away", "data": { "away": true } })).await;
    assert_eq!(change(&scene, "eve", 2).await, "away");
    assert_eq!(changes(&scene, "acme", "ada"), ["online", "offline"]);
    assert_eq!(changes(&scene, "acme", "eve"), ["online", "away"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_was_refreshed_ends_with_its_node_all_the_same() {
    let scene = Scene::new().await;
    let node = scene.process(&[("PRESENCE_TTL_SECONDS", "12"), ("PRESENCE_GRACE_SECONDS", "2")]).await;
    let mut ada = Client::of(&node, "acme", "ada").await;
    assert_eq!(change(&scene, "ada", 1).await, "online");
    // This writes the connection's key once more, which must not make it one that never ends.
    ada.ask("rpc", json!({ "method": "away", "data": { "away": true } })).await;
    assert_eq!(change(&scene, "ada", 2).await, "away");
    node.kill().await;
    let offline = tokio::time::timeout(PATIENCE, change(&scene, "ada", 3)).await.expect("the key ends");
    assert_eq!(offline, "offline");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_presence_worker_that_starts_again_tells_what_has_changed_meanwhile_and_nothing_twice() {
    let scene = Scene::new().await;
    let node = scene.node_with(quick).await;
    let ada = Client::of(&node, "acme", "ada").await;
    let _bob = Client::of(&node, "acme", "bob").await;
    for user in ["ada", "bob"] {
        assert_eq!(change(&scene, user, 1).await, "online");
    }
    let Scene { stage, presence } = scene;
    presence.abort().await;
    drop(ada);
    let _eve = Client::of(&node, "acme", "eve").await;
    let scene = Scene::on(stage).await;
    assert_eq!(change(&scene, "eve", 1).await, "online");
    assert_eq!(change(&scene, "ada", 2).await, "offline");
    assert_eq!(changes(&scene, "acme", "bob"), ["online"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn presence_shows_who_listens_to_a_room_on_all_nodes() {
    let scene = Scene::new().await;
    let (one, two) = (scene.node().await, scene.node().await);
    scene.join("acme", "lobby", &["ada", "bob"]).await;
    scene.join("globex", "lobby", &["zoe"]).await;
    let mut ada = Client::of(&one, "acme", "ada").await;
    let (mut bob, mut again) = (Client::of(&two, "acme", "bob").await, Client::of(&one, "acme", "bob").await);
    let mut zoe = Client::of(&one, "globex", "zoe").await;
    for client in [&mut ada, &mut bob, &mut again, &mut zoe] {
        client.subscribe("room:lobby").await;
    }
    let told = async {
        loop {
            let stats = ada.ask("presence_stats", json!({ "channel": "room:lobby" })).await;
            if stats["presence_stats"] == json!({ "num_clients": 3, "num_users": 2 }) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let presence = ada.ask("presence", json!({ "channel": "room:lobby" })).await;
        let mut users: Vec<_> = presence["presence"]["presence"].as_object().unwrap().values().cloned().collect();
        users.sort_by_key(|info| info["user"].to_string());
        assert_eq!(users.iter().map(|info| info["user"].as_str().unwrap()).collect::<Vec<_>>(), ["ada", "bob", "bob"]);
    };
    tokio::time::timeout(PATIENCE, told).await.expect("both nodes hear of it");
    // The room's users, and their status, over HTTP.
    let who = RoomUsers { room_id: token("lobby"), after: None, limit: None };
    let users = scene.stage.ask("presence", "acme", &who).await.unwrap().users;
    assert_eq!(users.iter().map(|member| member.user.as_str()).collect::<Vec<_>>(), ["ada", "bob"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_was_deleted_under_the_watch_is_made_again() {
    let scene = Scene::new().await;
    let node = scene.node_with(quick).await;
    let stream = scene.stage.operator.jetstream().get_stream("KV_presence").await.unwrap();
    use futures_util::TryStreamExt;
    // The worker's watch and the door's.
    let both = async {
        loop {
            let names: Vec<String> = stream.consumer_names().try_collect().await.unwrap();
            if names.len() >= 2 {
                break names;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let names = tokio::time::timeout(PATIENCE, both).await.expect("both watch");
    for name in names {
        stream.delete_consumer(&name).await.unwrap();
    }
    let mut ada = Client::of(&node, "acme", "ada").await;
    assert_eq!(change(&scene, "ada", 1).await, "online");
    // The door, too, hears of what has changed since.
    scene.join("acme", "lobby", &["ada"]).await;
    ada.subscribe("room:lobby").await;
    let told = async {
        while ada.ask("presence_stats", json!({ "channel": "room:lobby" })).await["presence_stats"]["num_clients"] != 1
        {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, told).await.expect("the door watches again");
}
