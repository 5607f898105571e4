//! What a node does not hear: it is made good as a whole, or said to be missing.

use omnibus_ingest::token::Claims;
use omnibus_runtime::clock;
use omnibus_runtime::local::Postgres;
use omnibus_runtime::testing::Stage;
use omnibus_schemas::Catalogue;
use omnibus_schemas::presence::LeaveRoom;
use serde_json::{Value, json};

use crate::scene::{Client, Scene, claims, position, recovered, signed, token};
use crate::wire::Wire;

/// The next end of a subscription, and what was published before it.
async fn unsubscribed(client: &mut Client) -> (Value, Vec<Value>) {
    let mut before = Vec::new();
    loop {
        let push = client.push().await;
        if push["unsubscribe"].is_object() {
            return (push, before);
        }
        before.push(push["pub"]["data"].clone());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hole_that_can_not_be_filled_whole_is_not_filled_in_part() {
    let limits = omnibus_bus::Settings { rooms_max_entries: 5, ..omnibus_bus::Settings::default() };
    let postgres = Postgres::shared().await.unwrap();
    let scene = Scene::on(Stage::with(Catalogue::omnibus(), limits, postgres).await).await;
    let wire = Wire::to(scene.stage.nats_url()).await;
    let node = scene.node_on(&wire).await;
    scene.join("acme", "lobby", &["ada", "bob"]).await;
    let mut ada = Client::of(&node, "acme", "ada").await;
    let at = position(&ada.subscribe("room:lobby").await);
    wire.cut().await;
    for n in 0..8 {
        scene.say("acme", "lobby", "bob", &n.to_string()).await;
    }
    wire.mend();
    let (push, before) = unsubscribed(&mut ada).await;
    assert_eq!((&push["unsubscribe"]["code"], before.len()), (&json!(2500), 0), "{push} after {before:?}");
    // She asks, as every client does, and is told that she has missed something.
    let begun = ada.recover("room:lobby", (&at.0, at.1)).await;
    assert!(begun.get("recovered").is_none() && recovered(&begun).is_empty(), "{begun}");
    scene.say("acme", "lobby", "bob", "live").await;
    assert_eq!(ada.texts(1).await, ["live"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_has_missed_comes_in_order_and_who_left_and_came_back_meanwhile_may_come_back_here_too() {
    let scene = Scene::new().await;
    let wire = Wire::to(scene.stage.nats_url()).await;
    let node = scene.node_on(&wire).await;
    scene.join("acme", "lobby", &["ada", "bob"]).await;
    let (mut ada, mut bob) = (Client::of(&node, "acme", "ada").await, Client::of(&node, "acme", "bob").await);
    ada.subscribe("room:lobby").await;
    bob.subscribe("room:lobby").await;
    wire.cut().await;
    scene.say("acme", "lobby", "bob", "before").await;
    let leave = LeaveRoom { room_id: token("lobby"), user: Some(token("bob")) };
    let left = scene.stage.publish("acme", &leave).await;
    scene.stage.outcome(left).await;
    scene.join("acme", "lobby", &["bob"]).await;
    scene.say("acme", "lobby", "bob", "after").await;
    wire.mend();
    let mut heard = Vec::new();
    while heard.len() < 4 {
        heard.push(ada.push().await["pub"]["data"]["type"].clone());
    }
    assert_eq!(heard, ["message", "left", "joined", "message"]);
    // Below 2500, clients would not ask again.
    let (push, _) = unsubscribed(&mut bob).await;
    assert_eq!(push["unsubscribe"]["code"], 2500, "{push}");
    bob.subscribe("room:lobby").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_recovered_ends_after_a_lost_connection_so_that_clients_know() {
    let scene = Scene::new().await;
    let wire = Wire::to(scene.stage.nats_url()).await;
    let node = scene.node_on(&wire).await;
    let scope = Some("websocket:connect websocket:read presence:read".to_owned());
    let reading = signed(&Claims { scope, ..claims("acme", "ada") });
    let mut ada = Client::open(&node).await;
    ada.ask("connect", json!({ "token": reading })).await;
    let mut channels = vec![format!("cmd:{}", clock::new_id()), "events:presence".to_owned()];
    for channel in &channels {
        ada.subscribe(channel).await;
    }
    wire.cut().await;
    wire.mend();
    while !channels.is_empty() {
        let (push, _) = unsubscribed(&mut ada).await;
        assert_eq!(push["unsubscribe"]["code"], 2500, "{push}");
        channels.retain(|channel| push["channel"] != channel.as_str());
    }
}
