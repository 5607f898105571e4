//! What goes in comes out on the bus, and nothing else does.

use omnibus_schemas::mailer::SendEmail;
use omnibus_schemas::{Command, Encoding, body, headers};
use serde_json::{Value, json};

use crate::stage::{Stage, problem};

const SEND: &str = "/api/v1/email/send";

#[tokio::test]
async fn an_accepted_command_stands_on_the_bus_with_its_envelope() {
    let stage = Stage::new().await;
    let (key, record) = stage.key("acme", &["email:send"]).await;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let response = stage
        .post(SEND)
        .bearer_auth(key.expose())
        .header("traceparent", trace)
        .json(&SendEmail::example())
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 202);
    let location = response.headers()["location"].to_str().unwrap().to_owned();
    let accepted: Value = response.json().await.unwrap();
    let id = accepted["id"].as_str().unwrap();
    assert_eq!(accepted["status_url"], location);
    assert_eq!(location, format!("/api/v1/email/{id}/status"));

    let message = stage.command("mailer", 1).await;
    assert_eq!(message.subject.as_str(), "cmd.mailer.default.send_email.acme");
    let header = |name: &str| message.headers.get(name).unwrap().as_str().to_owned();
    for (name, value) in [
        (headers::SPEC_VERSION, "1.0"),
        (headers::ID, id),
        (headers::MSG_ID, id),
        (headers::CORRELATION, id),
        (headers::TYPE, "omnibus.mailer.send_email.v1"),
        (headers::SOURCE, "omnibus/ingest"),
        (headers::TENANT, "acme"),
        (headers::ACTOR, &format!("key:{}", record.id)),
        (headers::CONTENT_TYPE, "application/msgpack"),
    ] {
        assert_eq!(header(name), value, "{name}");
    }
    assert!(header(headers::TRACEPARENT).starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"));
    assert_ne!(header(headers::TRACEPARENT), trace);
    let email: SendEmail = body::decode(Encoding::MessagePack, &message.payload).unwrap();
    assert_eq!(email, SendEmail::example());
}

#[tokio::test]
async fn the_first_body_that_people_try_works_with_and_without_a_content_type_and_as_messagepack() {
    let stage = Stage::new().await;
    let (key, _) = stage.key("acme", &["*"]).await;
    let text = r#"{"to": ["test@example.com"], "subject": "Test", "body": "Hello"}"#;
    let post = || stage.post(SEND).header("x-api-key", key.expose());
    assert_eq!(post().body(text).send().await.unwrap().status(), 202);
    let typed = post().header("content-type", "application/json; charset=utf-8").body(text);
    assert_eq!(typed.send().await.unwrap().status(), 202);
    let packed = body::encode(Encoding::MessagePack, &SendEmail::example());
    let packed = post().header("content-type", "application/msgpack").body(packed);
    assert_eq!(packed.send().await.unwrap().status(), 202);
    let other = post().header("content-type", "text/plain").body(text).send().await.unwrap();
    assert_eq!(problem(other).await.1, "unsupported_media_type");
    assert_eq!(stage.stored("mailer").await, 3);
}

#[tokio::test]
async fn bad_input_is_answered_in_words_and_changes_nothing() {
    let stage = Stage::new().await;
    let (key, _) = stage.key("acme", &["*"]).await;
    let good = || json!({"to": ["a@example.com"], "subject": "x", "body": "y"});
    let with = |field: &str, value: Value| {
        let mut body = good();
        body[field] = value;
        body.to_string().into_bytes()
    };
    let (json_, pack) = ("application/json", "application/msgpack");
    let deep = |byte: u8, n: usize| vec![byte; n];
    let cases: Vec<(&str, Vec<u8>, u16, &str, &str)> = vec![
        (json_, b"{\"to\": [".to_vec(), 400, "malformed", ""),
        (json_, b"{} {}".to_vec(), 400, "malformed", ""),
        (json_, b"\xff\xfe".to_vec(), 400, "malformed", ""),
        (json_, deep(b'[', 100_000), 400, "malformed", ""),
        (pack, b"\xc1".to_vec(), 400, "malformed", ""),
        (pack, b"\x81\xa2to".to_vec(), 400, "malformed", ""),
        (pack, deep(0x91, 500_000), 400, "malformed", ""),
        (pack, b"\xdf\xff\xff\xff\xff".to_vec(), 400, "malformed", ""),
        (json_, b"[]".to_vec(), 422, "invalid", ""),
        (json_, b"{}".to_vec(), 422, "invalid", ""),
        (json_, b"".to_vec(), 422, "invalid", ""),
        (json_, with("subjcet", "x".into()), 422, "invalid", "/subjcet"),
        (json_, with("tenant", "globex".into()), 422, "invalid", "/tenant"),
        (json_, with("to", json!([1])), 422, "invalid", "/to/0"),
        (json_, with("to", json!(["no address"])), 422, "invalid", "/to/0"),
        (json_, with("subject", "a\r\nBcc: x@example.com".into()), 422, "invalid", "/subject"),
        (json_, with("headers", json!({"X-A": "1\r\nBcc: b@c.de"})), 422, "invalid", "/headers"),
    ];
    for (kind, bytes, status, code, pointer) in cases {
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned();
        let request = stage.post(SEND).bearer_auth(key.expose()).header("content-type", kind).body(bytes);
        let (is, said, document) = problem(request.send().await.unwrap()).await;
        assert_eq!((is, said.as_str()), (status, code), "{shown}: {document}");
        if !pointer.is_empty() {
            assert!(document["faults"].as_array().unwrap().iter().any(|f| f["pointer"] == pointer), "{document}");
        }
    }
    assert_eq!(stage.stored("mailer").await, 0);
}

#[tokio::test]
async fn an_oversized_body_is_refused_whether_it_says_so_or_not() {
    let stage = Stage::with(|door, _| door.body_max_bytes = 1000).await;
    let (key, _) = stage.key("acme", &["*"]).await;
    let body = json!({"to": ["a@example.com"], "subject": "x", "body": "y".repeat(2000)}).to_string();
    let said = stage.post(SEND).bearer_auth(key.expose()).body(body.clone()).send().await.unwrap();
    assert_eq!(problem(said).await.0, 413);
    // Without a length: by hand, in chunks.
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut raw = tokio::net::TcpStream::connect(stage.url.trim_start_matches("http://")).await.unwrap();
    let head = format!(
        "POST {SEND} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        key.expose(),
        body.len()
    );
    raw.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    raw.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(answer.contains("\"too_large\""), "{answer}");
    assert_eq!(stage.stored("mailer").await, 0);
}

#[tokio::test]
async fn a_body_that_never_ends_is_given_up() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let stage = Stage::with(|door, _| door.body_timeout_seconds = 1).await;
    let (key, _) = stage.key("acme", &["*"]).await;
    let mut raw = tokio::net::TcpStream::connect(stage.url.trim_start_matches("http://")).await.unwrap();
    let head = format!(
        "POST {SEND} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-length: 100\r\n\r\n{{",
        key.expose()
    );
    raw.write_all(head.as_bytes()).await.unwrap();
    // Head and body may come one after the other.
    let (mut answer, mut read) = (Vec::new(), 1);
    while read > 0 && !String::from_utf8_lossy(&answer).contains("slow_body") {
        read = raw.read_buf(&mut answer).await.unwrap();
    }
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("slow_body"), "{answer}");
}

#[tokio::test]
async fn path_and_body_together_are_one_command() {
    let stage = Stage::new().await;
    let (key, _) = stage.key("acme", &["greeter:operate"]).await;
    let id = "01979f6e-5a00-7000-8000-000000000001";
    let post = |body: Value| stage.post(&format!("/api/v1/greeter/held/{id}")).bearer_auth(key.expose()).json(&body);
    let good = json!({"resolution": "happened", "note": "seen"});
    assert_eq!(post(good.clone()).send().await.unwrap().status(), 202);
    let stored = stage.command("greeter", 1).await;
    let value = body::to_json(Encoding::MessagePack, &stored.payload).unwrap();
    assert_eq!(value, json!({"command_id": id, "resolution": "happened", "note": "seen"}));

    let mut same = good.clone();
    same["command_id"] = id.into();
    assert_eq!(post(same).send().await.unwrap().status(), 202);
    let mut other = good;
    other["command_id"] = "01979f6e-5a00-7000-8000-000000000002".into();
    let (status, _, document) = problem(post(other).send().await.unwrap()).await;
    assert_eq!((status, &document["faults"][0]["pointer"]), (422, &json!("/command_id")));

    let packed = body::encode(Encoding::MessagePack, &json!({"resolution": "drop", "note": "x"}));
    let packed = stage
        .post(&format!("/api/v1/greeter/held/{id}"))
        .bearer_auth(key.expose())
        .header("content-type", "application/msgpack")
        .body(packed);
    assert_eq!(packed.send().await.unwrap().status(), 202);
    let nonsense = stage.post("/api/v1/greeter/held/nonsense").bearer_auth(key.expose());
    let nonsense = nonsense.json(&json!({"resolution": "drop", "note": "x"})).send().await.unwrap();
    assert_eq!(problem(nonsense).await.2["faults"][0]["pointer"], "/command_id");
}

#[tokio::test]
async fn a_query_string_on_a_command_is_refused() {
    let stage = Stage::new().await;
    let (key, _) = stage.key("acme", &["*"]).await;
    let response = stage.post("/api/v1/greetings?tenant=globex").bearer_auth(key.expose());
    let response = response.json(&json!({"name": "Ada"})).send().await.unwrap();
    assert_eq!(problem(response).await.1, "invalid");
    assert_eq!(stage.stored("greeter").await, 0);
}
