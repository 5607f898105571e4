//! The fake: takes messages as Twilio's Messages API does, counts them, and misbehaves when it is told to.
//!
//! - `POST /_/next` with a list: how the next POSTs go, one after another. `{"delay_ms": 200}`, `{"status": 503}` (not
//!   taken), `{"status": 503, "taken": true}`, `{"code": 21610}` (a 400), `{"lose": true}` (taken, the connection closed
//!   without an answer), `{"late_ms": 500}` (the connection closed at once, taken only after that), `{"hold": true}` (goes
//!   on when `POST /_/release` says so, once for each).
//! - `POST /_/always` with one of these: how every POST goes that no list speaks of.
//! - `GET /_/messages`: what was taken. `GET /_/counts`: how many POSTs came, how many messages were taken.
//! - `POST /_/tell` with `{"sid", "status", "error_code"?, "price"?, "callback": true, "times": 1}`: a message moves on,
//!   and the signed callback goes to where it was asked for; answers with the statuses of the receiver's answers.
//! - `POST /_/inbound` with `{"url", "from", "to", "body", "sid"}`: the same for a text that comes in.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{any, get, post};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::message::{Message, now};
use super::rules;

/// How one POST goes.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Manner {
    delay_ms: u64,
    hold: bool,
    status: Option<u16>,
    code: Option<u32>,
    taken: bool,
    lose: bool,
    late_ms: Option<u64>,
    price: Option<String>,
}

#[derive(Debug)]
struct Fake {
    account: String,
    token: String,
    http: reqwest::Client,
    state: Mutex<Book>,
    released: Notify,
}

#[derive(Debug, Default)]
struct Book {
    posts: u64,
    taken: u64,
    messages: Vec<Message>,
    next: VecDeque<Manner>,
    always: Manner,
}

impl Fake {
    fn book(&self) -> std::sync::MutexGuard<'_, Book> {
        self.state.lock().expect("no panic happens under this lock")
    }

    fn take(&self, fields: &[(String, String)], price: Option<String>) -> Value {
        let find = |name: &str| fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.clone());
        let mut book = self.book();
        book.taken += 1;
        let service = find("MessagingServiceSid");
        let message = Message {
            sid: format!("SM{:032x}", book.taken),
            to: find("To").unwrap_or_default(),
            from: find("From"),
            body: find("Body").unwrap_or_default(),
            status: match (find("SendAt"), &service) {
                (Some(_), _) => "scheduled",
                (None, Some(_)) => "accepted",
                (None, None) => "queued",
            }
            .to_owned(),
            service,
            error_code: None,
            price,
            callback: find("StatusCallback"),
            created: now(),
            sent: None,
        };
        let shown = message.shown(&self.account);
        book.messages.push(message);
        shown
    }
}

/// Serves until the listener fails.
pub(crate) async fn serve(listener: tokio::net::TcpListener, account: String, token: String) -> std::io::Result<()> {
    let http = reqwest::Client::builder().no_proxy();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = http.build().expect("no setting of this client can fail");
    let fake = Arc::new(Fake { account, token, http, state: Mutex::default(), released: Notify::new() });
    let router = Router::new()
        .route("/2010-04-01/Accounts/{account}/Messages.json", any(messages))
        .route("/2010-04-01/Accounts/{account}/Messages/{sid}", any(message))
        .route("/_/next", post(next))
        .route("/_/always", post(always))
        .route("/_/release", post(release))
        .route("/_/messages", get(taken))
        .route("/_/counts", get(counts))
        .route("/_/tell", post(tell))
        .route("/_/inbound", post(inbound))
        .with_state(fake);
    axum::serve(listener, router).await
}

async fn messages(
    State(fake): State<Arc<Fake>>,
    Path(account): Path<String>,
    method: Method,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
    body: Bytes,
) -> Response {
    if account != fake.account || !rules::authenticated(&headers, &fake.account, &fake.token) {
        return rules::error(401, 20003, "Authenticate");
    }
    match method {
        Method::POST => create(fake, &method, &headers, body).await,
        Method::GET => list(&fake, query.unwrap_or_default().as_bytes()),
        _ => rules::error(405, 20004, "Method not allowed"),
    }
}

async fn create(fake: Arc<Fake>, method: &Method, headers: &HeaderMap, body: Bytes) -> Response {
    let manner = {
        let mut book = fake.book();
        book.posts += 1;
        book.next.pop_front().unwrap_or_else(|| book.always.clone())
    };
    tokio::time::sleep(Duration::from_millis(manner.delay_ms)).await;
    if manner.hold {
        fake.released.notified().await;
    }
    let fields = match rules::form(method, headers, &body, &rules::FIELDS) {
        Ok(fields) => fields,
        Err(refusal) => return *refusal,
    };
    let get = |name: &str| fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.clone());
    if let Some((code, message)) = rules::fault(&get) {
        return rules::error(400, code, message);
    }
    if let Some(late) = manner.late_ms {
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(late)).await;
            fake.take(&fields, manner.price);
        });
        close();
    }
    if let Some(status) = manner.status {
        if manner.taken {
            fake.take(&fields, manner.price);
        }
        let code = manner.code.unwrap_or(if status == 429 { 20429 } else { 20500 });
        return rules::error(status, code, "told to");
    }
    if let Some(code) = manner.code {
        return rules::error(400, code, "told to");
    }
    let shown = fake.take(&fields, manner.price);
    if manner.lose {
        close();
    }
    (StatusCode::CREATED, Json(shown)).into_response()
}

/// Ends the connection without an answer: what unwinds takes its task along.
fn close() -> ! {
    std::panic::resume_unwind(Box::new("the connection is closed"))
}

fn list(fake: &Fake, query: &[u8]) -> Response {
    const KNOWN: [&str; 8] = ["To", "From", "DateSent", "DateSent<", "DateSent>", "PageSize", "Page", "PageToken"];
    let Some(query) = rules::decode(query) else { return rules::error(400, 20001, "query") };
    if let Some((name, _)) = query.iter().find(|(name, _)| !KNOWN.contains(&name.as_str())) {
        return rules::error(400, 20001, &format!("unknown parameter {name}"));
    }
    let find = |name: &str| query.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str());
    let size: usize = find("PageSize").and_then(|size| size.parse().ok()).unwrap_or(50).clamp(1, 1000);
    let page: usize = find("Page").and_then(|page| page.parse().ok()).unwrap_or(0);
    let date = |message: &Message| message.sent.map(|at| at.format("%Y-%m-%d").to_string());
    let book = fake.book();
    let fits = |message: &&Message| {
        let dated = |name: &str, test: &dyn Fn(&str, &str) -> bool| {
            find(name).is_none_or(|wanted| date(message).is_some_and(|date| test(&date, wanted)))
        };
        find("To").is_none_or(|to| message.to == to)
            && find("From").is_none_or(|from| message.from.as_deref() == Some(from))
            && dated("DateSent", &|date, wanted| date == wanted)
            && dated("DateSent<", &|date, wanted| date <= wanted)
            && dated("DateSent>", &|date, wanted| date >= wanted)
    };
    let all: Vec<_> = book.messages.iter().rev().filter(fits).collect();
    let shown: Vec<_> = all.iter().skip(page * size).take(size).map(|message| message.shown(&fake.account)).collect();
    let place = format!("/2010-04-01/Accounts/{}/Messages.json", fake.account);
    let to = find("To").unwrap_or_default().replace('+', "%2B");
    let at = |page: usize| format!("{place}?To={to}&PageSize={size}&Page={page}");
    let next = ((page + 1) * size < all.len()).then(|| at(page + 1));
    Json(json!({
        "messages": shown,
        "uri": at(page), "first_page_uri": at(0), "next_page_uri": next,
        "previous_page_uri": (page > 0).then(|| at(page - 1)),
        "page": page, "page_size": size, "start": page * size, "end": page * size + shown.len(),
    }))
    .into_response()
}

async fn message(
    State(fake): State<Arc<Fake>>,
    Path((account, file)): Path<(String, String)>,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if account != fake.account || !rules::authenticated(&headers, &fake.account, &fake.token) {
        return rules::error(401, 20003, "Authenticate");
    }
    let mut book = fake.book();
    let found = file.strip_suffix(".json").and_then(|sid| book.messages.iter_mut().find(|message| message.sid == sid));
    match (&method, found) {
        (&Method::GET | &Method::POST, None) => rules::error(404, 20404, "The requested resource was not found"),
        (&Method::GET, Some(message)) => Json(message.shown(&fake.account)).into_response(),
        (&Method::POST, Some(message)) => take_back(message, &fake.account, &method, &headers, &body),
        _ => rules::error(405, 20004, "Method not allowed"),
    }
}

/// The one change of a message that is made here: it is taken back before it is sent. Once more changes nothing.
fn take_back(message: &mut Message, account: &str, method: &Method, headers: &HeaderMap, body: &[u8]) -> Response {
    let fields = match rules::form(method, headers, body, &["Status"]) {
        Ok(fields) => fields,
        Err(refusal) => return *refusal,
    };
    if fields != [("Status".to_owned(), "canceled".to_owned())] {
        return rules::error(400, 20001, "Status may become canceled only");
    }
    if !matches!(message.status.as_str(), "scheduled" | "canceled") {
        return rules::error(400, 30409, "The message can not be canceled any more.");
    }
    "canceled".clone_into(&mut message.status);
    Json(message.shown(account)).into_response()
}

async fn next(State(fake): State<Arc<Fake>>, Json(list): Json<Vec<Manner>>) {
    fake.book().next.extend(list);
}

async fn release(State(fake): State<Arc<Fake>>) {
    fake.released.notify_one();
}

async fn always(State(fake): State<Arc<Fake>>, Json(manner): Json<Manner>) {
    fake.book().always = manner;
}

async fn taken(State(fake): State<Arc<Fake>>) -> Json<Vec<Value>> {
    Json(fake.book().messages.iter().map(|message| message.shown(&fake.account)).collect())
}

async fn counts(State(fake): State<Arc<Fake>>) -> Json<Value> {
    let book = fake.book();
    Json(json!({ "posts": book.posts, "taken": book.taken }))
}

/// A message moves on.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tell {
    sid: String,
    status: String,
    error_code: Option<u32>,
    price: Option<String>,
    #[serde(default)]
    callback: bool,
    #[serde(default = "once")]
    times: u32,
}

fn once() -> u32 {
    1
}

async fn tell(State(fake): State<Arc<Fake>>, Json(tell): Json<Tell>) -> Response {
    let (message, form) = {
        let mut book = fake.book();
        let Some(message) = book.messages.iter_mut().find(|message| message.sid == tell.sid) else {
            return StatusCode::NOT_FOUND.into_response();
        };
        message.status.clone_from(&tell.status);
        message.error_code = tell.error_code;
        message.sent = message.sent.or(Some(now()));
        message.price = tell.price.clone().or(message.price.take());
        let mut form = vec![
            ("AccountSid", fake.account.clone()),
            ("ApiVersion", "2010-04-01".to_owned()),
            ("From", message.from.clone().unwrap_or_default()),
            ("MessageSid", message.sid.clone()),
            ("MessageStatus", tell.status.clone()),
            ("SmsSid", message.sid.clone()),
            ("SmsStatus", tell.status.clone()),
            ("To", message.to.clone()),
        ];
        form.extend(tell.error_code.map(|code| ("ErrorCode", code.to_string())));
        (message.clone(), form)
    };
    let Some(url) = message.callback.filter(|_| tell.callback) else { return Json(json!([])).into_response() };
    let mut answers = Vec::new();
    for _ in 0..tell.times {
        answers.push(call(&fake, &url, &form).await);
    }
    Json(answers).into_response()
}

/// A text comes in.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Inbound {
    url: String,
    from: String,
    to: String,
    body: String,
    sid: String,
}

async fn inbound(State(fake): State<Arc<Fake>>, Json(text): Json<Inbound>) -> Json<u16> {
    let form = [
        ("AccountSid", fake.account.clone()),
        ("ApiVersion", "2010-04-01".to_owned()),
        ("Body", text.body),
        ("From", text.from),
        ("MessageSid", text.sid.clone()),
        ("NumMedia", "0".to_owned()),
        ("NumSegments", "1".to_owned()),
        ("SmsMessageSid", text.sid.clone()),
        ("SmsSid", text.sid),
        ("SmsStatus", "received".to_owned()),
        ("To", text.to),
    ];
    Json(call(&fake, &text.url, &form).await)
}

async fn call(fake: &Fake, url: &str, form: &[(&str, String)]) -> u16 {
    let signature = signature(&fake.token, url, form);
    let sent = fake.http.post(url).header("X-Twilio-Signature", signature).form(form).send().await;
    sent.map_or(0, |answer| answer.status().as_u16())
}

/// Address, then names and values in order of name, signed with the token.
pub(crate) fn signature(token: &str, url: &str, form: &[(&str, String)]) -> String {
    let mut sorted: Vec<_> = form.iter().collect();
    sorted.sort();
    let said = sorted.iter().fold(url.to_owned(), |said, (name, value)| said + name + value);
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, token.as_bytes());
    STANDARD.encode(ring::hmac::sign(&key, said.as_bytes()))
}
