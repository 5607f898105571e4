//! How much of everything one client may have.

use serde_json::{Value, json};

use crate::scene::{Client, Scene, message};

/// Asks the same so often, and says how often that was too often.
async fn refused(client: &mut Client, times: usize, name: &str, params: &Value) -> usize {
    let mut refused = 0;
    for _ in 0..times {
        let reply = client.ask(name, params.clone()).await;
        if reply["error"].is_object() {
            assert_eq!((&reply["error"]["code"], &reply["error"]["temporary"]), (&json!(111), &json!(true)), "{reply}");
            refused += 1;
        }
    }
    refused
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_too_often_is_asked_to_wait_and_what_he_has_is_not_touched() {
    let scene = Scene::new().await;
    let node = scene
        .node_with(|settings| {
            settings.websocket_rate_socket = 1;
            settings.websocket_channels = 5;
        })
        .await;
    scene.join("acme", "lobby", &["ada", "bob"]).await;
    let (mut ada, mut bob) = (Client::of(&node, "acme", "ada").await, Client::of(&node, "acme", "bob").await);
    ada.subscribe("room:lobby").await;
    assert!(refused(&mut ada, 50, "ping", &json!({})).await > 0);
    assert_eq!(refused(&mut bob, 3, "ping", &json!({})).await, 0, "others are not counted along");
    scene.say("acme", "lobby", "bob", "still there").await;
    assert_eq!(ada.texts(1).await, ["still there"]);
    // What takes something back is never refused.
    assert!(refused(&mut ada, 50, "ping", &json!({})).await > 0);
    assert_eq!(refused(&mut ada, 5, "unsubscribe", &json!({ "channel": "room:lobby" })).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_member_does_not_fill_a_room_with_typing() {
    let scene = Scene::new().await;
    let node = scene
        .node_with(|settings| {
            settings.websocket_rate_socket = 0;
            settings.websocket_rate_typing = 1;
        })
        .await;
    scene.join("acme", "lobby", &["ada", "bob"]).await;
    let (mut ada, mut bob) = (Client::of(&node, "acme", "ada").await, Client::of(&node, "acme", "bob").await);
    ada.subscribe("room:lobby").await;
    bob.subscribe("room:lobby").await;
    let typing = json!({ "method": "typing", "data": { "channel": "room:lobby" } });
    let passed = 50 - refused(&mut bob, 50, "rpc", &typing).await;
    assert!((1..50).contains(&passed), "{passed}");
    scene.say("acme", "lobby", "bob", "that was it").await;
    let mut heard = 0;
    loop {
        let data = ada.push().await["pub"]["data"].clone();
        match data["type"].as_str() {
            Some("typing") => heard += 1,
            Some("message") => break,
            _ => {}
        }
    }
    assert_eq!(heard, passed);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_tenants_sockets_do_not_use_up_what_is_everybodys() {
    let scene = Scene::new().await;
    let node = scene.node_with(|settings| settings.websocket_rate_tenant = 1).await;
    for tenant in ["acme", "globex"] {
        scene.join(tenant, "lobby", &["ada"]).await;
    }
    let mut clients = Vec::new();
    for tenant in ["acme", "acme", "globex"] {
        let mut client = Client::of(&node, tenant, "ada").await;
        client.subscribe("room:lobby").await;
        clients.push(client);
    }
    let publish = json!({ "channel": "room:lobby", "data": "Hello" });
    let [first, second, other] = &mut clients[..] else { unreachable!("three were opened") };
    // Both at once: each waits until what it said is decided, and that may take its time.
    let too_often = tokio::join!(refused(first, 20, "publish", &publish), refused(second, 20, "publish", &publish));
    assert!(too_often.0 + too_often.1 > 0);
    assert_eq!(refused(other, 1, "publish", &publish).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn presence_that_would_not_fit_the_clients_queue_is_refused_and_still_counted() {
    let scene = Scene::new().await;
    let node = scene.node_with(|settings| settings.websocket_queue_bytes = 2048).await;
    scene.join("acme", "lobby", &["ada", "bob"]).await;
    let mut clients = Vec::new();
    for user in ["ada", "ada", "ada", "bob", "bob"] {
        let mut client = Client::of(&node, "acme", user).await;
        client.subscribe("room:lobby").await;
        clients.push(client);
    }
    let lobby = json!({ "channel": "room:lobby" });
    let all_there = async {
        while clients[0].ask("presence_stats", lobby.clone()).await["presence_stats"]
            != json!({ "num_clients": 5, "num_users": 2 })
        {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(crate::scene::PATIENCE, all_there).await.expect("all are there");
    assert_eq!(clients[0].refused("presence", lobby.clone()).await, 106);
    // With one less it fits, and the socket was there all the time.
    clients[4].ask("unsubscribe", lobby.clone()).await;
    let fits = async {
        loop {
            let presence = clients[0].ask("presence", lobby.clone()).await;
            if let Some(there) = presence["presence"]["presence"].as_object() {
                assert_eq!(there.len(), 4, "{presence}");
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(crate::scene::PATIENCE, fits).await.expect("one is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_takes_nothing_in_is_closed_at_once_when_the_node_stops() {
    let scene = Scene::new().await;
    let wide = |settings: &mut omnibus_fanout::Settings| settings.websocket_queue_bytes = 64 * 1024 * 1024;
    let (one, two) = (scene.node_with(wide).await, scene.node_with(wide).await);
    scene.join("acme", "lobby", &["ada", "bob"]).await;
    let mut bob = Client::of(&two, "acme", "bob").await;
    bob.subscribe("room:lobby").await;
    let mut ada = Client::of(&one, "acme", "ada").await;
    ada.subscribe("room:lobby").await;
    // More than the kernel holds for her.
    let (text, count) = ("x".repeat(7900), 1500);
    scene.stage.backlog("acme", count, |n| message("lobby", "bob", &format!("{n} {text}"))).await;
    assert_eq!(bob.texts(count).await.len(), count);
    one.close();
    let gone = async {
        while one.fanout.topics() > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    // A write that only waits takes two pings, which are fifty seconds.
    tokio::time::timeout(std::time::Duration::from_secs(40), gone).await.expect("the socket ends");
}
