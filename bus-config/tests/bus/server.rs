//! A private nats-server per test, configured by [`omnibus_bus::server_config`], and its users.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};
use std::process::Stdio;
use std::time::Duration;

use async_nats::jetstream::{self, Context};
use async_nats::{Client, ConnectOptions, Event};
use omnibus_bus::{Credentials, ServerOptions, Settings, TenantUser, Topology, server_config};
use omnibus_schemas::mailer::EmailSent;
use omnibus_schemas::{Bucket, Catalogue, Domain, greeter, mailer, texter};
use secrecy::ExposeSecret;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// Far longer than anything here takes; only a fault runs into it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

/// The nats-server that the set-up scripts have put below the workspace, unless another is named.
pub(crate) fn program() -> std::ffi::OsString {
    let set_up = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../.omnibus/bin/nats-server");
    std::env::var_os("OMNIBUS_NATS_SERVER")
        .unwrap_or_else(|| if set_up.exists() { set_up.into() } else { "nats-server".into() })
}

/// The mailer, the greeter, a domain that keeps things, one that reads them and reacts to the mailer, and one that keeps
/// a record of all of it.
pub(crate) fn catalogue() -> Catalogue {
    let keeper = Domain::new("keeper", "Keeper")
        .owns(Bucket::values("shelf", "Small things").expiring())
        .owns(Bucket::objects("attic", "Large things"));
    let echo = Domain::new("echo", "Echo").reacts::<EmailSent>().reads("shelf").reads("attic");
    let recorder = Domain::new("recorder", "Recorder").records();
    Catalogue::new(vec![mailer::domain(), texter::domain(), greeter::domain(), keeper, echo, recorder])
}

pub(crate) fn settings() -> Settings {
    let tenant = |name: &str| name.parse().expect("a token");
    Settings {
        tenants: vec![
            TenantUser::of_every_command(tenant("acme")),
            TenantUser::with_scopes(tenant("globex"), ["greeter:greet"]),
        ],
        ..Settings::default()
    }
}

pub(crate) struct Bus {
    pub(crate) topology: Topology,
    credentials: Credentials,
    address: String,
    config: std::path::PathBuf,
    process: Child,
    _folder: TempDir,
}

pub(crate) struct User {
    pub(crate) client: Client,
    pub(crate) js: Context,
    refusals: UnboundedReceiver<String>,
}

impl Bus {
    /// A server with users and nothing on it.
    pub(crate) async fn bare() -> Self {
        let topology = Topology::of(&catalogue(), &settings());
        let credentials = Credentials::generate(&topology);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let config = folder.path().join("nats.conf");
        for _ in 0..10 {
            let address = format!("127.0.0.1:{}", free_port());
            let options = ServerOptions {
                listen: address.clone(),
                http: None,
                sync_always: false,
                max_store_bytes: Some(1 << 40),
                ..ServerOptions::local(folder.path().join("store"))
            };
            let text = server_config(&topology, &credentials.public_keys(), &options).expect("every user has a key");
            std::fs::write(&config, text).expect("the folder is ours");
            // Somebody may be quicker between our look and the server's bind.
            if let Some(process) = start(&config).await {
                return Bus { topology, credentials, address, config, process, _folder: folder };
            }
        }
        panic!("nats-server finds every port taken");
    }

    /// A server with everything provisioned.
    pub(crate) async fn provisioned() -> Self {
        let bus = Bus::bare().await;
        let operator = bus.user("operator").await;
        omnibus_bus::apply(&operator.js, &bus.topology).await.expect("an empty bus takes it all");
        bus
    }

    /// Kills the server and starts it over on the same streams.
    pub(crate) async fn restart(&mut self) {
        self.process.kill().await.expect("it runs");
        for _ in 0..20 {
            if let Some(process) = start(&self.config).await {
                self.process = process;
                return;
            }
            // Somebody's look for a free port, which is over at once.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{} is taken", self.address);
    }

    pub(crate) async fn user(&self, name: &str) -> User {
        let (tell, refusals) = unbounded_channel();
        let seed = self.credentials.seed(name).expect("a user").expose_secret().to_owned();
        let client = ConnectOptions::with_nkey(seed)
            .custom_inbox_prefix(omnibus_bus::inbox_prefix(name))
            .event_callback(move |event| {
                if let Event::ServerError(error) = event {
                    let _ = tell.send(error.to_string());
                }
                async {}
            })
            .connect(&self.address)
            .await
            .expect("the user is known");
        User { js: jetstream::new(client.clone()), client, refusals }
    }
}

/// A port that is free now, below those that the kernel hands out by itself: nobody is given it while the server is away.
fn free_port() -> u16 {
    let chance =
        || 15_000 + u16::try_from(RandomState::new().build_hasher().finish() % 17_000).expect("less than 17,000");
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    std::iter::repeat_with(chance).take(1000).find(is_free).expect("a port is free")
}

/// Ends with the returned child. `None` if somebody else has the port.
async fn start(config: &std::path::Path) -> Option<Child> {
    let mut process = Command::new(program())
        .arg("-c")
        .arg(config)
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("nats-server runs; set OMNIBUS_NATS_SERVER");
    let mut lines = BufReader::new(process.stderr.take().expect("piped")).lines();
    let mut seen = String::new();
    let ready = async {
        while let Some(line) = lines.next_line().await.expect("a log") {
            if line.contains("Server is ready") {
                return true;
            }
            seen.push_str(&line);
            seen.push('\n');
        }
        false
    };
    let ready = tokio::time::timeout(PATIENCE, ready).await.unwrap_or(false);
    if !ready && seen.contains("address already in use") {
        return None;
    }
    assert!(ready, "nats-server did not start:\n{seen}");
    // A full pipe would stop the server.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    Some(process)
}

impl User {
    /// Publishes and expects the server's refusal.
    pub(crate) async fn may_not_publish(&mut self, subject: &str) {
        self.client.publish(subject.to_owned(), "{}".into()).await.expect("connected");
        self.expect_refusal("publish", subject).await;
    }

    /// Subscribes and expects the server's refusal.
    pub(crate) async fn may_not_subscribe(&mut self, subject: &str) {
        let _subscription = self.client.subscribe(subject.to_owned()).await.expect("connected");
        self.expect_refusal("subscription", subject).await;
    }

    async fn expect_refusal(&mut self, verb: &str, subject: &str) {
        let refusal = tokio::time::timeout(PATIENCE, self.refusals.recv()).await;
        let refusal = refusal.unwrap_or_else(|_| panic!("{verb} to {subject} was not refused")).expect("open");
        let refusal = refusal.to_lowercase();
        assert!(refusal.contains(verb) && refusal.contains(&subject.to_lowercase()), "{verb} {subject}: {refusal}");
    }

    /// Nothing was refused so far.
    pub(crate) fn was_refused_nothing(&mut self) {
        assert_eq!(self.refusals.try_recv().ok(), None);
    }

    /// A command with its PubAck.
    pub(crate) async fn publish(&self, subject: &str) -> u64 {
        let ack = self.js.publish(subject.to_owned(), "{}".into()).await.expect("published");
        ack.await.expect("acknowledged").sequence
    }

    /// A JetStream API call, whose answer must be no error.
    pub(crate) async fn api(&self, call: &str, body: serde_json::Value) -> serde_json::Value {
        let answer: serde_json::Value = self.js.request(call.to_owned(), &body).await.expect("answered");
        assert!(answer.get("error").is_none(), "{call}: {answer}");
        answer
    }
}
