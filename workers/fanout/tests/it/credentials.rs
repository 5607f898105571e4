//! Who gets in, for how long, and how often.

use futures_util::StreamExt;
use omnibus_ingest::keys;
use omnibus_ingest::token::{Claims, Ticket};
use omnibus_runtime::clock;
use serde_json::json;

use crate::scene::{Client, Scene, claims, jwt, message, signed, ticket, token};

/// What the connect command is answered, or what the socket is closed with.
async fn outcome(scene_client: &mut Client, token: &str) -> serde_json::Value {
    scene_client.ask("connect", json!({ "token": token })).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_opens_one_socket_on_whichever_node() {
    let scene = Scene::new().await;
    let (one, two) = (scene.node().await, scene.node().await);
    let ticket = ticket("acme", "ada");
    // In the address, as wscat has it.
    let mut first = Client::open_at(&format!("ws://{}/ws?ticket={ticket}", one.address)).await;
    let connected = first.ask("connect", json!({})).await;
    assert!(connected["connect"]["client"].is_string(), "{connected}");
    // The client is asked for a newer one, which is what 109 means.
    for node in [&one, &two] {
        let refused = outcome(&mut Client::open(node).await, &ticket).await;
        assert_eq!(refused["error"]["code"], 109, "{refused}");
    }
    // One that nobody has used in its time is used up as well.
    let unused = Some(Ticket { id: clock::new_id(), until: None, key: None });
    let late =
        signed(&Claims { ticket: unused, exp: clock::now().timestamp() - 60, iat: None, ..claims("acme", "ada") });
    assert_eq!(outcome(&mut Client::open(&one).await, &late).await["error"]["code"], 109);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_token_closes_the_socket_and_an_expired_one_is_to_be_renewed() {
    let scene = Scene::new().await;
    let node = scene.node().await;
    let now = clock::now().timestamp();
    let old = signed(&Claims { exp: now - 60, iat: None, ..claims("acme", "ada") });
    assert_eq!(outcome(&mut Client::open(&node).await, &old).await["error"]["code"], 109);
    let mut forged = jwt("acme", "ada");
    forged.pop();
    let unfit = jwt("acme", "Ada Lovelace");
    for (token, code) in [(forged, 3500), (unfit, 3500), (String::new(), 3500), ("omk_acme_0".into(), 3500)] {
        let mut client = Client::open(&node).await;
        client.send(json!({ "id": 1, "connect": { "token": token } }).to_string()).await;
        assert_eq!(client.close_code().await, code, "{token}");
    }
    let scopeless = signed(&Claims { scope: Some("email:send".into()), ..claims("acme", "ada") });
    let mut client = Client::open(&node).await;
    client.send(json!({ "id": 1, "connect": { "token": scopeless } }).to_string()).await;
    assert_eq!(client.close_code().await, 3507);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_credential_closes_its_socket_and_a_refreshed_one_does_not() {
    let scene = Scene::new().await;
    let node = scene.node().await;
    let (mut ada, mut bob) = (Client::open(&node).await, Client::open(&node).await);
    // Long enough for both to connect and for Bob to renew his, on a busy machine too.
    let soon = clock::now().timestamp() + 30;
    let short = |user: &str| signed(&Claims { exp: soon, ..claims("acme", user) });
    let connected = outcome(&mut ada, &short("ada")).await;
    assert_eq!(connected["connect"]["expires"], true, "{connected}");
    outcome(&mut bob, &short("bob")).await;
    let refreshed = bob.ask("refresh", json!({ "token": jwt("acme", "bob") })).await;
    assert!(refreshed["refresh"]["ttl"].as_i64().unwrap() > 60, "{refreshed}");
    assert_eq!(ada.close_code().await, 3005);
    // Bob's is still there.
    assert!(bob.ask("ping", json!({})).await["ping"].is_object());
    // Another user's token renews nothing.
    bob.send(json!({ "id": 99, "refresh": { "token": jwt("acme", "eve") } }).to_string()).await;
    assert_eq!(bob.close_code().await, 3500);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_closes_every_socket_that_was_opened_by_it_or_by_its_tickets() {
    let scene = Scene::new().await;
    let node = scene.node().await;
    let (key, record) = keys::mint(&token("acme"), "test", ["*"], None);
    let js = scene.stage.operator.jetstream();
    keys::put(js, &key, &record).await.unwrap();
    let by_ticket = signed(&Claims {
        ticket: Some(Ticket { id: clock::new_id(), until: None, key: Some(record.id) }),
        ..claims("acme", "ada")
    });
    // The door hears of the key in a moment.
    let mut by_key = loop {
        let mut client = Client::open(&node).await;
        client.send(json!({ "id": 1, "connect": { "token": key.expose() } }).to_string()).await;
        if let Some(line) = client.line_or_close().await {
            assert!(line["connect"]["client"].is_string(), "{line}");
            break client;
        }
    };
    let mut by_ticket_client = Client::open(&node).await;
    outcome(&mut by_ticket_client, &by_ticket).await;
    let mut other = Client::of(&node, "acme", "bob").await;
    keys::revoke(js, record.id).await.unwrap();
    assert_eq!(by_key.close_code().await, 3500);
    assert_eq!(by_ticket_client.close_code().await, 3500);
    assert!(other.ask("ping", json!({})).await["ping"].is_object(), "others stay");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_back_from_a_dead_node_finds_his_places_free_before_his_sockets_there_have_ended() {
    let scene = Scene::new().await;
    let (one, two) = (scene.process(&[("WEBSOCKET_PER_USER", "1")]).await, {
        let limit = |settings: &mut omnibus_fanout::Settings| settings.websocket_per_user = 1;
        scene.node_with(limit).await
    });
    let _there = Client::of(&one, "acme", "ada").await;
    let begun = std::time::Instant::now();
    let again = || async { outcome(&mut Client::open(&two).await, &jwt("acme", "ada")).await };
    // One is all she may have; but this passes, and her client is to come again.
    let refused = again().await;
    assert_eq!((&refused["error"]["code"], &refused["error"]["temporary"]), (&json!(106), &json!(true)), "{refused}");
    one.kill().await;
    while !again().await["connect"].is_object() {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    assert!(begun.elapsed() < std::time::Duration::from_secs(85), "sooner than the 90 seconds of a socket");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_has_no_more_sockets_than_allowed_over_all_nodes() {
    let scene = Scene::new().await;
    let limit = |settings: &mut omnibus_fanout::Settings| settings.websocket_per_user = 3;
    let (one, two) = (scene.node_with(limit).await, scene.node_with(limit).await);
    // All at once, so that no node can have heard of the other's.
    let connecting = (0..8).map(|n| {
        let node = if n % 2 == 0 { &one } else { &two };
        async move {
            let mut client = Client::open(node).await;
            client.send(json!({ "id": 1, "connect": { "token": jwt("acme", "ada") } }).to_string()).await;
            match client.line_or_close().await {
                Some(line) => (line["connect"]["client"].is_string(), Some(client)),
                None => (false, None),
            }
        }
    });
    let (opened, clients): (Vec<bool>, Vec<_>) = futures_util::future::join_all(connecting).await.into_iter().unzip();
    assert_eq!(opened.iter().filter(|opened| **opened).count(), 3);
    // Others are not counted along: neither another user, nor the same name of another tenant.
    Client::of(&one, "acme", "bob").await;
    Client::of(&two, "globex", "ada").await;
    // One that has gone makes room at once.
    drop(clients);
    while !outcome(&mut Client::open(&two).await, &jwt("acme", "ada")).await["connect"].is_object() {}
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_authenticated_in_time_may_wait_longer_than_that_for_the_rest_of_his_frame() {
    let scene = Scene::new().await;
    // Long enough to connect on a busy machine, and less than three rooms take of which nobody knows the members.
    let node = scene.node_with(|settings| settings.websocket_auth_seconds = 12).await;
    let Scene { stage, presence } = scene;
    presence.stop().await;
    // Who should know the members hears the question, and says nothing: for the five seconds that an answer may take.
    let deaf = stage.connect("presence").await;
    let mut questions = deaf.client().subscribe("qry.presence.>").await.unwrap();
    deaf.client().flush().await.unwrap();
    let mut client = Client::open(&node).await;
    let connect = json!({ "id": 1, "connect": { "token": jwt("acme", "ada") } });
    let subscribe = |id: u32, channel: &str| json!({ "id": id, "subscribe": { "channel": channel } });
    let rooms = ["room:one", "room:two", "room:three"];
    let mut frame = vec![connect.to_string()];
    frame.extend((2..).zip(rooms).map(|(id, room)| subscribe(id, room).to_string()));
    frame.push(subscribe(5, "user:ada").to_string());
    client.send(frame.join("\n")).await;
    assert!(client.line().await["connect"]["client"].is_string());
    questions.next().await.unwrap();
    assert_eq!(node.fanout.topics(), 0, "before it is known who may listen, nothing is listened to");
    for id in 2..5 {
        let refused = client.line().await;
        assert_eq!((&refused["id"], &refused["error"]["code"]), (&json!(id), &json!(100)), "{refused}");
    }
    let begun = client.line().await;
    assert!(begun["id"] == 5 && begun["subscribe"].is_object(), "{begun}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refreshed_token_of_fewer_scopes_takes_away_what_it_does_not_allow() {
    let scene = Scene::new().await;
    let node = scene.node().await;
    scene.join("acme", "lobby", &["ada"]).await;
    let of = |scopes: &str| signed(&Claims { scope: Some(scopes.into()), ..claims("acme", "ada") });
    let mut ada = Client::open(&node).await;
    let all = "websocket:connect websocket:read websocket:write presence:read";
    outcome(&mut ada, &of(all)).await;
    let command = clock::new_id();
    let channels = ["room:lobby".to_owned(), "user:ada".into(), "events:presence".into(), format!("cmd:{command}")];
    for channel in &channels {
        ada.subscribe(channel).await;
    }
    // With the same scopes nothing happens.
    assert!(ada.ask("refresh", json!({ "token": of(all) })).await["refresh"].is_object());
    assert_eq!(node.fanout.topics(), 4);
    let fewer = "websocket:connect websocket:read websocket:write";
    assert!(ada.ask("refresh", json!({ "token": of(fewer) })).await["refresh"].is_object());
    // What has happened before is told before.
    let push = loop {
        let push = ada.push().await;
        if push["unsubscribe"].is_object() {
            break push;
        }
    };
    assert_eq!((&push["channel"], &push["unsubscribe"]["code"]), (&json!("events:presence"), &json!(2000)), "{push}");
    assert_eq!((ada.waiting(), node.fanout.topics()), (0, 3));
    // The outcome of a command is of the domain that may not be read any more.
    scene.stage.publish_as(command, "acme", &message("lobby", "ada", "Hello")).await;
    assert_eq!(ada.texts(1).await, ["Hello"]);
    scene.stage.outcome(command).await;
    ada.ask("ping", json!({})).await;
    assert_eq!(ada.waiting(), 0);
    assert!(ada.ask("refresh", json!({ "token": of("websocket:connect") })).await["refresh"].is_object());
    assert_eq!(ada.push().await["channel"], "room:lobby");
    assert_eq!(ada.refused("publish", json!({ "channel": "room:lobby", "data": "x" })).await, 103);
}
