//! Rooms and the other channels: who hears what.

use std::time::{Duration, Instant};

use omnibus_runtime::clock;
use omnibus_schemas::presence::{Broadcast, Kind, LeaveRoom};
use serde_json::{Map, json};

use crate::scene::{Client, Scene, claims, message, signed, token};

/// Names somebody who is not there, in a room that the client listens to and of which it has read all. Returns the code with
/// which that is refused.
async fn naming_nobody(client: &mut Client) -> u64 {
    for n in 0..10 {
        let named = json!({ "channel": "room:lobby", "data": { "text": "where are you?", "mentions": ["zoe"] } });
        let reply = client.ask_again("publish", named).await;
        if let Some(code) = reply["error"]["code"].as_u64() {
            return code;
        }
        // The worker was slow to refuse it, so the door has said yes. By a good message that is heard it learns that
        // somebody is at work, and waits for the next no.
        client.ask("publish", json!({ "channel": "room:lobby", "data": n.to_string() })).await;
        assert_eq!(client.texts(1).await, [n.to_string()]);
    }
    panic!("it is never refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_in_a_room_reaches_its_listeners_on_every_node_with_one_subscription_each() {
    let scene = Scene::new().await;
    let (one, two) = (scene.node().await, scene.node().await);
    scene.join("acme", "lobby", &["ada", "bob", "eve"]).await;
    let mut clients = Vec::new();
    for (node, user) in [(&one, "ada"), (&one, "bob"), (&one, "eve"), (&two, "ada")] {
        let mut client = Client::of(node, "acme", user).await;
        client.subscribe("room:lobby").await;
        clients.push(client);
    }
    assert_eq!((one.fanout.topics(), two.fanout.topics()), (1, 1));
    let id = scene.say("acme", "lobby", "ada", "Hello").await;
    for client in &mut clients {
        let (said, offset) = client.published("message").await;
        assert_eq!((&said["text"], &said["user"], &said["message_id"]), (&json!("Hello"), &json!("ada"), &json!(id)));
        assert!(offset > 0 && said["revision"].as_i64() == Some(4), "{said}");
    }
    drop(clients.pop());
    tokio::time::timeout(crate::scene::PATIENCE, async {
        while two.fanout.topics() > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("the last listener takes the subscription along");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_posted_by_the_socket_and_heard_by_its_author_too() {
    let scene = Scene::new().await;
    let node = scene.node().await;
    scene.join("acme", "lobby", &["ada", "bob"]).await;
    let (mut ada, mut bob) = (Client::of(&node, "acme", "ada").await, Client::of(&node, "acme", "bob").await);
    for client in [&mut ada, &mut bob] {
        client.subscribe("room:lobby").await;
    }
    ada.ask("publish", json!({ "channel": "room:lobby", "data": "plain" })).await;
    let data = json!({ "channel": "room:lobby", "text": "named", "mentions": ["bob"] });
    let told = ada.ask("rpc", json!({ "method": "message", "data": data })).await;
    for client in [&mut ada, &mut bob] {
        assert_eq!(client.published("message").await.0["text"], "plain");
        let (said, _) = client.published("message").await;
        assert_eq!(said["mentions"], json!(["bob"]));
        assert_eq!(said["message_id"], told["rpc"]["data"]["message_id"]);
    }
    // Nobody speaks for another, or into a room that he does not listen to.
    let forged = json!({ "channel": "room:lobby", "data": { "text": "I am Bob", "user": "bob" } });
    assert_eq!(ada.refused("publish", forged).await, 107);
    assert_eq!(ada.refused("publish", json!({ "channel": "room:other", "data": "x" })).await, 103);
    assert_eq!(ada.refused("publish", json!({ "channel": "room:lobby", "data": { "text": "" } })).await, 107);
    // Nor does he name somebody who is not there: that the worker refuses, and it is told.
    assert_eq!(naming_nobody(&mut ada).await, 107);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_says_stands_in_the_order_in_which_it_was_said() {
    let scene = Scene::new().await;
    let node = scene.node().await;
    let said: Vec<_> = (0..30).map(|n| n.to_string()).collect();
    // What nobody decides for three seconds holds up nothing any more. On a machine that stands still so long it is said once
    // more, in another room.
    'again: for round in 0..10 {
        let (room, channel) = (format!("lobby-{round}"), format!("room:lobby-{round}"));
        scene.join("acme", &room, &["ada", "bob"]).await;
        let (mut ada, mut bob) = (Client::of(&node, "acme", "ada").await, Client::of(&node, "acme", "bob").await);
        for client in [&mut ada, &mut bob] {
            client.subscribe(&channel).await;
        }
        // All in one frame: the worker takes what is on the bus with several hands at once.
        let frame: Vec<_> = (1000..)
            .zip(&said)
            .map(|(id, text)| json!({ "id": id, "publish": { "channel": channel, "data": text } }).to_string())
            .collect();
        ada.send(frame.join("\n")).await;
        for id in (1000..).take(said.len()) {
            let begun = Instant::now();
            let reply = loop {
                let line = ada.line().await;
                if line["id"] == id {
                    break line;
                }
            };
            if begun.elapsed() >= Duration::from_secs(2) {
                continue 'again;
            }
            assert_eq!(reply.get("error"), None, "{reply}");
        }
        assert_eq!(bob.texts(said.len()).await, said);
        return;
    }
    panic!("it takes a machine that goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_can_decide_just_now_is_answered_all_the_same_and_holds_up_nothing() {
    let scene = Scene::new().await;
    let node = scene.node().await;
    scene.join("acme", "lobby", &["ada", "bob"]).await;
    let (mut ada, mut bob) = (Client::of(&node, "acme", "ada").await, Client::of(&node, "acme", "bob").await);
    for client in [&mut ada, &mut bob] {
        client.subscribe("room:lobby").await;
    }
    ada.subscribe("tenant").await;
    let Scene { stage, presence } = scene;
    presence.stop().await;
    let publish = |id: u32| json!({ "id": id, "publish": { "channel": "room:lobby", "data": id.to_string() } });
    let mut frame: Vec<_> = (1000..1008).map(|id| publish(id).to_string()).collect();
    frame.push(json!({ "id": 1008, "unsubscribe": { "channel": "tenant" } }).to_string());
    ada.send(frame.join("\n")).await;
    for id in 1000..=1008 {
        let reply = ada.line().await;
        assert_eq!((&reply["id"], reply.get("error")), (&json!(id), None), "{reply}");
    }
    // Somebody is at work again: all of it stands in the log, and what is refused is told again.
    let running = stage.run(omnibus_presence::worker(omnibus_presence::Settings::defaults()).unwrap()).await;
    let mut texts = bob.texts(8).await;
    texts.sort();
    assert_eq!(texts, (1000..1008).map(|id| id.to_string()).collect::<Vec<_>>());
    ada.texts(8).await;
    assert_eq!(naming_nobody(&mut ada).await, 107);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn typing_and_read_receipts_pass_by_and_stand_in_no_log() {
    let scene = Scene::new().await;
    let node = scene.node().await;
    scene.join("acme", "lobby", &["ada", "bob"]).await;
    let (mut ada, mut bob) = (Client::of(&node, "acme", "ada").await, Client::of(&node, "acme", "bob").await);
    let begun = ada.subscribe("room:lobby").await;
    bob.subscribe("room:lobby").await;
    bob.ask("rpc", json!({ "method": "typing", "data": { "channel": "room:lobby" } })).await;
    let (typing, offset) = ada.published("typing").await;
    assert_eq!((&typing["user"], offset), (&json!("bob"), 0));
    bob.ask_again("rpc", json!({ "method": "read", "data": { "channel": "room:lobby", "revision": 2 } })).await;
    assert_eq!(ada.published("read").await.0["revision"], 2);
    // Nobody has read what is not written, whatever he says.
    bob.ask_again("rpc", json!({ "method": "read", "data": { "channel": "room:lobby", "revision": 1_000_000 } })).await;
    assert_eq!(ada.published("read").await.0["revision"], 2);
    let history = ada.ask_again("history", json!({ "channel": "room:lobby", "limit": 10 })).await;
    assert_eq!(history["history"]["offset"], begun["offset"]);
    assert_eq!(history["history"]["publications"].as_array().unwrap().len(), 2, "both joins");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_members_listen_to_a_room_and_who_leaves_it_stops_hearing() {
    let scene = Scene::new().await;
    let node = scene.node().await;
    scene.join("acme", "lobby", &["ada"]).await;
    let mut bob = Client::of(&node, "acme", "bob").await;
    assert_eq!(bob.refused("subscribe", json!({ "channel": "room:lobby" })).await, 103);
    assert_eq!(node.fanout.topics(), 0, "a refused subscription leaves nothing behind");
    scene.join("acme", "lobby", &["bob"]).await;
    bob.subscribe("room:lobby").await;
    let leave = LeaveRoom { room_id: token("lobby"), user: Some(token("bob")) };
    scene.stage.publish("acme", &leave).await;
    loop {
        let push = bob.push().await;
        if push["unsubscribe"].is_object() {
            assert_eq!((&push["channel"], &push["unsubscribe"]["code"]), (&json!("room:lobby"), &json!(2000)));
            break;
        }
    }
    assert_eq!(bob.refused("subscribe", json!({ "channel": "room:lobby" })).await, 103);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tenant_is_the_tokens_and_no_channel_reaches_into_another() {
    let scene = Scene::new().await;
    let node = scene.node().await;
    // The same names in two tenants.
    for tenant in ["acme", "globex"] {
        scene.join(tenant, "lobby", &["ada"]).await;
    }
    let mut acme = Client::of(&node, "acme", "ada").await;
    let mut globex = Client::of(&node, "globex", "ada").await;
    for client in [&mut acme, &mut globex] {
        for channel in ["room:lobby", "user:ada", "tenant"] {
            client.subscribe(channel).await;
        }
    }
    let notice = |to, id: Option<&str>| Broadcast {
        to,
        id: id.map(token),
        data: Map::from_iter([("of".to_owned(), "acme".into())]),
    };
    for command in [notice(Kind::Room, Some("lobby")), notice(Kind::User, Some("ada")), notice(Kind::Tenant, None)] {
        let id = scene.stage.publish("acme", &command).await;
        scene.stage.outcome(id).await;
    }
    scene.say("acme", "lobby", "ada", "of acme").await;
    scene.say("globex", "lobby", "ada", "of globex").await;
    let mut channels = Vec::new();
    for _ in 0..3 {
        let push = acme.push().await;
        assert_eq!(push["pub"]["data"]["data"]["of"], "acme", "{push}");
        channels.push(push["channel"].as_str().unwrap().to_owned());
    }
    channels.sort();
    assert_eq!(channels, ["room:lobby", "tenant", "user:ada"]);
    assert_eq!(acme.texts(1).await, ["of acme"]);
    // The first thing that globex hears of all this is its own.
    let push = globex.push().await;
    assert_eq!(push["pub"]["data"]["text"], "of globex", "{push}");
    // Names that would be another tenant's are no names.
    for channel in ["room:lobby.acme", "acme:room:lobby", "live.acme.room.lobby", "room:*", "tenant:acme", "events:>"] {
        assert_eq!(globex.refused("subscribe", json!({ "channel": channel })).await, 102, "{channel}");
    }
    assert_eq!(globex.refused("subscribe", json!({ "channel": "user:bob" })).await, 103, "another user's own");
}

#[tokio::test(flavor = "multi_thread")]
async fn outcomes_are_heard_by_those_whose_scopes_allow_it() {
    let scene = Scene::new().await;
    let node = scene.node().await;
    scene.join("acme", "lobby", &["ada"]).await;
    // What happens in all rooms is not for everybody who chats.
    let mut chatting = Client::of(&node, "acme", "ada").await;
    assert_eq!(chatting.refused("subscribe", json!({ "channel": "events:presence" })).await, 103);
    let reading = |tenant: &str| {
        let scope = "websocket:connect websocket:read websocket:write presence:read";
        signed(&omnibus_ingest::token::Claims { scope: Some(scope.into()), ..claims(tenant, "ada") })
    };
    let mut ada = Client::open(&node).await;
    ada.ask("connect", json!({ "token": reading("acme") })).await;
    assert_eq!(ada.refused("subscribe", json!({ "channel": "events:mailer" })).await, 103);
    assert_eq!(ada.refused("subscribe", json!({ "channel": "events:nowhere" })).await, 102);
    ada.subscribe("events:presence").await;
    let before = scene.say("acme", "lobby", "ada", "before").await;
    // That she has come is an event as well.
    let event = loop {
        let event = ada.push().await;
        if event["pub"]["data"]["event"] != "presence.presence_changed" {
            break event;
        }
    };
    assert_eq!(event["pub"]["data"]["event"], "presence.message_posted", "{event}");
    assert_eq!(event["pub"]["data"]["command"], json!(before));

    // One command's outcome: before it is there, and after.
    let id = clock::new_id();
    for (command, is_past) in [(id, false), (before, true)] {
        let channel = format!("cmd:{command}");
        ada.subscribe(&channel).await;
        if !is_past {
            scene.stage.publish_as(command, "acme", &message("lobby", "ada", "now")).await;
        }
        loop {
            let push = ada.push().await;
            if push["channel"] == channel.as_str() {
                assert_eq!(push["pub"]["data"]["outcome"], "succeeded", "{push}");
                break;
            }
        }
    }

    // Who may not read the domain is not told, and neither is another tenant.
    let blind = signed(&omnibus_ingest::token::Claims {
        scope: Some("websocket:connect websocket:write".into()),
        ..claims("acme", "eve")
    });
    for credential in [blind, reading("globex")] {
        let mut other = Client::open(&node).await;
        other.ask("connect", json!({ "token": credential })).await;
        other.subscribe(&format!("cmd:{before}")).await;
        let stats = other.ask("ping", json!({})).await;
        assert!(stats["ping"].is_object(), "nothing was pushed before this: {stats}");
        assert_eq!(other.waiting(), 0);
    }
}
