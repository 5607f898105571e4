//! Many who come to a node at the same time, as after the death of another.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use omnibus_schemas::presence::{Membership, Role};

use crate::scene::{Client, PATIENCE, Scene, position, recovered};

#[tokio::test(flavor = "multi_thread")]
async fn each_of_many_gets_what_he_himself_has_missed_and_is_told_no_less_for_anothers_sake() {
    const MOST: usize = 10;
    const SAID: usize = 30;
    let scene = Scene::new().await;
    let node = scene.node_with(|settings| settings.websocket_recover = MOST).await;
    let users: Vec<String> = (0..2 * SAID).map(|n| format!("u{n}")).collect();
    scene.join("acme", "lobby", &users.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let mut first = Client::of(&node, "acme", "u0").await;
    let (epoch, _) = position(&first.subscribe("room:lobby").await);
    let (mut texts, mut offsets) = (vec![], vec![]);
    for n in 0..SAID {
        scene.say("acme", "lobby", "u0", &n.to_string()).await;
        let (said, offset) = first.published("message").await;
        texts.push(said["text"].as_str().unwrap().to_owned());
        offsets.push(offset);
    }
    let mut clients = Vec::new();
    for user in &users {
        clients.push(Client::of(&node, "acme", user).await);
    }
    // Every second one says that he has seen what nobody can have seen.
    let coming = clients.iter_mut().enumerate().map(|(n, client)| {
        let seen = (n % 2 == 0).then_some(n / 2);
        let offset = seen.map_or(1_000_000, |seen| offsets[seen]);
        let epoch = epoch.as_str();
        async move { (seen, client.recover("room:lobby", (epoch, offset)).await) }
    });
    for (seen, begun) in join_all(coming).await {
        let missed = seen.map(|seen| &texts[seen + 1..]).filter(|missed| missed.len() <= MOST);
        assert_eq!(begun["recovered"] == true, missed.is_some(), "{seen:?}: {begun}");
        assert_eq!(recovered(&begun), missed.unwrap_or_default(), "{seen:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offset_that_was_never_reached_is_trusted_no_more_when_others_have_just_recovered() {
    let scene = Scene::new().await;
    let node = scene.node().await;
    scene.join("acme", "lobby", &["ada", "bob"]).await;
    let mut ada = Client::of(&node, "acme", "ada").await;
    let (epoch, offset) = position(&ada.subscribe("room:lobby").await);
    scene.say("acme", "lobby", "bob", "missed").await;
    ada.texts(1).await;
    ada.ask("unsubscribe", serde_json::json!({ "channel": "room:lobby" })).await;
    // What was read for her is still at hand when Bob comes.
    assert_eq!(recovered(&ada.recover("room:lobby", (&epoch, offset)).await), ["missed"]);
    let mut bob = Client::of(&node, "acme", "bob").await;
    let begun = bob.recover("room:lobby", (&epoch, 1_000_000)).await;
    assert!(begun.get("recovered").is_none() && recovered(&begun).is_empty(), "{begun}");
    scene.say("acme", "lobby", "ada", "live").await;
    assert_eq!(bob.texts(1).await, ["live"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_with_many_others_waits_for_his_turn_to_be_asked_about_and_is_let_in() {
    let scene = Scene::new().await;
    let node = scene.node().await;
    let Scene { stage, presence } = scene;
    presence.stop().await;
    // Who knows the members hears all the questions first, and then answers them one by one.
    let slow = stage.connect("presence").await;
    let mut questions = slow.client().subscribe("qry.presence.seat").await.unwrap();
    slow.client().flush().await.unwrap();
    let member = serde_json::to_vec(&Membership { role: Role::Member }).unwrap();
    let mut clients = Vec::new();
    for n in 0..100 {
        clients.push(Client::of(&node, "acme", &format!("u{n}")).await);
    }
    let most = AtomicUsize::new(0);
    let answering = async {
        let (mut waiting, mut quiet) = (VecDeque::new(), Duration::from_millis(500));
        // Unless two are out before one is answered, nothing goes on.
        while waiting.len() < 2 {
            waiting.push_back(questions.next().await.unwrap());
        }
        loop {
            while let Ok(Some(question)) = tokio::time::timeout(quiet, questions.next()).await {
                waiting.push_back(question);
            }
            most.fetch_max(waiting.len(), Ordering::SeqCst);
            quiet = Duration::from_millis(2);
            if let Some(reply) = waiting.pop_front().and_then(|question| question.reply) {
                slow.client().publish(reply, member.clone().into()).await.unwrap();
            }
        }
    };
    let coming = join_all(clients.iter_mut().map(|client| client.subscribe("room:lobby")));
    tokio::select! {
        all = tokio::time::timeout(PATIENCE, coming) => assert_eq!(all.expect("all are let in").len(), 100),
        () = answering => {}
    }
    let most = most.into_inner();
    assert!((2..=64).contains(&most), "{most} questions were out at the same time");
}
