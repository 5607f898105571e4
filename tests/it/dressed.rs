//! One switch of a brand: mails, both pages and an open socket have the same look, and nothing is started anew for it.

use std::collections::VecDeque;

use futures_util::{SinkExt, StreamExt};
use omnibus_fanout::{Fanout, FanoutParts};
use omnibus_ingest::token::{Claims, sign};
use omnibus_runtime::testing::{PATIENCE, Stage, Told};
use omnibus_runtime::{Health, Visit, clock};
use omnibus_schemas::brander::{ActivateBranding, DashboardPage, LoginPage, Look, RollbackBranding, SetBranding};
use omnibus_schemas::mailer::PreviewTemplate;
use omnibus_schemas::{Catalogue, Command, Query, Tenant};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use tokio_util::sync::CancellationToken;

use crate::catalogue::mailer;
use crate::scene::eventually;

const HOST: &str = "portal.northwind-coffee.com";
const SECRET: &str = "a secret of tests, thirty-two characters long";

/// A tab of acme's that is told what becomes of its brand.
struct Tab {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    lines: VecDeque<Value>,
}

impl Tab {
    /// At a WebSocket door of its own.
    async fn open(stage: &Stage, stop: &CancellationToken) -> Self {
        let health = Health::default();
        let credentials = omnibus_ingest::Settings {
            websocket_secret: Some(SECRET.to_owned().into()),
            ..omnibus_ingest::Settings::on_a_free_port()
        };
        let parts = FanoutParts {
            bus: stage.connect("fanout").await,
            catalogue: stage.catalogue().clone(),
            settings: omnibus_fanout::Settings::defaults(),
            credentials,
            health: health.clone(),
            stop: stop.clone(),
        };
        let fanout = Fanout::new(parts).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = fanout.routes();
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        tokio::spawn(async move { fanout.run().await });
        eventually("the door is ready", || async {
            let missing = health.missing();
            !missing.contains_key("fanout.people") && !missing.contains_key("ingest.keys")
        })
        .await;

        let tenant: Tenant = "acme".parse().unwrap();
        let scopes = ["websocket:connect", "websocket:read", "whitelabel:read", "brander:read"];
        let claims = Claims::new(&tenant, "ada", scopes, clock::now(), 600);
        let token = sign(&SecretString::from(SECRET.to_owned()), &claims).unwrap();
        let (socket, _) = connect_async(format!("ws://{address}/ws")).await.unwrap();
        let mut tab = Tab { socket, lines: VecDeque::new() };
        tab.ask(1, "connect", json!({ "token": token.expose_secret() })).await;
        tab.ask(2, "subscribe", json!({ "channel": "events:brander" })).await;
        tab
    }

    async fn ask(&mut self, id: u32, name: &str, what: Value) {
        self.socket.send(Message::text(json!({ "id": id, name: what }).to_string())).await.unwrap();
        let answer = loop {
            let line = self.line().await;
            if line["id"] == id {
                break line;
            }
        };
        assert!(answer[name].is_object(), "{answer}");
    }

    async fn line(&mut self) -> Value {
        loop {
            match self.lines.pop_front() {
                // A ping.
                Some(line) if line == json!({}) => self.socket.send(Message::text("{}")).await.unwrap(),
                Some(line) => return line,
                None => {
                    let frame = tokio::time::timeout(PATIENCE, self.socket.next()).await;
                    let frame = frame.expect("the tab is told something").unwrap().unwrap();
                    let text = frame.into_text().unwrap();
                    self.lines.extend(text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()));
                }
            }
        }
    }

    /// The next event of that name.
    async fn told(&mut self, event: &str) -> Value {
        loop {
            let line = self.line().await;
            let data = &line["push"]["pub"]["data"];
            if data["event"] == event {
                return data.clone();
            }
        }
    }
}

async fn done<C: Command>(stage: &Stage, command: &C) -> Told {
    let id = stage.publish("acme", command).await;
    stage.outcome(id).await
}

/// What somebody sees who comes now: the titles of both pages and a mail's subject. `None` while nobody is at home at the
/// host.
async fn seen(stage: &Stage) -> Option<[String; 3]> {
    let visit = Visit { method: "GET".into(), host: HOST.into(), ..Visit::default() };
    let mut titles = vec![];
    for page in [stage.visit::<LoginPage>(&visit).await, stage.visit::<DashboardPage>(&visit).await] {
        let html = String::from_utf8(page.ok()?.into_body().0).unwrap();
        let (_, title) = html.split_once("<title>").unwrap();
        titles.push(title.split_once("</title>").unwrap().0.to_owned());
    }
    let asked = PreviewTemplate { name: "welcome".into(), variables: None, ..PreviewTemplate::example() };
    titles.push(stage.ask("mailer", "acme", &asked).await.unwrap().subject);
    titles.try_into().ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_switch_is_in_mails_on_both_pages_and_at_an_open_socket_and_so_is_the_way_back() {
    let (stage, folder) = (Stage::new(Catalogue::omnibus()).await, tempfile::tempdir().unwrap());
    let stop = CancellationToken::new();
    let _workers = (
        stage.run(omnibus_brander::worker(omnibus_brander::Settings::defaults()).unwrap()).await,
        stage.run(omnibus_mailer::worker(mailer(folder.path())).unwrap()).await,
        stage.run(omnibus_presence::worker(omnibus_presence::Settings::defaults()).unwrap()).await,
    );
    // As a proof in DNS does it.
    sqlx::query(
        "insert into brander.domains (tenant, host, status, record_value, added_at, checked_at)
         values ('acme', $1, 'verified', 'proved', now(), now())",
    )
    .bind(HOST)
    .execute(&stage.db)
    .await
    .unwrap();
    let mut tab = Tab::open(&stage, &stop).await;
    for name in ["Northwind Coffee", "Northwind Spring"] {
        assert_eq!(done(&stage, &SetBranding(Look::plain(name))).await.name, "branding_drafted");
    }
    for (version, name) in [(Some(1), "Northwind Coffee"), (Some(2), "Northwind Spring"), (None, "Northwind Coffee")] {
        let told = match version {
            Some(_) => done(&stage, &ActivateBranding { version }).await,
            None => done(&stage, &RollbackBranding {}).await,
        };
        assert_eq!(told.name, "branding_activated", "{}", told.data);
        let heard = tab.told("brander.branding_activated").await;
        assert_eq!((heard["command"].as_str(), &heard["data"]), (Some(told.causation.as_str()), &told.data));
        let wanted =
            [format!("Sign in \u{b7} {name}"), format!("Dashboard \u{b7} {name}"), format!("Welcome to {name}, Ada")];
        eventually(name, || async { seen(&stage).await.as_ref() == Some(&wanted) }).await;
    }
    stop.cancel();
}
