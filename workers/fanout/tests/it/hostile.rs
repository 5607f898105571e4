//! Clients that mean ill, or can't do better.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use crate::scene::{Client, PATIENCE, Place, Scene, jwt, message};

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_does_not_authenticate_in_time_is_closed() {
    let scene = Scene::new().await;
    let node = scene.node_with(|settings| settings.websocket_auth_seconds = 1).await;
    assert_eq!(Client::open(&node).await.close_code().await, 3502);
    // Commands before that are no way around it, however much time there is.
    let mut client = Client::open(&scene.node().await).await;
    client.send(r#"{"id":1,"subscribe":{"channel":"tenant"}}"#).await;
    assert_eq!(client.close_code().await, 3501);
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_closes_with_the_right_code_and_harms_nobody_else() {
    let scene = Scene::new().await;
    let node = scene.node().await;
    let mut bystander = Client::of(&node, "acme", "bob").await;
    let texts = [
        "not json",
        "[]",
        "1",
        "{\"id\":1}",
        r#"{"id":1,"connect":{},"ping":{}}"#,
        r#"{"id":-1,"connect":{}}"#,
        r#"{"id":1,"connect":[]}"#,
        r#"{"connect":{}}"#,
        "\u{0}",
    ];
    for text in texts {
        let mut client = Client::open(&node).await;
        client.send(text).await;
        let code = client.close_code().await;
        assert_eq!(code, 3501, "{text}");
    }
    let mut binary = Client::open(&node).await;
    binary.send_raw(Message::binary(vec![0xff; 100])).await.unwrap();
    assert_eq!(binary.close_code().await, 3506);
    // After it has authenticated, a command that can't be read is refused and the next one is answered.
    for (name, params, code) in [
        ("subscribe", json!({ "channel": 7 }), 107),
        ("subscribe", json!({ "channel": "nonsense" }), 102),
        ("no_such_command", json!({}), 104),
        ("rpc", json!({ "method": "no_such_method" }), 104),
        ("history", json!({ "channel": "room:lobby" }), 103),
        ("presence", json!({ "channel": "room:lobby" }), 103),
        ("sub_refresh", json!({ "channel": "tenant" }), 108),
    ] {
        assert_eq!(bystander.refused(name, params).await, code, "{name}");
    }
    assert!(bystander.ask("ping", json!({})).await["ping"].is_object());
    bystander.send(json!({ "id": 99, "connect": { "token": jwt("acme", "eve") } }).to_string()).await;
    assert_eq!(bystander.close_code().await, 3501, "who is in can't become another");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_over_the_limit_is_not_read() {
    let scene = Scene::new().await;
    let node = scene.node().await;
    let mut client = Client::of(&node, "acme", "ada").await;
    let fits = format!(r#"{{"id":5,"ping":{{}}}}{}"#, " ".repeat(60 * 1024));
    client.send(fits).await;
    assert_eq!(client.line().await["id"], 5);
    // The socket may be gone before all of it is written.
    let _ = client.send_raw(Message::text(" ".repeat(65 * 1024))).await;
    assert_eq!(client.close_code().await, 1009);
    // Nor is one that comes in parts of which each would fit.
    let mut client = Client::of(&node, "acme", "ada").await;
    for part in [Data::Text, Data::Continue, Data::Continue] {
        let part = Frame::message(vec![b' '; 30 * 1024], OpCode::Data(part), false);
        let _ = client.send_raw(Message::Frame(part)).await;
    }
    assert_eq!(client.close_code().await, 1009);
    // Compression is not spoken, so nothing can be larger than it looks: who offers it is answered without.
    let mut request = format!("ws://{}/ws", node.address).into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-extensions", "permessage-deflate".parse().unwrap());
    let (_, answer) = tokio_tungstenite::connect_async(request).await.unwrap();
    assert!(answer.headers().get("sec-websocket-extensions").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_origin_is_turned_away() {
    let scene = Scene::new().await;
    let node = scene.node_with(|settings| settings.websocket_origins = vec!["https://app.example".into()]).await;
    let own = format!("http://{}", node.address);
    for (origin, lets_in) in [("https://app.example", true), (&own, true), ("https://evil.example", false)] {
        let mut request = format!("ws://{}/ws", node.address).into_client_request().unwrap();
        request.headers_mut().insert("origin", origin.parse().unwrap());
        assert_eq!(tokio_tungstenite::connect_async(request).await.is_ok(), lets_in, "{origin}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_beyond_the_limit_are_refused_and_leave_nothing_behind() {
    let scene = Scene::new().await;
    let node = scene.node_with(|settings| settings.websocket_channels = 3).await;
    let mut client = Client::of(&node, "acme", "ada").await;
    for channel in ["user:ada", "tenant", "cmd:01979f6e-5a00-7000-8000-000000000001"] {
        client.subscribe(channel).await;
    }
    assert_eq!(client.refused("subscribe", json!({ "channel": "room:lobby" })).await, 106);
    assert_eq!(client.refused("subscribe", json!({ "channel": "tenant" })).await, 105);
    client.ask("unsubscribe", json!({ "channel": "tenant" })).await;
    assert_eq!(node.fanout.topics(), 2);
    client.subscribe("tenant").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_stalls_is_closed_within_its_bound_and_others_hear_everything() {
    let scene = Scene::new().await;
    let node = scene
        .node_with(|settings| {
            settings.websocket_queue_bytes = 64 * 1024;
            // Nor does she answer pings, or say that she is there still, which is not what she is to be closed for.
            settings.websocket_ping_seconds = 600;
            settings.presence_ttl_seconds = 600;
        })
        .await;
    scene.join("acme", "lobby", &["ada", "bob"]).await;
    let mut bob = Client::of(&node, "acme", "bob").await;
    bob.subscribe("room:lobby").await;
    // Ada listens and never reads; what the kernel holds for her fills up first.
    let mut ada = Client::of(&node, "acme", "ada").await;
    ada.subscribe("room:lobby").await;
    let users = async |bob: &mut Client| {
        let there = bob.ask("presence_stats", json!({ "channel": "room:lobby" })).await;
        there["presence_stats"]["num_users"].as_u64()
    };
    // Her seat is seen a moment after she has taken it.
    let seen = async {
        while users(&mut bob).await != Some(2) {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, seen).await.expect("she is there");
    let text = "x".repeat(7900);
    // No more at once than fit half of the queue of somebody who reads, until she is not there any more.
    let (few, mut said) = (3, 0);
    loop {
        scene.stage.backlog("acme", few, |n| message("lobby", "bob", &format!("{n} {text}"))).await;
        assert_eq!(bob.texts(few).await.len(), few);
        if users(&mut bob).await == Some(1) {
            break;
        }
        said += few;
        assert!(said < 3000, "she is there still");
    }
    // What was on its way still comes, then the close that asks to come back.
    assert_eq!(ada.close_code().await, 3008);
    let mut again = Client::of(&node, "acme", "ada").await;
    again.subscribe("room:lobby").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_answers_no_ping_is_closed() {
    let scene = Scene::new().await;
    let node = scene.node_with(|settings| settings.websocket_ping_seconds = 1).await;
    let mut silent = Client::of(&node, "acme", "ada").await;
    assert_eq!(silent.close_code().await, 3012);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_is_none_opens_no_socket() {
    let scene = Scene::new().await;
    let node = scene.node().await;
    for request in ["GET /ws HTTP/1.1\r\nhost: x\r\n\r\n", "POST /ws HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n"]
    {
        let mut socket = tokio::net::TcpStream::connect(node.address).await.unwrap();
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        tokio::time::timeout(PATIENCE, socket.read_exact(&mut answer)).await.unwrap().unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 4"), "{}", String::from_utf8_lossy(&answer));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_trickles_in_is_cut_off() {
    let scene = Scene::new().await;
    let node = scene.process(&[("WEBSOCKET_AUTH_SECONDS", "2")]).await;
    let handshake = "GET /ws HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n";
    for begins_with in ["", handshake] {
        let mut socket = tokio::net::TcpStream::connect(node.address()).await.unwrap();
        socket.write_all(begins_with.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let trickle = async {
            loop {
                tokio::time::sleep(std::time::Duration::from_millis(200)).await;
                if !begins_with.is_empty() && socket.write_all(b"x-a: b\r\n").await.is_err() {
                    break;
                }
                let read = socket.read_buf(&mut answer);
                if let Ok(Ok(0) | Err(_)) = tokio::time::timeout(std::time::Duration::from_millis(10), read).await {
                    break;
                }
            }
        };
        tokio::time::timeout(PATIENCE, trickle).await.expect("the door hangs up");
        assert!(!answer.starts_with(b"HTTP/1.1 101"), "no socket was opened");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doors_own_bus_user_may_do_nothing_but_its_work() {
    let scene = Scene::new().await;
    let door = scene.stage.connect("fanout").await;
    for subject in [
        "evt.presence.message_posted.acme",
        "rooms.room.lobby.acme",
        "cmd.mailer.default.send_email.acme",
        "cmd.presence.people.note_presence.acme",
        "dlq.presence.post_message.acme",
        "sched.at.x",
        "$KV.keys.forged",
        "$KV.idempotency.x",
        "$JS.API.STREAM.PURGE.ROOMS",
        "$JS.API.STREAM.DELETE.ROOMS",
        "$JS.API.STREAM.MSG.DELETE.ROOMS",
        "$JS.API.CONSUMER.CREATE.ROOMS",
        "$JS.API.STREAM.MSG.GET.CMD_PRESENCE",
        "qry.mailer.accounts",
    ] {
        let sent = door.publish(subject, async_nats::HeaderMap::new(), "{}".into()).await;
        assert!(matches!(sent, Err(omnibus_runtime::bus::PublishError::Refused(_))), "{subject}: {sent:?}");
    }
    // Nor does a tenant's user reach what people hear, or other tenants' rooms.
    let acme = scene.stage.connect(&omnibus_runtime::testing::Stage::tenant_user("acme")).await;
    for subject in
        ["rooms.room.lobby.acme", "live.acme.room.lobby", "live.globex.room.lobby", "$KV.presence.acme.ada.0"]
    {
        let sent = acme.publish(subject, async_nats::HeaderMap::new(), "{}".into()).await;
        assert!(matches!(sent, Err(omnibus_runtime::bus::PublishError::Refused(_))), "{subject}: {sent:?}");
    }
}
