//! The contestants, each a process, and how something is said to all who listen there.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use futures_util::{SinkExt, StreamExt};
use omnibus_ingest::token::{Claims, sign};
use omnibus_runtime::clock;
use omnibus_runtime::local::Postgres;
use omnibus_runtime::testing::{Running, Stage};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::{bare, free, stage, swarm};

const ROLE: &str = "OMNIBUS_BENCH_ROLE";
const SECRET: &str = "a secret of the bench, thirty-two characters";
const ROOM: &str = "bench";
/// How long a server may take to be there.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Omnibus,
    Bare,
    Ws,
    SocketIo,
}

impl Kind {
    pub(super) const ALL: [Kind; 4] = [Kind::Omnibus, Kind::Bare, Kind::Ws, Kind::SocketIo];

    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Omnibus => "Omnibus",
            Kind::Bare => "bare tokio-tungstenite",
            Kind::Ws => "ws (npm)",
            Kind::SocketIo => "Socket.IO",
        }
    }
}

/// If this process was started to be one of the servers, it is it.
pub(crate) fn role() -> Option<anyhow::Result<()>> {
    let role = std::env::var(ROLE).ok()?;
    let runtime = tokio::runtime::Runtime::new();
    match role.as_str() {
        "fanout" => {
            Some(runtime.context("a runtime").and_then(|runtime| runtime.block_on(omnibus_fanout::command::run())))
        }
        "bare" => {
            let serve = || {
                let address: SocketAddr = std::env::var("BARE_LISTEN")?.parse()?;
                runtime?.block_on(bare::serve(address))
            };
            Some(serve())
        }
        _ => None,
    }
}

/// A server that runs. It is killed with this.
pub(super) struct Server {
    pub(super) kind: Kind,
    pub(super) address: SocketAddr,
    child: Child,
    omnibus: Option<(Stage, Running)>,
}

impl Server {
    pub(super) async fn start(postgres: &Postgres, kind: Kind, crowd: usize) -> anyhow::Result<Self> {
        let address = free()?;
        let mut omnibus = None;
        let mut command = match kind {
            Kind::Omnibus => {
                let stage = stage(postgres).await;
                let worker = omnibus_presence::worker(omnibus_presence::Settings::defaults())?;
                let running = stage.run(worker).await;
                members(&stage, crowd).await?;
                let mut command = Command::new(std::env::current_exe()?);
                command
                    .env(ROLE, "fanout")
                    .env("FANOUT_LISTEN", address.to_string())
                    .env("NATS_URL", stage.nats_url())
                    .env("NATS_NKEY_FILE", stage.seed_file("fanout"))
                    .env("WEBSOCKET_SECRET", SECRET)
                    .env("RUST_LOG", "warn");
                omnibus = Some((stage, running));
                command
            }
            Kind::Bare => {
                let mut command = Command::new(std::env::current_exe()?);
                command.env(ROLE, "bare").env("BARE_LISTEN", address.to_string());
                command
            }
            Kind::Ws => node("ws", &["ws@8.23.0"], address).await?,
            Kind::SocketIo => node("socketio", &["socket.io@4.8.4"], address).await?,
        };
        command.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
        let server = Server { kind, address, child: command.spawn()?, omnibus };
        let began = Instant::now();
        while server.open("u0").await.is_err() {
            ensure!(began.elapsed() < PATIENCE, "{} does not come up", kind.name());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(server)
    }

    /// A socket that listens.
    pub(super) async fn open(&self, user: &str) -> anyhow::Result<Socket> {
        let path = match self.kind {
            Kind::Omnibus => "/ws",
            Kind::SocketIo => "/socket.io/?EIO=4&transport=websocket",
            Kind::Bare | Kind::Ws => "/",
        };
        let (mut socket, _) = connect_async(format!("ws://{}{path}", self.address)).await?;
        match self.kind {
            Kind::Omnibus => {
                let connect = json!({ "id": 1, "connect": { "token": token(user)? } });
                let subscribe = json!({ "id": 2, "subscribe": { "channel": format!("room:{ROOM}") } });
                socket.send(Message::text(format!("{connect}\n{subscribe}"))).await?;
                let mut answers = 0;
                while answers < 2 {
                    let answer = socket.next().await.context("closed")??.into_text()?;
                    ensure!(!answer.contains("\"error\""), "refused: {answer}");
                    answers += answer.lines().filter(|line| line.starts_with("{\"id\"")).count();
                }
            }
            Kind::SocketIo => {
                socket.next().await.context("closed")??;
                socket.send(Message::text("40")).await?;
                socket.next().await.context("closed")??;
            }
            Kind::Bare | Kind::Ws => {}
        }
        Ok(socket)
    }

    /// Says things to all who listen, as fast as it goes.
    pub(super) async fn publisher(&self) -> anyhow::Result<Publisher<'_>> {
        let socket = match self.kind {
            Kind::Omnibus => None,
            _ => Some(self.open("publisher").await?),
        };
        Ok(Publisher { server: self, socket })
    }

    /// A member who speaks as people do, by `publish`.
    pub(super) async fn speaker(&self) -> anyhow::Result<Speaker> {
        Ok(Speaker { socket: self.open("u0").await?, next: 10 })
    }

    /// A member who is in the room, and listens to what is said to him alone.
    pub(super) async fn burdened(&self, user: &str) -> anyhow::Result<Socket> {
        let mut socket = self.open(user).await?;
        let subscribe = json!({ "id": 3, "subscribe": { "channel": format!("user:{user}") } });
        socket.send(Message::text(subscribe.to_string())).await?;
        loop {
            let answer = socket.next().await.context("closed")??.into_text()?;
            ensure!(!answer.contains("\"error\""), "refused: {answer}");
            if answer.lines().any(|line| line.starts_with("{\"id\":3")) {
                return Ok(socket);
            }
        }
    }

    /// Sockets that Omnibus has closed with this code so far.
    pub(super) async fn closed_with(&self, code: u16) -> anyhow::Result<u64> {
        let told = reqwest::get(format!("http://{}/metrics", self.address)).await?.text().await?;
        let name = format!("omnibus_sockets_closed_total{{code=\"{code}\"}} ");
        Ok(told.lines().find_map(|line| line.strip_prefix(&name)?.parse().ok()).unwrap_or(0))
    }

    /// Processor seconds that the process has used so far.
    pub(super) fn cpu(&self) -> f64 {
        self.child.id().map_or(f64::NAN, crate::cpu::of)
    }

    /// MiB.
    pub(super) fn resident(&self) -> anyhow::Result<f64> {
        Ok(crate::cpu::resident_of(self.child.id().context("it has ended")?))
    }
}

pub(super) struct Publisher<'a> {
    server: &'a Server,
    socket: Option<Socket>,
}

impl Publisher<'_> {
    pub(super) async fn publish(&mut self, count: usize) -> anyhow::Result<()> {
        match (&mut self.socket, &self.server.omnibus) {
            (Some(socket), _) => {
                for _ in 0..count {
                    let said = swarm::message();
                    let said = match self.server.kind {
                        Kind::SocketIo => format!("42[\"say\",{said}]"),
                        _ => said,
                    };
                    socket.feed(Message::text(said)).await?;
                }
                socket.flush().await?;
                // What it hears itself must not pile up; a ping of the server's wants its answer.
                while let Ok(Some(Ok(frame))) = tokio::time::timeout(Duration::ZERO, socket.next()).await {
                    if frame.to_text().is_ok_and(|text| text == "2") {
                        socket.send(Message::text("3")).await?;
                    }
                }
            }
            (None, Some((stage, _))) => {
                let mut acks = Vec::with_capacity(count);
                for _ in 0..count {
                    let js = stage.operator.jetstream();
                    acks.push(js.publish(format!("rooms.room.{ROOM}.acme"), swarm::message().into()).await?);
                }
                for ack in acks {
                    ack.await?;
                }
            }
            (None, None) => unreachable!("only Omnibus has no socket to publish by"),
        }
        Ok(())
    }

    /// Says a lot to one member alone, by his log: 256 KiB.
    pub(super) async fn burden(&self, user: &str) -> anyhow::Result<()> {
        let (stage, _) = self.server.omnibus.as_ref().context("only Omnibus has logs")?;
        let (js, said) = (stage.operator.jetstream(), json!({ "x": "x".repeat(16 * 1024) }).to_string());
        let mut acks = Vec::new();
        for _ in 0..16 {
            acks.push(js.publish(format!("rooms.user.{user}.acme"), said.clone().into()).await?);
        }
        for ack in acks {
            ack.await?;
        }
        Ok(())
    }
}

pub(super) struct Speaker {
    socket: Socket,
    next: u64,
}

impl Speaker {
    pub(super) async fn say(&mut self) -> anyhow::Result<()> {
        let data = json!({ "text": swarm::message() });
        let publish = json!({ "id": self.next, "publish": { "channel": format!("room:{ROOM}"), "data": data } });
        self.next += 1;
        self.socket.send(Message::text(publish.to_string())).await?;
        while let Ok(Some(Ok(frame))) = tokio::time::timeout(Duration::ZERO, self.socket.next()).await {
            if frame.to_text().is_ok_and(|text| text.lines().any(|line| line == "{}")) {
                self.socket.send(Message::text("{}")).await?;
            }
        }
        Ok(())
    }
}

fn token(user: &str) -> anyhow::Result<String> {
    let scopes = ["websocket:connect", "websocket:read", "websocket:write"];
    let claims = Claims::new(&"acme".parse()?, user, scopes, clock::now(), 3600);
    Ok(sign(&SecretString::from(SECRET.to_owned()), &claims)?.expose_secret().to_owned())
}

/// Puts the crowd into the room, as so many joins would.
async fn members(stage: &Stage, crowd: usize) -> anyhow::Result<()> {
    let crowd = i32::try_from(crowd)?;
    sqlx::query("insert into presence.channels (tenant, kind, id, revision) values ('acme', 'room', $1, 1)")
        .bind(ROOM)
        .execute(&stage.db)
        .await?;
    sqlx::query(
        "insert into presence.members (tenant, room_id, user_id, role, joined_at)
         select 'acme', $1, 'u' || n, 'member', now() from generate_series(0, $2) n",
    )
    .bind(ROOM)
    .bind(crowd)
    .execute(&stage.db)
    .await?;
    Ok(())
}

/// A server in JavaScript, with its packages in `.omnibus/peers`.
async fn node(name: &str, packages: &[&str], address: SocketAddr) -> anyhow::Result<Command> {
    let source = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/bench/fanout")).join(name).join("serve.js");
    let home = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.omnibus/peers")).join(name);
    std::fs::create_dir_all(&home)?;
    std::fs::write(home.join("package.json"), r#"{"private": true, "type": "module"}"#)?;
    let install = ["install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"];
    let installed = Command::new("npm").args(install).args(packages).current_dir(&home).status().await?;
    ensure!(installed.success(), "npm install {packages:?}");
    std::fs::copy(source, home.join("serve.js"))?;
    let mut command = Command::new("node");
    command.arg("serve.js").arg(address.port().to_string()).current_dir(&home);
    Ok(command)
}
