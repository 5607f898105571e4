//! What led to a publication: it names the trace.

use async_nats::HeaderMap;
use omnibus_ingest::token::Claims;
use omnibus_runtime::clock;
use omnibus_schemas::presence::PostMessage;
use omnibus_schemas::{Command, Encoding, body, headers, subject};
use serde_json::{Value, json};

use crate::scene::{Client, Scene, claims, message, position, signed};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

#[track_caller]
fn is_of_the_trace(publication: &Value) {
    let trace = publication["tags"]["traceparent"].as_str().and_then(|named| named.split('-').nth(1));
    assert_eq!(trace, Some(TRACE), "{publication}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publication_names_the_trace_of_its_command_on_every_channel_live_and_recovered() {
    let scene = Scene::new().await;
    let node = scene.node().await;
    scene.join("acme", "lobby", &["ada", "bob"]).await;
    let scope = Some("websocket:connect websocket:read presence:read".to_owned());
    let mut ada = Client::open(&node).await;
    ada.ask("connect", json!({ "token": signed(&Claims { scope, ..claims("acme", "ada") }) })).await;
    let id = clock::new_id();
    let mut channels = vec!["room:lobby".to_owned(), "events:presence".to_owned(), format!("cmd:{id}")];
    let (epoch, offset) = position(&ada.subscribe(&channels[0]).await);
    for channel in &channels[1..] {
        ada.subscribe(channel).await;
    }

    let mut map = HeaderMap::new();
    map.insert(headers::ID, id.to_string());
    map.insert(headers::TRACEPARENT, format!("00-{TRACE}-00f067aa0ba902b7-01"));
    let to = subject::command(PostMessage::DOMAIN, PostMessage::LANE, PostMessage::NAME, "acme");
    let said = body::encode(Encoding::Json, &message("lobby", "bob", "Hello"));
    scene.stage.publish_raw(&to, map, said).await;

    while !channels.is_empty() {
        let push = ada.push().await;
        let (channel, data) = (&push["channel"], &push["pub"]["data"]);
        // That she has come is an event as well, and of a trace of its own.
        if data["message_id"] == json!(id) || data["command"] == json!(id) {
            is_of_the_trace(&push["pub"]);
            channels.retain(|wanted| channel != wanted.as_str());
        }
    }

    let mut bob = Client::of(&node, "acme", "bob").await;
    let begun = bob.recover("room:lobby", (&epoch, offset)).await;
    is_of_the_trace(&begun["publications"][0]);
    let history = bob.ask_again("history", json!({ "channel": "room:lobby", "limit": 1, "reverse": true })).await;
    is_of_the_trace(&history["history"]["publications"][0]);

    // What nothing led to names none.
    bob.ask("rpc", json!({ "method": "typing", "data": { "channel": "room:lobby" } })).await;
    let typing = loop {
        let push = ada.push().await;
        if push["pub"]["data"]["type"] == "typing" {
            break push;
        }
    };
    assert_eq!(typing["pub"].get("tags"), None, "{typing}");
}
