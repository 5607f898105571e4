//! Files that commands bring.

use std::sync::Arc;

use omnibus_runtime::testing::Stage;
use omnibus_schemas::Object;
use omnibus_tests::gallery::{self, HangPicture, PictureHung};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use tokio::io::AsyncReadExt;

use crate::opened::Opened;

const HANG: &str = "/api/v1/gallery/pictures?title=Sunrise";

fn picture(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n * 31 % 251) as u8).collect()
}

async fn files(stage: &Stage) -> usize {
    use futures_util::StreamExt;
    let store = stage.operator.jetstream().get_object_store("uploads").await.unwrap();
    store.list().await.unwrap().count().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_larger_than_a_message_reaches_the_worker_and_is_shown_again() {
    let stage = Stage::new(gallery::catalogue()).await;
    let _running = stage.run(gallery::worker(&Arc::default())).await;
    stage.answers("gallery").await;
    let door = Opened::on(&stage).await;
    let bytes = picture(1_800_000);
    let sent = door.ask(Method::POST, HANG).header("content-type", "image/png; a=b").body(bytes.clone());
    let answer = sent.header("prefer", "wait=30").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let answer: Value = answer.json().await.unwrap();
    let hung: PictureHung = serde_json::from_value(answer["event"]["data"].clone()).unwrap();
    assert_eq!((hung.title.as_str(), hung.object.content_type.as_str()), ("Sunrise", "image/png"));
    assert_eq!((hung.object.size, hung.object.bucket.as_str()), (1_800_000, "uploads"));
    assert!(hung.object.is_of("acme"));

    // As the worker, with the worker's permissions.
    let worker = stage.connect("gallery").await;
    let store = worker.jetstream().get_object_store("uploads").await.unwrap();
    let mut read = Vec::new();
    store.get(&hung.object.name).await.unwrap().read_to_end(&mut read).await.unwrap();
    assert_eq!(read, bytes);
    let digest = store.info(&hung.object.name).await.unwrap().digest.unwrap();
    assert_eq!(digest.len(), "SHA-256=".len() + 44);
    assert_eq!(hung.object.sha256.len(), 64);

    let shown = door.visit(Method::GET, &format!("/gallery/{}", hung.object.name)).send().await.unwrap();
    assert_eq!((shown.status(), &shown.headers()["content-type"]), (StatusCode::OK, &"image/png".parse().unwrap()));
    assert_eq!(shown.bytes().await.unwrap(), bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_leaves_no_file_behind() {
    let stage = Stage::new(gallery::catalogue()).await;
    let door = Opened::on(&stage).await;
    let send = |path: &'static str, kind: &'static str, body: reqwest::Body| {
        door.ask(Method::POST, path).header("content-type", kind).body(body).send()
    };
    let endless = || {
        let chunk: Result<Vec<u8>, std::io::Error> = Ok(picture(64 * 1024));
        let chunks = (0..40).map(|_| chunk.as_ref().map(Clone::clone).map_err(|_| std::io::Error::other("never")));
        reqwest::Body::wrap_stream(futures_util::stream::iter(chunks.collect::<Vec<_>>()))
    };
    for (path, kind, body, status, code) in [
        (HANG, "image/png", picture((2 << 20) + 1).into(), 413, "too_large"),
        (HANG, "image/png", endless(), 413, "too_large"),
        (HANG, "text/html", picture(10).into(), 415, "unsupported_media_type"),
        (HANG, "image/png", "".into(), 400, "malformed"),
        ("/api/v1/gallery/pictures", "image/png", picture(10).into(), 422, "invalid"),
        ("/api/v1/gallery/pictures?title=a&size=1", "image/png", picture(10).into(), 422, "invalid"),
        ("/api/v1/gallery/pictures?title=a&object=b", "image/png", picture(10).into(), 400, "malformed"),
    ] {
        let answer = send(path, kind, body).await.unwrap();
        assert_eq!(answer.status(), status, "{path} {kind}");
        let problem: Value = answer.json().await.unwrap();
        assert_eq!(problem["code"], code, "{path} {kind}: {problem}");
    }
    let stranger = door.visit(Method::POST, HANG).body("x").send().await.unwrap();
    assert_eq!(stranger.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(files(&stage).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotency_key_holds_the_file_too() {
    let stage = Stage::new(gallery::catalogue()).await;
    let _running = stage.run(gallery::worker(&Arc::default())).await;
    let door = Opened::on(&stage).await;
    let send = |bytes: Vec<u8>| async {
        let request = door.ask(Method::POST, HANG).header("content-type", "image/png").header("idempotency-key", "k1");
        let answer = request.body(bytes).send().await.unwrap();
        (answer.status(), answer.json::<Value>().await.unwrap())
    };
    let (first, accepted) = send(picture(100)).await;
    let (second, again) = send(picture(100)).await;
    assert_eq!((first, second), (StatusCode::ACCEPTED, StatusCode::ACCEPTED));
    assert_eq!(accepted["id"], again["id"]);
    let (other, problem) = send(picture(101)).await;
    assert_eq!((other, &problem["code"]), (StatusCode::UNPROCESSABLE_ENTITY, &"idempotency_key_reused".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tenants_file_can_be_named_and_not_used() {
    let stage = Stage::new(gallery::catalogue()).await;
    let _running = stage.run(gallery::worker(&Arc::default())).await;
    let command = HangPicture { title: "Stolen".into(), object: Object::example("globex", "image/png") };
    let id = stage.publish("acme", &command).await;
    let told = stage.outcome(id).await;
    assert_eq!((told.name.as_str(), &told.data["code"]), ("command_rejected", &"foreign_object".into()));
}
