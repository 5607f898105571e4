//! Rooms by HTTP, and the files in them.

use omnibus_presence::Settings;
use omnibus_runtime::Visit;
use omnibus_runtime::testing::{Running, Stage};
use omnibus_schemas::Catalogue;
use omnibus_schemas::presence::FileContent;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::opened::Opened;

const ROOMS: &str = "/api/v1/websocket";

async fn scene() -> (Stage, Running, Opened) {
    let stage = Stage::new(Catalogue::omnibus()).await;
    let running = stage.run(omnibus_presence::worker(Settings::defaults()).unwrap()).await;
    // The last thing that the worker serves: the door would say that nobody does.
    let nothing = Visit { params: [("link".into(), "none".into())].into(), ..Visit::default() };
    assert_eq!(stage.visit::<FileContent>(&nothing).await.unwrap_err().0, 404);
    let door = Opened::on(&stage).await;
    (stage, running, door)
}

impl Opened {
    /// A command, and the event that it has come to.
    async fn done(&self, method: Method, path: &str, body: Value) -> Value {
        let sent = self.ask(method, &format!("{ROOMS}{path}")).header("prefer", "wait=30").json(&body);
        let answer = sent.send().await.unwrap();
        let (status, answer) = (answer.status(), answer.json::<Value>().await.unwrap());
        assert_eq!(status, StatusCode::OK, "{path}: {answer}");
        answer
    }

    async fn get(&self, path: &str) -> Value {
        let answer = self.ask(Method::GET, &format!("{ROOMS}{path}")).send().await.unwrap();
        let (status, answer) = (answer.status(), answer.json::<Value>().await.unwrap());
        assert_eq!(status, StatusCode::OK, "{path}: {answer}");
        answer
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rooms_are_joined_spoken_in_read_and_left_by_http_alone() {
    let (_stage, _running, door) = scene().await;
    for user in ["ada", "bob"] {
        let joined = door.done(Method::POST, "/rooms/lobby/join", json!({ "user": user })).await;
        assert_eq!(joined["event"]["data"]["user"], user, "{joined}");
    }
    let said = door.done(Method::POST, "/rooms/lobby/message", json!({ "user": "ada", "text": "Helo" })).await;
    let message = said["event"]["data"]["message_id"].as_str().unwrap().to_owned();
    let path = format!("/rooms/lobby/messages/{message}");
    door.done(Method::PUT, &path, json!({ "user": "ada", "text": "Hello" })).await;
    let read = door.done(Method::POST, "/rooms/lobby/read", json!({ "user": "bob", "revision": 3 })).await;
    assert_eq!(read["event"]["data"]["revision"], 3, "{read}");
    assert_eq!(door.get("/rooms/lobby/history").await["messages"][0]["text"], "Hello");
    let users = door.get("/rooms/lobby/users").await;
    let names: Vec<_> = users["users"].as_array().unwrap().iter().map(|member| &member["user"]).collect();
    assert_eq!(names, ["ada", "bob"], "{users}");
    assert_eq!(door.get("/online").await["users"], json!([]), "nobody has a socket");
    let stats = door.get("/stats").await;
    assert_eq!((&stats["rooms"], &stats["members"], &stats["messages"]), (&json!(1), &json!(2), &json!(1)));
    for (to, id) in [("room", Some("lobby")), ("user", Some("ada")), ("tenant", None)] {
        let mut notice = json!({ "to": to, "data": { "n": 1 } });
        if let Some(id) = id {
            notice["id"] = id.into();
        }
        assert_eq!(door.done(Method::POST, "/broadcast", notice).await["event"]["data"]["to"], to);
    }
    door.done(Method::DELETE, &format!("{path}?user=ada"), json!({})).await;
    assert_eq!(door.get("/stats").await["messages"], 0);
    door.done(Method::POST, "/rooms/lobby/leave", json!({ "user": "bob" })).await;
    let late = door.ask(Method::POST, &format!("{ROOMS}/rooms/lobby/message")).header("prefer", "wait=30");
    let refused = late.json(&json!({ "user": "bob", "text": "Too late" })).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_fetched_by_its_link_without_a_credential_as_long_as_a_message_names_it() {
    let (_stage, _running, door) = scene().await;
    door.done(Method::POST, "/rooms/lobby/join", json!({ "user": "ada" })).await;
    // More than one message of the bus, and nothing that a browser should run.
    let bytes: Vec<u8> = b"<script>alert(1)</script>".iter().copied().cycle().take(300_000).collect();
    let sent = door.ask(Method::POST, &format!("{ROOMS}/rooms/lobby/files?user=ada&filename=plan.html"));
    let sent = sent.header("content-type", "text/html").header("prefer", "wait=30").body(bytes.clone());
    let answer = sent.send().await.unwrap();
    let (status, shared) = (answer.status(), answer.json::<Value>().await.unwrap());
    assert_eq!((status, &shared["event"]["data"]["size"]), (StatusCode::OK, &json!(300_000)), "{shared}");
    let file = shared["event"]["data"]["file_id"].as_str().unwrap();
    let message = json!({ "user": "ada", "text": "See this", "attachments": [file] });
    let said = door.done(Method::POST, "/rooms/lobby/message", message).await;
    let message = said["event"]["data"]["message_id"].as_str().unwrap();

    let given = door.get(&format!("/rooms/lobby/files/{file}")).await;
    assert_eq!((&given["filename"], &given["content_type"]), (&json!("plan.html"), &json!("text/html")));
    let link = given["path"].as_str().unwrap();
    let fetched = door.visit(Method::GET, link).send().await.unwrap();
    assert_eq!(fetched.status(), StatusCode::OK);
    for (name, value) in [
        ("content-type", "application/octet-stream"),
        ("content-length", "300000"),
        ("content-disposition", "attachment; filename*=UTF-8''plan.html"),
        ("content-security-policy", "sandbox; default-src 'none'"),
        ("x-content-type-options", "nosniff"),
        ("cache-control", "private, max-age=300"),
        ("referrer-policy", "no-referrer"),
    ] {
        let all: Vec<_> = fetched.headers().get_all(name).iter().collect();
        assert_eq!(all, [value], "{name}");
    }
    assert!(fetched.bytes().await.unwrap() == bytes, "what was sent is what comes");

    // Nobody signed these; and it is there to be read alone.
    for forged in [format!("{link}x"), link.replacen('.', "", 1), "/room-files/none".to_owned()] {
        let answer = door.visit(Method::GET, &forged).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{forged}");
        assert_eq!(answer.json::<Value>().await.unwrap()["code"], "not_found", "{forged}");
    }
    let written = door.visit(Method::POST, link).send().await.unwrap();
    assert_eq!(written.status(), StatusCode::METHOD_NOT_ALLOWED);

    door.done(Method::DELETE, &format!("/rooms/lobby/messages/{message}?user=ada"), json!({})).await;
    assert_eq!(door.visit(Method::GET, link).send().await.unwrap().status(), StatusCode::NOT_FOUND);
}
