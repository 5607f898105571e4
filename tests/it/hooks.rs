//! Plain HTTP that a domain answers itself.

use std::sync::Arc;

use omnibus_runtime::Visit;
use omnibus_runtime::testing::Stage;
use omnibus_tests::gallery::{self, Notes};
use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::opened::Opened;

async fn scene() -> (Stage, omnibus_runtime::testing::Running, Opened) {
    let stage = Stage::new(gallery::catalogue()).await;
    let running = stage.run(gallery::worker(&Arc::default())).await;
    // The kit waits until the worker serves; the door would say that nobody does.
    stage
        .visit::<Notes>(&Visit { params: [("tenant".into(), "acme".into())].into(), ..Visit::default() })
        .await
        .unwrap();
    let opened = Opened::on(&stage).await;
    (stage, running, opened)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_gets_the_request_as_it_came_without_a_credential() {
    let (_stage, _running, door) = scene().await;
    let visit = door
        .visit(Method::GET, "/gallery/acme/where?a=1&b=%20")
        .header("host", "Gallery.Example:99")
        .header("x-forwarded-host", "evil.example")
        .header("x-forwarded-for", "203.0.113.9")
        .header("authorization", "Bearer secret");
    let answer = visit.send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let seen: Value = answer.json().await.unwrap();
    assert_eq!(seen["method"], "GET");
    assert_eq!(seen["path"], "/gallery/acme/where");
    assert_eq!(seen["query"], "a=1&b=%20");
    assert_eq!(seen["params"], serde_json::json!({ "tenant": "acme", "picture": "where" }));
    assert_eq!((seen["host"].as_str(), seen["address"].as_str()), (Some("gallery.example"), Some("127.0.0.1")));
    assert_eq!(seen["headers"], serde_json::json!({}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hooks_commands_are_stored_before_its_reply_and_a_repetition_is_the_same_command() {
    let (stage, _running, door) = scene().await;
    for _ in 0..3 {
        let visit = door.visit(Method::POST, "/gallery/acme/notes").header("x-note-id", "7").body("one\ntwo");
        let answer = visit.send().await.unwrap();
        assert_eq!((answer.status(), answer.text().await.unwrap().as_str()), (StatusCode::ACCEPTED, "noted"));
    }
    let said = |words: &'static str| move |told: &omnibus_runtime::testing::Told| told.data["words"] == words;
    for words in ["one", "two"] {
        let told = stage.event(said(words)).await;
        assert_eq!((told.tenant.as_str(), told.header("ce-actor")), ("acme", Some("gallery")));
    }
    // A last one, so that all before it are through.
    door.visit(Method::POST, "/gallery/acme/notes").header("x-note-id", "8").body("last").send().await.unwrap();
    stage.event(said("last")).await;
    let rows: i64 = sqlx::query_scalar("select count(*) from bus.inbox where outcome = 'succeeded'")
        .fetch_one(&stage.db)
        .await
        .unwrap();
    assert!((3..=4).contains(&rows), "two notes, the last, perhaps the clumsy task's: {rows}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_hook_says_reaches_the_caller_and_what_it_can_not_say_is_a_problem() {
    let (_stage, _running, door) = scene().await;
    let get = |path: &'static str| door.visit(Method::GET, path).send();
    let moved = get("/gallery/acme/moved").await.unwrap();
    assert_eq!((moved.status(), &moved.headers()["location"]), (StatusCode::SEE_OTHER, &"/elsewhere".parse().unwrap()));
    assert_eq!(moved.headers()["cache-control"], "max-age=60");
    for (path, status, code) in [
        ("/gallery/acme/nothing", 404, "not_found"),
        ("/gallery/acme/broken", 500, "worker_failed"),
        ("/gallery/acme/no-such-file", 404, "not_found"),
    ] {
        let answer = get(path).await.unwrap();
        assert_eq!(answer.status(), status, "{path}");
        assert_eq!(answer.json::<Value>().await.unwrap()["code"], code, "{path}");
    }
    let long = door.visit(Method::POST, "/gallery/acme/notes").body("x".repeat(64 * 1024 + 1)).send().await.unwrap();
    assert_eq!(long.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let put = door.visit(Method::PUT, "/gallery/acme/notes").send().await.unwrap();
    assert_eq!(put.status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_whose_command_finds_no_room_says_so_and_is_asked_again() {
    let limits = omnibus_bus::Settings { cmd_max_msgs: Some(1), ..omnibus_bus::Settings::default() };
    let stage =
        Stage::with(gallery::catalogue(), limits, omnibus_runtime::local::Postgres::shared().await.unwrap()).await;
    let _running = stage.run(gallery::worker(&Arc::default())).await;
    let visit = Visit {
        params: [("tenant".into(), "acme".into())].into(),
        body: b"one\ntwo\nthree".to_vec(),
        ..Visit::default()
    };
    let (code, words) = stage.visit::<Notes>(&visit).await.unwrap_err();
    assert_eq!((code, words.as_str()), (503, "the bus took no command"));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_worker_a_hook_is_unavailable() {
    let stage = Stage::new(gallery::catalogue()).await;
    let door = Opened::on(&stage).await;
    let answer = door.visit(Method::GET, "/gallery/acme/where").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.headers().contains_key("retry-after"));
}
