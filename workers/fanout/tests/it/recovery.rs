//! What a client that was away gets when it is back.

use std::time::{Duration, Instant};

use omnibus_runtime::local::Postgres;
use omnibus_runtime::testing::Stage;
use omnibus_schemas::Catalogue;
use serde_json::json;

use crate::scene::{Client, Scene, message, position, recovered};

/// Sends one message and drops the socket; says where it stood.
async fn seen(client: &mut Client, channel: &str) -> (String, u64) {
    position(&client.subscribe(channel).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reconnect_yields_every_missed_message_once_and_in_order_on_another_node_too() {
    let scene = Scene::new().await;
    let one = scene.process(&[]).await;
    scene.join("acme", "lobby", &["ada", "bob"]).await;
    let mut ada = Client::of(&one, "acme", "ada").await;
    let (epoch, _) = seen(&mut ada, "room:lobby").await;
    scene.say("acme", "lobby", "bob", "seen").await;
    let (_, offset) = ada.published("message").await;
    one.kill().await;
    let missed: Vec<String> = (0..40).map(|n| format!("missed {n}")).collect();
    for text in &missed {
        scene.say("acme", "lobby", "bob", text).await;
        // Another room's messages stand between them in the stream.
        scene.join("acme", "other", &[&text.replace(' ', "-")]).await;
    }
    let two = scene.node().await;
    let mut ada = Client::of(&two, "acme", "ada").await;
    let begun = ada.recover("room:lobby", (&epoch, offset)).await;
    assert_eq!((&begun["recovered"], &begun["was_recovering"]), (&true.into(), &true.into()), "{begun}");
    assert_eq!(recovered(&begun), missed);
    // From here on it goes on live, without a double.
    scene.say("acme", "lobby", "bob", "live").await;
    assert_eq!(ada.texts(1).await, ["live"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_no_gap_and_no_double_between_history_and_live() {
    let scene = Scene::new().await;
    let node = scene.node().await;
    scene.join("acme", "lobby", &["ada", "bob"]).await;
    let mut first = Client::of(&node, "acme", "ada").await;
    let (epoch, offset) = seen(&mut first, "room:lobby").await;
    // A stream of messages, while clients come in the whole time.
    let count = 300;
    let posting = scene.stage.backlog("acme", count, |n| crate::scene::message("lobby", "bob", &n.to_string()));
    let wanted: Vec<String> = (0..count).map(|n| n.to_string()).collect();
    let coming = async {
        let mut clients = Vec::new();
        for _ in 0..8 {
            let mut client = Client::of(&node, "acme", "ada").await;
            let begun = client.recover("room:lobby", (&epoch, offset)).await;
            assert_eq!(begun["recovered"], true);
            clients.push((client, recovered(&begun)));
        }
        clients
    };
    let ((), clients) = tokio::join!(posting, coming);
    let mut first: Option<Vec<String>> = None;
    for (mut client, mut texts) in clients {
        texts.extend(client.texts(count - texts.len()).await);
        assert!(*first.get_or_insert_with(|| texts.clone()) == texts, "each heard it in another order");
        // Between two commands no order is promised: the log's order is the same for all, and each message stands in it once.
        let mut sorted = texts.clone();
        sorted.sort_by_key(|text| text.parse::<usize>().unwrap());
        assert_eq!(sorted, wanted);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_trimmed_is_never_given_in_part() {
    let limits = omnibus_bus::Settings { rooms_max_entries: 5, ..omnibus_bus::Settings::default() };
    let postgres = Postgres::shared().await.unwrap();
    let scene = Scene::on(Stage::with(Catalogue::omnibus(), limits, postgres).await).await;
    let node = scene.node().await;
    scene.join("acme", "lobby", &["ada", "bob"]).await;
    let mut ada = Client::of(&node, "acme", "ada").await;
    let (epoch, offset) = seen(&mut ada, "room:lobby").await;
    drop(ada);
    for n in 0..5 {
        scene.say("acme", "lobby", "bob", &n.to_string()).await;
    }
    // Five of five are kept; whether there was a sixth can't be told from them. One less certainly is whole.
    for n in 5..8 {
        scene.say("acme", "lobby", "bob", &n.to_string()).await;
    }
    for node in [&node, &scene.node().await] {
        let mut ada = Client::of(node, "acme", "ada").await;
        let begun = ada.recover("room:lobby", (&epoch, offset)).await;
        assert!(begun.get("recovered").is_none() && begun["was_recovering"] == true, "{begun}");
        assert_eq!(recovered(&begun), [""; 0]);
        // Who has seen one that is kept gets the rest.
        ada.ask("unsubscribe", serde_json::json!({ "channel": "room:lobby" })).await;
        let history = ada.recover("room:lobby", position_of_kept(&epoch, &begun)).await;
        assert_eq!((recovered(&history), &history["recovered"]), (vec!["6".to_owned(), "7".to_owned()], &true.into()));
    }
}

/// Two entries before the last.
fn position_of_kept<'a>(epoch: &'a str, begun: &serde_json::Value) -> (&'a str, u64) {
    (epoch, begun["offset"].as_u64().unwrap() - 2)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_client_that_missed_nothing_recovers_after_its_last_entry_was_trimmed() {
    let scene = Scene::new().await;
    let one = scene.node().await;
    scene.join("acme", "lobby", &["ada", "bob"]).await;
    let mut ada = Client::of(&one, "acme", "ada").await;
    let (epoch, _) = seen(&mut ada, "room:lobby").await;
    scene.say("acme", "lobby", "bob", "the last").await;
    let (_, offset) = ada.published("message").await;
    drop(ada);
    // Other rooms go on, and then everything so far is trimmed, as by age.
    scene.join("acme", "other", &["ada"]).await;
    let stream = scene.stage.operator.jetstream().get_stream(omnibus_bus::ROOMS).await.unwrap();
    let heads = scene.stage.operator.jetstream().get_stream(omnibus_bus::ROOM_HEADS).await.unwrap();
    let copied = async {
        while heads.get_last_raw_message_by_subject("rooms.room.other.acme").await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(crate::scene::PATIENCE, copied).await.expect("heads are copied");
    stream.purge().await.unwrap();
    for node in [one, scene.node().await] {
        let mut ada = Client::of(&node, "acme", "ada").await;
        let begun = ada.recover("room:lobby", (&epoch, offset)).await;
        assert_eq!((&begun["recovered"], recovered(&begun).len()), (&true.into(), 0), "{begun}");
        // One entry less was seen: that one is trimmed, and nobody can give it.
        let mut eve = Client::of(&node, "acme", "bob").await;
        let begun = eve.recover("room:lobby", (&epoch, offset - 1)).await;
        assert!(begun.get("recovered").is_none(), "{begun}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_made_anew_has_another_epoch_and_no_old_offset_is_trusted() {
    let scene = Scene::new().await;
    let node = scene.node().await;
    scene.join("acme", "lobby", &["ada", "bob"]).await;
    let mut ada = Client::of(&node, "acme", "ada").await;
    let old = seen(&mut ada, "room:lobby").await;
    drop(ada);
    let js = scene.stage.operator.jetstream();
    js.delete_stream(omnibus_bus::ROOMS).await.unwrap();
    let topology = omnibus_bus::Topology::of(&Catalogue::omnibus(), &omnibus_bus::Settings::default());
    omnibus_bus::apply(js, &topology).await.unwrap();
    for n in 0..10 {
        scene.say("acme", "lobby", "bob", &n.to_string()).await;
    }
    let mut ada = Client::of(&node, "acme", "ada").await;
    let begun = ada.recover("room:lobby", (&old.0, old.1)).await;
    assert!(begun.get("recovered").is_none() && recovered(&begun).is_empty(), "{begun}");
    assert_ne!(position(&begun).0, old.0);
    // Nor is an offset that was never reached.
    ada.ask("unsubscribe", serde_json::json!({ "channel": "room:lobby" })).await;
    let begun = ada.recover("room:lobby", (&position(&begun).0, 1_000_000)).await;
    assert!(begun.get("recovered").is_none(), "{begun}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_listens_while_the_log_is_made_anew_is_told_by_its_first_entry() {
    let scene = Scene::new().await;
    scene.join("acme", "lobby", &["ada", "bob"]).await;
    let js = scene.stage.operator.jetstream();
    let topology = omnibus_bus::Topology::of(&Catalogue::omnibus(), &omnibus_bus::Settings::default());
    // On a busy machine it may be looked at before: then once more.
    for _ in 0..5 {
        let (began, node) = (Instant::now(), scene.node().await);
        let mut ada = Client::of(&node, "acme", "ada").await;
        let old = seen(&mut ada, "room:lobby").await;
        scene.say("acme", "lobby", "bob", "in the old one").await;
        assert_eq!(ada.texts(1).await, ["in the old one"]);
        js.delete_stream(omnibus_bus::ROOMS).await.unwrap();
        omnibus_bus::apply(js, &topology).await.unwrap();
        scene.say("acme", "lobby", "bob", "in the new one").await;
        while !ada.push().await["unsubscribe"].is_object() {}
        let took = began.elapsed();
        let begun = ada.recover("room:lobby", (&old.0, old.1)).await;
        assert!(begun.get("recovered").is_none() && recovered(&begun).is_empty(), "{begun}");
        assert_ne!(position(&begun).0, old.0);
        // The first look is three quarters of 25 seconds away, or more.
        if took < Duration::from_secs(18) {
            return;
        }
    }
    panic!("it takes a look to see it");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offset_that_no_log_can_reach_is_answered_like_any_other() {
    let scene = Scene::new().await;
    let node = scene.node().await;
    scene.join("acme", "lobby", &["ada", "bob"]).await;
    let mut ada = Client::of(&node, "acme", "ada").await;
    let (epoch, _) = seen(&mut ada, "room:lobby").await;
    ada.ask("unsubscribe", json!({ "channel": "room:lobby" })).await;
    let begun = ada.recover("room:lobby", (&epoch, u64::MAX)).await;
    assert!(begun.get("recovered").is_none() && recovered(&begun).is_empty(), "{begun}");
    for (reverse, count) in [(false, 0), (true, 2)] {
        let since = json!({ "epoch": epoch, "offset": u64::MAX });
        let asked = json!({ "channel": "room:lobby", "limit": 10, "since": since, "reverse": reverse });
        let told = ada.ask_again("history", asked).await;
        assert_eq!(told["history"]["publications"].as_array().map(Vec::len), Some(count), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_may_be_longer_from_now_on_is_not_taken_for_whole() {
    let limits = |most| omnibus_bus::Settings { rooms_max_entries: most, ..omnibus_bus::Settings::default() };
    let postgres = Postgres::shared().await.unwrap();
    let scene = Scene::on(Stage::with(Catalogue::omnibus(), limits(5), postgres).await).await;
    let node = scene.node().await;
    // As old as can be, so that the stream as a whole has lost nothing.
    scene.join("acme", "other", &["ada"]).await;
    scene.join("acme", "lobby", &["ada", "bob"]).await;
    let mut ada = Client::of(&node, "acme", "ada").await;
    let at = seen(&mut ada, "room:lobby").await;
    drop(ada);
    for n in 0..8 {
        scene.say("acme", "lobby", "bob", &n.to_string()).await;
    }
    let topology = omnibus_bus::Topology::of(&Catalogue::omnibus(), &limits(1000));
    omnibus_bus::apply(scene.stage.operator.jetstream(), &topology).await.unwrap();
    let mut ada = Client::of(&node, "acme", "ada").await;
    let begun = ada.recover("room:lobby", (&at.0, at.1)).await;
    assert!(begun.get("recovered").is_none() && recovered(&begun).is_empty(), "{begun}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_is_read_backwards_from_its_end_however_long_it_is() {
    let limits = omnibus_bus::Settings { rooms_max_entries: 5000, ..omnibus_bus::Settings::default() };
    let postgres = Postgres::shared().await.unwrap();
    let scene = Scene::on(Stage::with(Catalogue::omnibus(), limits, postgres).await).await;
    let node = scene.node().await;
    for room in ["lobby", "other"] {
        scene.join("acme", room, &["ada", "bob"]).await;
    }
    let mut ada = Client::of(&node, "acme", "ada").await;
    ada.subscribe("room:lobby").await;
    let mut said = Vec::new();
    for part in 0..4 {
        let posting = scene.stage.backlog("acme", 450, |n| message("lobby", "bob", &format!("{part} {n}")));
        // Others talk too, more and less at times.
        let others = scene.stage.backlog("acme", 100 * part, |n| message("other", "bob", &n.to_string()));
        tokio::join!(posting, others);
        for _ in 0..450 {
            let (entry, offset) = ada.published("message").await;
            said.push((entry["text"].as_str().unwrap().to_owned(), offset));
        }
    }
    said.reverse();
    // The newest, some from the middle, and the last page, on which both joins stand too.
    for (from, limit, count) in [(0, 3, 3), (700, 200, 200), (1795, 100, 7)] {
        let mut asked = json!({ "channel": "room:lobby", "limit": limit, "reverse": true });
        if from > 0 {
            asked["since"] = json!({ "offset": said[from - 1].1 });
        }
        let told = ada.ask_again("history", asked).await;
        let told = told["history"]["publications"].as_array().unwrap().clone();
        assert_eq!(told.len(), count);
        for (told, (text, offset)) in told.iter().zip(&said[from..]) {
            assert_eq!((&told["data"]["text"], &told["offset"]), (&json!(text), &json!(offset)));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_missed_comes_in_one_piece_however_large_the_queue_is_set() {
    let scene = Scene::new().await;
    let node = scene.node_with(|settings| settings.websocket_queue_bytes = 8 * 1024 * 1024).await;
    scene.join("acme", "lobby", &["ada", "bob"]).await;
    let (mut ada, mut bob) = (Client::of(&node, "acme", "ada").await, Client::of(&node, "acme", "bob").await);
    let (epoch, offset) = seen(&mut ada, "room:lobby").await;
    drop(ada);
    bob.subscribe("room:lobby").await;
    let (text, count) = ("x".repeat(7900), 300);
    scene.stage.backlog("acme", count, |n| message("lobby", "bob", &format!("{n} {text}"))).await;
    let wanted = bob.texts(count).await;
    let mut ada = Client::of(&node, "acme", "ada").await;
    let begun = ada.recover("room:lobby", (&epoch, offset)).await;
    assert_eq!(begun["recovered"], true);
    assert!(recovered(&begun) == wanted, "{} of {count}", recovered(&begun).len());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_missed_more_than_is_handed_out_at_once_is_told_so() {
    let scene = Scene::new().await;
    let node = scene.node_with(|settings| settings.websocket_recover = 10).await;
    scene.join("acme", "lobby", &["ada", "bob"]).await;
    let mut ada = Client::of(&node, "acme", "ada").await;
    let (epoch, offset) = seen(&mut ada, "room:lobby").await;
    drop(ada);
    for n in 0..11 {
        scene.say("acme", "lobby", "bob", &n.to_string()).await;
    }
    let mut ada = Client::of(&node, "acme", "ada").await;
    let begun = ada.recover("room:lobby", (&epoch, offset)).await;
    assert!(begun.get("recovered").is_none() && recovered(&begun).is_empty(), "{begun}");
    ada.ask("unsubscribe", serde_json::json!({ "channel": "room:lobby" })).await;
    let begun = ada.recover("room:lobby", (&epoch, offset + 1)).await;
    assert_eq!(recovered(&begun).len(), 10, "{begun}");
}
