//! A bus with the real topology, a door on it, and a worker's part played by the test.

use std::time::Duration;

use async_nats::HeaderMap;
use futures_util::StreamExt;
use omnibus_bus::{Credentials, ServerOptions, Settings as Limits, TenantUser, Topology, server_config};
use omnibus_ingest::keys::{self, ApiKey, KeyRecord};
use omnibus_ingest::{Door, DoorParts, Settings};
use omnibus_runtime::bus::{Bus, BusSettings, PublishError};
use omnibus_runtime::local::{NatsConfig, NatsOptions, NatsServer};
use omnibus_runtime::{Health, clock};
use omnibus_schemas::{Catalogue, Tenant, headers, subject};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

pub(crate) use omnibus_runtime::testing::PATIENCE;

/// Between two looks at what nobody tells: whoever asks without a pause takes the processor from what he waits for.
const LOOK: Duration = Duration::from_millis(10);

pub(crate) struct Stage {
    pub(crate) nats: NatsServer,
    pub(crate) operator: Bus,
    pub(crate) url: String,
    /// Where it speaks TLS beside that.
    pub(crate) secure: Option<std::net::SocketAddr>,
    pub(crate) http: Client,
    pub(crate) stop: CancellationToken,
    pub(crate) serving: tokio::task::JoinHandle<Result<(), omnibus_ingest::DoorError>>,
    seeds: tempfile::TempDir,
}

impl Stage {
    pub(crate) async fn new() -> Self {
        Self::with(|_, _| ()).await
    }

    /// With other settings of the door, or other limits on the bus.
    pub(crate) async fn with(change: impl FnOnce(&mut Settings, &mut Limits)) -> Self {
        let stage = Self::unready(change).await;
        stage.ready().await;
        stage
    }

    pub(crate) async fn unready(change: impl FnOnce(&mut Settings, &mut Limits)) -> Self {
        // A second test of this process finds the provider installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let catalogue = Catalogue::omnibus();
        let mut settings = Settings {
            rate_limit_ip: 0,
            rate_limit_tenant: 0,
            // A busy machine is not a mute worker.
            query_timeout_seconds: 60,
            publish_timeout_seconds: 60,
            ..Settings::on_a_free_port()
        };
        let tenants = vec![TenantUser::of_every_command(tenant("globex"))];
        let mut limits = Limits { tenants, ..Limits::default() };
        change(&mut settings, &mut limits);
        let topology = Topology::of(&catalogue, &limits);
        let seeds = tempfile::tempdir().unwrap();
        let credentials = Credentials::load_or_generate(seeds.path(), &topology).unwrap();
        let options = ServerOptions {
            store_dir: None,
            http: None,
            listen: "127.0.0.1:-1".into(),
            // Who expects copies, which one server can't have, is to find this wanting too.
            sync_always: settings.expect_sync_always && settings.expect_replicas.is_none(),
            max_store_bytes: Some(1 << 40),
            ..ServerOptions::local("unused")
        };
        let config = server_config(&topology, &credentials.public_keys(), &options).unwrap();
        let nats = NatsServer::start(NatsOptions { config: NatsConfig::Text(config), ..NatsOptions::default() });
        let nats = nats.await.unwrap();
        if settings.nats_monitor_url.as_deref() == Some("real") {
            settings.nats_monitor_url = Some(nats.monitor_url());
        }
        let operator = connect(&nats, &seeds, "operator").await;
        // A busy machine takes longer to make all of it than an operator would wait.
        let mut patient = operator.jetstream().clone();
        patient.set_timeout(PATIENCE);
        omnibus_bus::apply(&patient, &topology).await.unwrap();
        let stop = CancellationToken::new();
        let parts = DoorParts {
            bus: connect(&nats, &seeds, "ingest").await,
            catalogue,
            settings,
            beside: None,
            health: Health::default(),
            stop: stop.clone(),
        };
        let door = Door::new(parts).await.unwrap();
        let (url, secure) = (door.url(), door.secure_address());
        let serving = tokio::spawn(door.serve());
        Stage { nats, operator, url, secure, http: Client::new(), stop, serving, seeds }
    }

    /// Why a door with these settings does not open.
    pub(crate) async fn fails(change: impl FnOnce(&mut Settings)) -> String {
        let stage = Self::new().await;
        let mut settings = Settings::on_a_free_port();
        change(&mut settings);
        let parts = DoorParts {
            bus: stage.connect("ingest").await,
            catalogue: Catalogue::omnibus(),
            settings,
            beside: None,
            health: Health::default(),
            stop: CancellationToken::new(),
        };
        Door::new(parts).await.err().expect("the door does not open").to_string()
    }

    pub(crate) async fn connect(&self, user: &str) -> Bus {
        connect(&self.nats, &self.seeds, user).await
    }

    /// Asks until the door says that it is ready.
    pub(crate) async fn ready(&self) {
        let ready = async {
            while self.get("/readyz").send().await.unwrap().status() != StatusCode::OK {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(PATIENCE, ready).await.expect("the door becomes ready");
    }

    /// Asks until the door says what a part is missing, in words that hold `wanted`.
    pub(crate) async fn missing(&self, part: &str, wanted: &str) -> String {
        let told = async {
            loop {
                let answer = self.get("/readyz").send().await.unwrap();
                let (status, document) = (answer.status(), answer.json::<Value>().await.unwrap());
                if let Some(why) = document["missing"][part].as_str().filter(|why| why.contains(wanted)) {
                    assert_eq!(status, 503);
                    return why.to_owned();
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(PATIENCE, told).await.expect("readiness names what is missing")
    }

    /// Mints a key and waits until the door takes it.
    pub(crate) async fn key(&self, tenant_: &str, scopes: &[&str]) -> (ApiKey, KeyRecord) {
        let (key, record) = keys::mint(&tenant(tenant_), "test", scopes.iter().copied(), None);
        keys::put(self.operator.jetstream(), &key, &record).await.unwrap();
        self.until(&key, |status| status != StatusCode::UNAUTHORIZED).await;
        (key, record)
    }

    /// Asks with a key until the status is as wanted. The route has no worker and no effect.
    pub(crate) async fn until(&self, key: &ApiKey, wanted: impl Fn(StatusCode) -> bool) {
        let ask = async {
            while !wanted(self.get("/api/v1/mailer/accounts").bearer_auth(key.expose()).send().await.unwrap().status())
            {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(PATIENCE, ask).await.expect("the door hears of the key");
    }

    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.http.get(format!("{}{path}", self.url))
    }

    pub(crate) fn post(&self, path: &str) -> RequestBuilder {
        self.http.post(format!("{}{path}", self.url))
    }

    /// `POST /api/v1/greetings` with a good body.
    pub(crate) fn greet(&self, key: &ApiKey) -> RequestBuilder {
        self.post("/api/v1/greetings").bearer_auth(key.expose()).json(&json!({"name": "Ada"}))
    }

    /// The stored commands of a domain.
    pub(crate) async fn stored(&self, domain: &str) -> u64 {
        let mut stream = self.operator.jetstream().get_stream(subject::command_stream(domain)).await.unwrap();
        stream.info().await.unwrap().state.messages
    }

    /// The n-th stored command.
    pub(crate) async fn command(&self, domain: &str, sequence: u64) -> async_nats::jetstream::message::StreamMessage {
        let stream = self.operator.jetstream().get_stream(subject::command_stream(domain)).await.unwrap();
        stream.get_raw_message(sequence).await.unwrap()
    }

    /// Subscribes as the operator, and returns when the server has the subscription.
    pub(crate) async fn listen(&self, subject: &'static str) -> async_nats::Subscriber {
        let subscriber = self.operator.client().subscribe(subject).await.unwrap();
        // One connection is read in order: what is answered now, the server read after the subscription.
        self.operator.jetstream().query_account().await.unwrap();
        subscriber
    }

    /// Answers every command with an event, as a worker would.
    pub(crate) async fn worker(&self, outcome: &'static str, event: &'static str, data: Value) {
        let mut commands = self.listen("cmd.greeter.>").await;
        let bus = self.operator.clone();
        tokio::spawn(async move {
            while let Some(command) = commands.next().await {
                let given = command.headers.unwrap();
                let id = given.get(headers::ID).unwrap().as_str();
                let tenant = command.subject.rsplit('.').next().unwrap().to_owned();
                publish_outcome(&bus, event, &tenant, id, outcome, &data).await.unwrap();
            }
        });
    }
}

pub(crate) async fn publish_outcome(
    bus: &Bus,
    event: &str,
    tenant: &str,
    causation: &str,
    outcome: &str,
    data: &Value,
) -> Result<(), PublishError> {
    let mut map = HeaderMap::new();
    map.insert(headers::ID, format!("{causation}/1").as_str());
    map.insert(headers::TYPE, format!("omnibus.greeter.{event}.v1").as_str());
    map.insert(headers::TIME, clock::now().to_rfc3339().as_str());
    map.insert(headers::CAUSATION, causation);
    map.insert(headers::OUTCOME, outcome);
    map.insert(headers::CONTENT_TYPE, "application/json");
    let subject = subject::event("greeter", event, tenant);
    bus.publish(&subject, map, data.to_string().into()).await.map(drop)
}

pub(crate) fn tenant(name: &str) -> Tenant {
    name.parse().unwrap()
}

/// Status, code and document of a refusal.
pub(crate) async fn problem(response: Response) -> (u16, String, Value) {
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let status = response.status().as_u16();
    let document: Value = response.json().await.unwrap();
    assert_eq!(document["status"], status);
    assert!(document["detail"].is_string() && document["title"].is_string(), "{document}");
    (status, document["code"].as_str().unwrap().to_owned(), document)
}

async fn connect(nats: &NatsServer, seeds: &tempfile::TempDir, user: &str) -> Bus {
    let seed = seeds.path().join(format!("{user}.nk"));
    let settings = BusSettings { nats_url: nats.url().into(), nats_nkey_file: Some(seed), nats_ca_file: None };
    Bus::connect(&settings, user).await.unwrap()
}
