//! SendGrid's `POST /v3/mail/send`, as strict as the original: what it would refuse, this refuses.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

pub(crate) const KEY: &str = "SG.test-key";

/// Headers that SendGrid writes itself.
const RESERVED: &[&str] = &[
    "x-sg-id",
    "x-sg-eid",
    "received",
    "dkim-signature",
    "content-type",
    "content-transfer-encoding",
    "to",
    "from",
    "subject",
    "reply-to",
    "cc",
    "bcc",
];

/// What the next requests get instead of being judged.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Mood {
    /// An answer without looking.
    Answers(u16),
    /// The mail is taken, and nothing is answered.
    Silent,
}

#[derive(Clone, Default)]
struct Inner {
    taken: Arc<Mutex<Vec<Value>>>,
    moods: Arc<Mutex<Vec<Mood>>>,
}

pub(crate) struct FakeSendGrid {
    pub(crate) url: String,
    inner: Inner,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for FakeSendGrid {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FakeSendGrid {
    pub(crate) async fn start(moods: &[Mood]) -> Self {
        let inner = Inner { moods: Arc::new(Mutex::new(moods.iter().rev().copied().collect())), ..Inner::default() };
        let app = Router::new().route("/v3/mail/send", post(send)).with_state(inner.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        FakeSendGrid { url, inner, task }
    }

    /// The requests that were taken.
    pub(crate) fn taken(&self) -> Vec<Value> {
        self.inner.taken.lock().unwrap().clone()
    }
}

async fn send(State(inner): State<Inner>, headers: HeaderMap, body: Bytes) -> Response {
    let mood = inner.moods.lock().unwrap().pop();
    match mood {
        Some(Mood::Answers(status)) => {
            return refuse(StatusCode::from_u16(status).unwrap(), "in a mood", None);
        }
        Some(Mood::Silent) => {
            inner.taken.lock().unwrap().push(serde_json::from_slice(&body).unwrap());
            return std::future::pending().await;
        }
        None => {}
    }
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if header("authorization") != format!("Bearer {KEY}") {
        let words = "The provided authorization grant is invalid, expired, or revoked";
        return refuse(StatusCode::UNAUTHORIZED, words, None);
    }
    if header("content-type") != "application/json" {
        return refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Content-Type should be application/json.", None);
    }
    let Ok(request) = serde_json::from_slice::<Value>(&body) else {
        return refuse(StatusCode::BAD_REQUEST, "Bad Request", None);
    };
    if let Err((field, words)) = judge(&request) {
        return refuse(StatusCode::BAD_REQUEST, &words, Some(&field));
    }
    let mut taken = inner.taken.lock().unwrap();
    taken.push(request);
    (StatusCode::ACCEPTED, [("X-Message-Id", format!("fake-{}", taken.len()))]).into_response()
}

fn refuse(status: StatusCode, message: &str, field: Option<&str>) -> Response {
    let body = json!({ "errors": [{ "message": message, "field": field, "help": null }], "id": "fake" });
    (status, axum::Json(body)).into_response()
}

type Wrong = (String, String);

fn wrong<T>(field: &str, words: &str) -> Result<T, Wrong> {
    Err((field.to_owned(), words.to_owned()))
}

fn only(value: &Value, known: &[&str], at: &str) -> Result<(), Wrong> {
    let Some(fields) = value.as_object() else { return wrong(at, "must be an object") };
    match fields.keys().find(|name| !known.contains(&name.as_str())) {
        Some(name) => wrong(&format!("{at}.{name}"), "Additional property is not allowed"),
        None => Ok(()),
    }
}

fn judge(request: &Value) -> Result<(), Wrong> {
    let known = [
        "personalizations",
        "from",
        "reply_to",
        "subject",
        "content",
        "attachments",
        "headers",
        "custom_args",
        "categories",
        "send_at",
        "asm",
        "mail_settings",
        "tracking_settings",
    ];
    only(request, &known, "")?;
    let list = |name: &str| request[name].as_array().cloned().unwrap_or_default();
    let personalizations = list("personalizations");
    if personalizations.is_empty() || personalizations.len() > 1000 {
        return wrong("personalizations", "between 1 and 1000 are required");
    }
    let mut seen = HashSet::new();
    for (n, one) in personalizations.iter().enumerate() {
        let at = format!("personalizations.{n}");
        only(one, &["to", "cc", "bcc", "subject", "headers", "substitutions", "custom_args", "send_at"], &at)?;
        if one["to"].as_array().is_none_or(Vec::is_empty) {
            return wrong(&format!("{at}.to"), "The to array is required and must have at least one email object.");
        }
        for kind in ["to", "cc", "bcc"] {
            let Some(given) = one.get(kind) else { continue };
            let Some(addresses) = given.as_array().filter(|addresses| !addresses.is_empty()) else {
                return wrong(&format!("{at}.{kind}"), "must not be empty");
            };
            for address in addresses {
                only(address, &["email", "name"], &format!("{at}.{kind}"))?;
                let Some(email) = address["email"].as_str().filter(|email| email.contains('@')) else {
                    return wrong(&format!("{at}.{kind}.email"), "Does not contain a valid address.");
                };
                if !seen.insert(email.to_lowercase()) {
                    let words =
                        "Each email address in the personalization block should be unique between to, cc, and bcc.";
                    return wrong(&at, words);
                }
            }
        }
    }
    if seen.len() > 1000 {
        return wrong("personalizations", "no more than 1000 recipients in all");
    }
    only(&request["from"], &["email", "name"], "from")?;
    if request["from"]["email"].as_str().is_none_or(str::is_empty) {
        return wrong("from.email", "The from email does not contain a valid address.");
    }
    if request["subject"].as_str().is_none_or(str::is_empty) {
        return wrong("subject", "The subject is required.");
    }
    contents(&list("content"))?;
    for (name, value) in request["headers"].as_object().into_iter().flatten() {
        if RESERVED.contains(&name.to_lowercase().as_str()) || !value.is_string() {
            return wrong(&format!("headers.{name}"), "The header is reserved or no text.");
        }
    }
    let custom = serde_json::to_string(&request["custom_args"]).unwrap();
    let texts = request["custom_args"].as_object().into_iter().flatten().all(|(_, value)| value.is_string());
    if custom.len() >= 10_000 || !texts {
        return wrong("custom_args", "must be texts of less than 10000 bytes");
    }
    files(&list("attachments"))
}

fn contents(contents: &[Value]) -> Result<(), Wrong> {
    if contents.is_empty() {
        return wrong("content", "Unless a valid template_id is provided, the content parameter is required.");
    }
    let order = ["text/plain", "text/x-amp-html", "text/html"];
    let kinds: Vec<_> = contents.iter().map(|one| order.iter().position(|kind| one["type"] == *kind)).collect();
    if kinds.iter().any(Option::is_none) || !kinds.is_sorted() {
        return wrong("content", "text/plain must be first, followed by text/x-amp-html, then text/html");
    }
    for one in contents {
        only(one, &["type", "value"], "content")?;
        if one["value"].as_str().is_none_or(str::is_empty) {
            return wrong("content.value", "must be a string at least one character in length");
        }
    }
    Ok(())
}

fn files(files: &[Value]) -> Result<(), Wrong> {
    for file in files {
        only(file, &["content", "type", "filename", "disposition", "content_id"], "attachments")?;
        let decoded = STANDARD.decode(file["content"].as_str().unwrap_or("no text!"));
        if decoded.is_err() || file["content"] == "" || file["filename"].as_str().is_none_or(str::is_empty) {
            return wrong("attachments", "The attachment content must be base64 encoded, with a filename.");
        }
        let inline = file["disposition"] == "inline";
        if !inline && file["disposition"] != "attachment" || inline != file["content_id"].is_string() {
            return wrong("attachments.disposition", "inline wants a content_id, attachment none");
        }
    }
    Ok(())
}

#[test]
fn the_fake_refuses_what_sendgrid_refuses() {
    let good = || {
        json!({
            "personalizations": [{ "to": [{ "email": "a@example.com" }] }],
            "from": { "email": "b@example.com" }, "subject": "Hi", "content": [{ "type": "text/plain", "value": "x" }],
        })
    };
    assert_eq!(judge(&good()), Ok(()));
    let many: Vec<_> = (0..1001).map(|n| json!({ "email": format!("r{n}@example.com") })).collect();
    for (pointer, value) in [
        ("/personalizations", json!([])),
        ("/personalizations/0/to", json!([])),
        ("/personalizations/0/to", json!(many)),
        ("/personalizations/0/to", json!([{ "email": "a@example.com" }, { "email": "A@example.com" }])),
        (
            "/personalizations",
            json!([{ "to": [{ "email": "a@example.com" }] }, { "to": [{ "email": "a@example.com" }] }]),
        ),
        ("/content", json!([{ "type": "text/html", "value": "x" }, { "type": "text/plain", "value": "x" }])),
        ("/content/0/value", json!("")),
        ("/subject", json!("")),
        ("/from", json!({})),
    ] {
        let mut bad = good();
        *bad.pointer_mut(pointer).unwrap() = value;
        assert!(judge(&bad).is_err(), "{pointer}: {bad:.200}");
    }
    for (name, value) in [
        ("headers", json!({ "Subject": "x" })),
        ("headers", json!({ "X-Number": 1 })),
        ("attachments", json!([{ "content": "", "filename": "a.pdf", "disposition": "attachment" }])),
        ("attachments", json!([{ "content": "aGk=", "filename": "a.png", "disposition": "inline" }])),
        ("custom_args", json!({ "number": 1 })),
        ("unknown", json!(1)),
    ] {
        let mut bad = good();
        bad[name] = value;
        assert!(judge(&bad).is_err(), "{bad}");
    }
}
