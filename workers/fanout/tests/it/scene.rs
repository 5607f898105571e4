//! A stage with the presence worker at work, any number of WebSocket doors, and clients.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use omnibus_fanout::{Fanout, FanoutParts, Settings};
use omnibus_ingest::Settings as Credentials;
use omnibus_ingest::token::{Claims, Ticket, sign};
use omnibus_runtime::testing::{Running, Stage};
use omnibus_runtime::{Bus, Health, clock};
use omnibus_schemas::presence::{JoinRoom, PostMessage};
use omnibus_schemas::{Catalogue, Token};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub(crate) use omnibus_runtime::testing::PATIENCE;

pub(crate) const SECRET: &str = "a secret of tests, thirty-two characters long";

/// Why a socket is closed that can't be served just now: whoever is told so comes again.
const SERVER_ERROR: u16 = 3004;
/// How often a client tries again what the door could not do just now, since the bus was slow to answer it.
const TRIES: usize = 20;
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(250);

pub(crate) fn token(word: &str) -> Token {
    word.parse().unwrap()
}

/// A door that was opened.
pub(crate) struct Node {
    pub(crate) address: SocketAddr,
    pub(crate) fanout: Fanout,
    stop: CancellationToken,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Drop for Node {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Where clients connect.
pub(crate) trait Place {
    fn address(&self) -> SocketAddr;
}

impl Place for Node {
    fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Node {
    /// Closes as it does on SIGTERM.
    pub(crate) fn close(&self) {
        self.stop.cancel();
    }
}

/// A stage, and the presence worker at work on it: in this process, or as one of its own.
pub(crate) struct Scene<P = Running> {
    pub(crate) stage: Stage,
    pub(crate) presence: P,
}

impl Scene {
    pub(crate) async fn new() -> Self {
        Self::on(Stage::new(Catalogue::omnibus()).await).await
    }

    pub(crate) async fn on(stage: Stage) -> Self {
        let presence = stage.run(omnibus_presence::worker(omnibus_presence::Settings::defaults()).unwrap()).await;
        Scene { stage, presence }
    }
}

impl<P> Scene<P> {
    pub(crate) async fn node(&self) -> Node {
        self.node_with(|_| ()).await
    }

    pub(crate) async fn node_with(&self, change: impl FnOnce(&mut Settings)) -> Node {
        self.node_by(self.stage.connect("fanout").await, change).await
    }

    /// A door that reaches the bus this way.
    pub(crate) async fn node_by(&self, bus: Bus, change: impl FnOnce(&mut Settings)) -> Node {
        let mut settings = Settings::defaults();
        change(&mut settings);
        let credentials =
            Credentials { websocket_secret: Some(SECRET.to_owned().into()), ..Credentials::on_a_free_port() };
        let (stop, health) = (CancellationToken::new(), Health::default());
        let fanout = Fanout::new(FanoutParts {
            bus,
            catalogue: Catalogue::omnibus(),
            settings,
            credentials,
            health: health.clone(),
            stop: stop.clone(),
        })
        .unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (app, running) = (fanout.routes(), fanout.clone());
        let tasks = vec![
            tokio::spawn(async move { axum::serve(listener, app).await.unwrap() }),
            tokio::spawn(async move { running.run().await }),
        ];
        let ready = async {
            while health.missing().contains_key("fanout.people") || health.missing().contains_key("ingest.keys") {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, ready).await.expect("the door becomes ready");
        Node { address, fanout, stop, tasks }
    }

    /// Puts users into a room.
    pub(crate) async fn join(&self, tenant: &str, room: &str, users: &[&str]) {
        for user in users {
            let id = self.stage.publish(tenant, &JoinRoom { room_id: token(room), user: Some(token(user)) }).await;
            self.stage.outcome(id).await;
        }
    }

    /// Waits until the operator can reach the streams again.
    pub(crate) async fn bus_is_back(&self) {
        // However patient the operator is: what was lost with a connection is asked once more, and soon.
        let stream =
            || tokio::time::timeout(Duration::from_secs(5), self.stage.operator.jetstream().get_stream("CMD_PRESENCE"));
        let back = async {
            while !matches!(stream().await, Ok(Ok(_))) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, back).await.expect("the bus is back");
    }

    /// Says something and waits until that is decided.
    pub(crate) async fn say(&self, tenant: &str, room: &str, user: &str, text: &str) -> Uuid {
        let id = self.stage.publish(tenant, &message(room, user, text)).await;
        self.stage.outcome(id).await;
        id
    }
}

pub(crate) fn message(room: &str, user: &str, text: &str) -> PostMessage {
    PostMessage {
        room_id: token(room),
        user: Some(token(user)),
        text: text.into(),
        reply_to: None,
        mentions: vec![],
        attachments: vec![],
    }
}

/// What a user's token says.
pub(crate) fn claims(tenant: &str, user: &str) -> Claims {
    let scopes = ["websocket:connect", "websocket:read", "websocket:write"];
    Claims::new(&token(tenant), user, scopes, clock::now(), 600)
}

pub(crate) fn signed(claims: &Claims) -> String {
    sign(&SecretString::from(SECRET.to_owned()), claims).unwrap().expose_secret().to_owned()
}

pub(crate) fn jwt(tenant: &str, user: &str) -> String {
    signed(&claims(tenant, user))
}

pub(crate) fn ticket(tenant: &str, user: &str) -> String {
    let ticket = Some(Ticket { id: clock::new_id(), until: None, key: None });
    signed(&Claims { ticket, ..claims(tenant, user) })
}

/// A socket.
pub(crate) struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    lines: std::collections::VecDeque<Value>,
    next: u32,
}

impl Client {
    /// A socket that has said nothing yet.
    pub(crate) async fn open(node: &impl Place) -> Self {
        Self::open_at(&format!("ws://{}/ws", node.address())).await
    }

    pub(crate) async fn open_at(url: &str) -> Self {
        let (socket, _) = connect_async(url.into_client_request().unwrap()).await.unwrap();
        Client { socket, lines: Default::default(), next: 1 }
    }

    /// A socket of a user.
    pub(crate) async fn of(node: &impl Place, tenant: &str, user: &str) -> Self {
        for _ in 0..TRIES {
            let mut client = Self::open(node).await;
            client.send(json!({ "id": client.next, "connect": { "token": jwt(tenant, user) } }).to_string()).await;
            client.next += 1;
            let first = client.frame().await;
            if matches!(&first, Ok(Message::Close(Some(close))) if u16::from(close.code) == SERVER_ERROR) {
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            client.take(first);
            let connected = client.line().await;
            assert!(connected["connect"]["client"].is_string(), "{connected}");
            return client;
        }
        panic!("{user} is never let in");
    }

    pub(crate) async fn send(&mut self, text: impl Into<String>) {
        self.socket.send(Message::text(text.into())).await.unwrap();
    }

    pub(crate) async fn send_raw(&mut self, message: Message) -> Result<(), Error> {
        self.socket.send(message).await
    }

    /// A command and its reply. Pushes that come before it are kept.
    pub(crate) async fn ask(&mut self, name: &str, params: Value) -> Value {
        let id = self.next;
        self.next += 1;
        self.send(json!({ "id": id, name: params }).to_string()).await;
        let mut before = Vec::new();
        let reply = loop {
            let line = self.line().await;
            if line["id"] == id {
                break line;
            }
            before.push(line);
        };
        for line in before.into_iter().rev() {
            self.lines.push_front(line);
        }
        reply
    }

    /// As [`Client::ask`], and again what the door can't answer just now, as every client does. Not for what is to be said
    /// once: it may have been taken all the same.
    pub(crate) async fn ask_again(&mut self, name: &str, params: Value) -> Value {
        let mut reply = self.ask(name, params.clone()).await;
        for _ in 1..TRIES {
            if (&reply["error"]["code"], &reply["error"]["temporary"]) != (&json!(100), &json!(true)) {
                break;
            }
            tokio::time::sleep(PAUSE).await;
            reply = self.ask(name, params.clone()).await;
        }
        reply
    }

    pub(crate) async fn subscribe(&mut self, channel: &str) -> Value {
        let reply = self.ask_again("subscribe", json!({ "channel": channel })).await;
        assert!(reply["subscribe"].is_object(), "{channel}: {reply}");
        reply["subscribe"].clone()
    }

    pub(crate) async fn recover(&mut self, channel: &str, position: (&str, u64)) -> Value {
        let (epoch, offset) = position;
        let params = json!({ "channel": channel, "recover": true, "epoch": epoch, "offset": offset });
        let reply = self.ask_again("subscribe", params).await;
        assert!(reply["subscribe"].is_object(), "{channel}: {reply}");
        reply["subscribe"].clone()
    }

    /// The code of a refusal.
    pub(crate) async fn refused(&mut self, name: &str, params: Value) -> u64 {
        let reply = self.ask_again(name, params).await;
        reply["error"]["code"].as_u64().unwrap_or_else(|| panic!("not refused: {reply}"))
    }

    /// The next line that is no ping. Pings are answered.
    pub(crate) async fn line(&mut self) -> Value {
        loop {
            if let Some(line) = self.lines.pop_front() {
                if line == json!({}) {
                    self.send("{}").await;
                    continue;
                }
                return line;
            }
            let frame = self.frame().await;
            self.take(frame);
        }
    }

    /// Keeps the lines of a frame.
    fn take(&mut self, frame: Result<Message, Error>) {
        match frame {
            Ok(Message::Text(text)) => {
                self.lines.extend(text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()));
            }
            other => panic!("{other:?}"),
        }
    }

    async fn frame(&mut self) -> Result<Message, Error> {
        tokio::time::timeout(PATIENCE, self.socket.next()).await.expect("the door says something").unwrap()
    }

    /// The next push.
    pub(crate) async fn push(&mut self) -> Value {
        loop {
            let line = self.line().await;
            if line["push"].is_object() {
                return line["push"].clone();
            }
        }
    }

    /// How many pushes have come and were not looked at.
    pub(crate) fn waiting(&self) -> usize {
        self.lines.iter().filter(|line| line["push"].is_object()).count()
    }

    /// The next publication of this type: its data and its offset.
    pub(crate) async fn published(&mut self, kind: &str) -> (Value, u64) {
        loop {
            let push = self.push().await;
            if push["pub"]["data"]["type"] == kind {
                return (push["pub"]["data"].clone(), push["pub"]["offset"].as_u64().unwrap_or(0));
            }
        }
    }

    /// The texts of the next `count` messages.
    pub(crate) async fn texts(&mut self, count: usize) -> Vec<String> {
        let mut texts = Vec::new();
        while texts.len() < count {
            texts.push(self.published("message").await.0["text"].as_str().unwrap().to_owned());
        }
        texts
    }

    /// What is closed with. Whatever comes before is passed over.
    pub(crate) async fn closed(&mut self) -> CloseFrame {
        loop {
            match self.frame().await {
                Ok(Message::Close(Some(frame))) => return frame,
                Ok(Message::Close(None)) => panic!("closed without a code"),
                Ok(_) => {}
                Err(error) => panic!("no close: {error}"),
            }
        }
    }

    /// The next line, or nothing if the socket is closed instead.
    pub(crate) async fn line_or_close(&mut self) -> Option<Value> {
        match self.frame().await {
            Ok(Message::Text(text)) => Some(serde_json::from_str(&text).unwrap()),
            _ => None,
        }
    }

    /// The code of the next close.
    pub(crate) async fn close_code(&mut self) -> u16 {
        self.closed().await.code.into()
    }
}

/// Where a subscription stands.
pub(crate) fn position(subscribed: &Value) -> (String, u64) {
    (subscribed["epoch"].as_str().unwrap().to_owned(), subscribed["offset"].as_u64().unwrap_or(0))
}

/// The texts of what a reply recovered.
pub(crate) fn recovered(subscribed: &Value) -> Vec<String> {
    let publications = subscribed["publications"].as_array().cloned().unwrap_or_default();
    publications.iter().filter_map(|one| one["data"]["text"].as_str().map(str::to_owned)).collect()
}
