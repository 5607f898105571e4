//! Whatever dies: every missed message comes once and in order.

use std::time::Duration;

use crate::scene::{Client, PATIENCE, Scene, message, position, recovered};
use crate::wire::Wire;

#[tokio::test(flavor = "multi_thread")]
async fn nats_is_killed_and_its_sockets_hear_everything_once() {
    let scene = Scene::new().await;
    let node = scene.node().await;
    scene.join("acme", "lobby", &["ada", "bob"]).await;
    let mut ada = Client::of(&node, "acme", "ada").await;
    let mut at = position(&ada.subscribe("room:lobby").await);
    scene.say("acme", "lobby", "bob", "before").await;
    let (said, offset) = ada.published("message").await;
    assert_eq!(said["text"], "before");
    at.1 = offset;
    {
        let mut nats = scene.stage.nats.lock().await;
        nats.kill9().await;
        nats.restart().await.unwrap();
    }
    scene.bus_is_back().await;
    // The worker may be back before the door: then the door was not there to hear it, and looks.
    let wanted: Vec<String> = (0..20).map(|n| format!("after {n}")).collect();
    for text in &wanted {
        scene.say("acme", "lobby", "bob", text).await;
    }
    let mut heard = Vec::new();
    while heard.len() < wanted.len() {
        let push = ada.push().await;
        if push["unsubscribe"].is_object() {
            // The door could not vouch for the channel: the client asks for what it has missed, as every client does.
            let begun = ada.recover("room:lobby", (&at.0, at.1)).await;
            assert_eq!(begun["recovered"], true, "{begun}");
            heard.extend(recovered(&begun));
            at = position(&begun);
            continue;
        }
        let data = &push["pub"]["data"];
        if data["type"] == "message" {
            heard.push(data["text"].as_str().unwrap().to_owned());
            at.1 = push["pub"]["offset"].as_u64().unwrap();
        }
    }
    assert_eq!(heard, wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_presence_worker_that_is_killed_while_messages_run_loses_and_repeats_none() {
    let scene = Scene::new().await;
    let node = scene.node().await;
    scene.join("acme", "lobby", &["ada", "bob"]).await;
    let mut ada = Client::of(&node, "acme", "ada").await;
    ada.subscribe("room:lobby").await;
    let count = 400;
    scene.stage.backlog("acme", count, |n| message("lobby", "bob", &n.to_string())).await;
    // A few are through, the rest is wherever it is.
    let mut heard = ada.texts(20).await;
    let Scene { stage, presence } = scene;
    presence.abort().await;
    let _scene = Scene::on(stage).await;
    heard.extend(ada.texts(count - heard.len()).await);
    heard.sort_by_key(|text| text.parse::<usize>().unwrap());
    assert_eq!(heard, (0..count).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_told_to_stop_closes_its_sockets_and_leaves_nothing_taken() {
    let scene = Scene::new().await;
    let one = scene.process(&[("WEBSOCKET_PER_USER", "1")]).await;
    let two = scene.node_with(|settings| settings.websocket_per_user = 1).await;
    let users: Vec<String> = (0..30).map(|n| format!("u{n}")).collect();
    let mut clients = Vec::new();
    for user in &users {
        clients.push(Client::of(&one, "acme", user).await);
    }
    one.terminate().await;
    for client in &mut clients {
        assert_eq!(client.close_code().await, 3001);
    }
    drop(clients);
    assert!(one.ended().await.success());
    // Each of them has one place, and it is free, though no time has passed.
    for user in &users {
        Client::of(&two, "acme", user).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_tells_how_it_is_doing() {
    let scene = Scene::new().await;
    let node = scene.process(&[]).await;
    scene.join("acme", "lobby", &["ada", "bob"]).await;
    let mut garbage = Client::open(&node).await;
    garbage.send("garbage").await;
    assert_eq!(garbage.close_code().await, 3501);
    let mut ada = Client::of(&node, "acme", "ada").await;
    let at = position(&ada.subscribe("room:lobby").await);
    scene.say("acme", "lobby", "bob", "Hello").await;
    ada.texts(1).await;
    let mut bob = Client::of(&node, "acme", "bob").await;
    assert_eq!(recovered(&bob.recover("room:lobby", (&at.0, at.1)).await), ["Hello"]);
    bob.ask("unsubscribe", serde_json::json!({ "channel": "room:lobby" })).await;
    assert!(bob.recover("room:lobby", ("another", at.1)).await.get("recovered").is_none());
    for line in [
        "omnibus_sockets 2",
        "omnibus_channels 1",
        "omnibus_pushed_total 1",
        "omnibus_queue_bytes 0",
        "omnibus_sockets_closed_total{code=\"3501\"} 1",
        "omnibus_recoveries_total{result=\"whole\"} 1",
        "omnibus_recoveries_total{result=\"not_whole\"} 1",
    ] {
        node.tells(line).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_tells_what_it_has_thrown_away_with_a_queue() {
    let scene = Scene::new().await;
    let node = scene.process(&[("WEBSOCKET_QUEUE_BYTES", "2048")]).await;
    scene.join("acme", "lobby", &["ada", "bob"]).await;
    let mut ada = Client::of(&node, "acme", "ada").await;
    ada.subscribe("room:lobby").await;
    // More than may wait for her, all by itself.
    scene.say("acme", "lobby", "bob", &"x".repeat(4000)).await;
    assert_eq!(ada.close_code().await, 3008);
    node.tells("omnibus_dropped_total 1").await;
    node.tells("omnibus_sockets_closed_total{code=\"3008\"} 1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_tells_that_it_has_filled_a_hole() {
    let scene = Scene::new().await;
    let wire = Wire::to(scene.stage.nats_url()).await;
    let node = scene.process(&[("NATS_URL", &wire.url())]).await;
    scene.join("acme", "lobby", &["ada", "bob"]).await;
    let mut ada = Client::of(&node, "acme", "ada").await;
    ada.subscribe("room:lobby").await;
    wire.cut().await;
    scene.say("acme", "lobby", "bob", "missed").await;
    wire.mend();
    assert_eq!(ada.texts(1).await, ["missed"]);
    node.tells("omnibus_gaps_filled_total 1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_closes_sends_its_sockets_to_another() {
    let scene = Scene::new().await;
    let (one, two) = (scene.node().await, scene.node().await);
    scene.join("acme", "lobby", &["ada", "bob"]).await;
    let mut clients = Vec::new();
    for _ in 0..5 {
        let mut client = Client::of(&one, "acme", "ada").await;
        let at = position(&client.subscribe("room:lobby").await);
        clients.push((client, at));
    }
    one.close();
    scene.say("acme", "lobby", "bob", "meanwhile").await;
    for (mut client, at) in clients {
        assert_eq!(client.close_code().await, 3001);
        let mut again = Client::of(&two, "acme", "ada").await;
        let begun = again.recover("room:lobby", (&at.0, at.1)).await;
        assert_eq!(recovered(&begun), ["meanwhile"]);
    }
    tokio::time::timeout(PATIENCE, async {
        while one.fanout.topics() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("nothing is listened to any more");
}
