//! The kit: a private nats-server with the real users and permissions, a database of its own, and the real loops.
//! Nothing is simulated, and nothing is waited for by sleeping: outcomes are events.
//!
//! ```no_run
//! # use omnibus_runtime::{testing::Stage, settings::WorkSettings, Worker};
//! # use omnibus_schemas::{Catalogue, greeter::Greet};
//! # async fn test(worker: Worker) {
//! let stage = Stage::new(Catalogue::omnibus()).await;
//! let running = stage.run(worker).await;
//! let id = stage.publish("acme", &Greet { name: "Ada".into() }).await;
//! let outcome = stage.outcome(id).await;
//! assert_eq!(outcome.name, "greeted");
//! running.stop().await;
//! # }
//! ```

mod database;
mod fuzz;
mod life;
mod log;
mod publisher;
mod told;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use async_nats::HeaderMap;
use bytes::Bytes;
use futures_util::future::join_all;
use omnibus_bus::{Cluster, Credentials, ServerOptions, TenantUser, Topology, server_config, tenant_user};
use omnibus_schemas::body::encode;
use omnibus_schemas::platform::CommandPage;
use omnibus_schemas::{Catalogue, Command, Encoding, headers, subject};
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub use fuzz::fuzzed;
pub use life::Life;
pub use log::Log;
pub use told::Told;

use crate::answers::DATABASE_AWAY;
use crate::bus::{Bus, BusSettings, PublishError};
use crate::clock;
use crate::envelope::Envelope;
use crate::health::Health;
use crate::local::{NatsConfig, NatsOptions, NatsServer, Postgres};
use crate::process::NOT_COMPILED;
use crate::settings::WorkSettings;
use crate::trace::TraceParent;
use crate::visit::{Reply, Visit};
use crate::worker::{Parts, RunError, Worker};

/// No test waits longer than this for anything. A machine may be busy with everything else.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// A port of this machine that is free now, below those that the kernel hands out by itself: hardly anybody takes it before
/// it is served.
///
/// # Panics
/// If none is free.
pub fn free_port() -> u16 {
    crate::local::free_port(0).expect("a port is free")
}

/// The tenants that have a bus user on every stage.
pub const TENANTS: [&str; 2] = ["acme", "globex"];

/// A bus, a database and a catalogue, of one test alone.
pub struct Stage {
    /// The nats-server, to be killed and restarted.
    pub nats: tokio::sync::Mutex<NatsServer>,
    /// The other nodes of a cluster.
    pub others: Vec<tokio::sync::Mutex<NatsServer>>,
    /// The database's address.
    pub database_url: String,
    /// A pool on it.
    pub db: PgPool,
    /// As the operator.
    pub operator: Bus,
    catalogue: Catalogue,
    nats_url: String,
    seeds: tempfile::TempDir,
    publisher: publisher::Publisher,
    told: told::Listener,
    sent: Mutex<HashMap<Uuid, ()>>,
}

/// What is otherwise than on an ordinary stage.
#[derive(Debug, Clone, Default)]
pub struct Scenery {
    /// nats-server syncs before it acknowledges.
    pub sync_always: bool,
    /// Nobody listens to `EVT` and `DLQ`, which costs time and memory: [`Stage::outcome`] and its like wait in vain.
    pub deaf: bool,
    /// The nats-servers of a cluster; one server alone if there are none.
    pub nodes: Vec<Node>,
    /// Where the only nats-server keeps its streams; a temporary folder if absent.
    pub nats_dir: Option<PathBuf>,
}

/// A nats-server in a cluster, and how it finds the others.
#[derive(Debug, Clone)]
pub struct Node {
    /// Where the others connect: `127.0.0.1:6222`.
    pub listen: String,
    /// The others: `nats://127.0.0.1:6223`. Through these alone it is connected with them.
    pub routes: Vec<String>,
}

/// A worker at work.
pub struct Running {
    stop: CancellationToken,
    /// What the worker says of its parts.
    pub health: Health,
    task: tokio::task::JoinHandle<Result<(), RunError>>,
}

impl Running {
    /// Drains and stops, as SIGTERM does.
    pub async fn stop(self) {
        self.stop.cancel();
        self.ended().await.expect("the worker was at work until it was stopped");
    }

    /// Waits until the worker ends by itself.
    pub async fn ended(self) -> Result<(), RunError> {
        tokio::time::timeout(PATIENCE, self.task)
            .await
            .expect("a worker ends in time")
            .expect("a worker does not panic")
    }

    /// Stops at once, wherever it is; what it held comes again when its `ack_wait` or lease is over.
    pub async fn abort(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

impl Stage {
    /// Provisions everything that the catalogue says. PostgreSQL is shared by the tests of the process, the database
    /// is not.
    pub async fn new(catalogue: Catalogue) -> Self {
        Self::with(catalogue, omnibus_bus::Settings::default(), Postgres::shared().await.expect("PostgreSQL starts"))
            .await
    }

    /// As [`Stage::new`], with other limits on the bus, or another PostgreSQL.
    pub async fn with(catalogue: Catalogue, limits: omnibus_bus::Settings, postgres: &Postgres) -> Self {
        Self::set(catalogue, limits, postgres, Scenery::default()).await
    }

    /// As [`Stage::with`], set otherwise than for an ordinary test.
    pub async fn set(
        catalogue: Catalogue,
        mut limits: omnibus_bus::Settings,
        postgres: &Postgres,
        scenery: Scenery,
    ) -> Self {
        limits.tenants = TENANTS
            .map(|tenant| TenantUser::of_every_command(tenant.parse().expect("a constant that is a token")))
            .to_vec();
        let topology = Topology::of(&catalogue, &limits);
        let seeds = tempfile::tempdir().expect("a temporary folder can be made");
        let credentials = Credentials::load_or_generate(seeds.path(), &topology).expect("seeds can be written");
        let server = |name: String, cluster: Option<Cluster>, dir: Option<PathBuf>| {
            let options = ServerOptions {
                name,
                store_dir: None,
                http: None,
                listen: "127.0.0.1:-1".into(),
                sync_always: scenery.sync_always,
                // What streams reserve is a limit, not a need: left to itself, the server would refuse them on a disk
                // (or a file system in memory) that has less than their sum.
                max_store_bytes: Some(1 << 40),
                cluster,
                ..ServerOptions::local("unused")
            };
            let config = server_config(&topology, &credentials.public_keys(), &options).expect("the paths are text");
            // What the servers would tell each other, and their clients, leads around what may stand between them.
            let config =
                config.replace("cluster {\n", "cluster {\n  no_advertise: true\n  advertise: \"127.0.0.1:1\"\n");
            NatsServer::start(NatsOptions { config: NatsConfig::Text(config), dir, ..NatsOptions::default() })
        };
        let servers = async {
            if scenery.nodes.is_empty() {
                return vec![server("omnibus".into(), None, scenery.nats_dir.clone()).await];
            }
            let nodes = scenery.nodes.iter().enumerate().map(|(n, node)| {
                let (listen, routes) = (node.listen.clone(), node.routes.clone());
                server(format!("node-{n}"), Some(Cluster { name: "omnibus".into(), listen, routes }), None)
            });
            join_all(nodes).await
        };
        let (servers, database_url) = tokio::join!(servers, database::fresh(postgres, crate::migrate::BUS));
        let mut servers: Vec<_> = servers.into_iter().map(|nats| nats.expect("nats-server starts")).collect();
        let nats_url = servers.iter().map(NatsServer::url).collect::<Vec<_>>().join(",");
        let nats = servers.remove(0);
        let operator = connect(&nats_url, seeds.path().join("operator.nk"), "operator").await;
        let publisher = publisher::Publisher::new(&operator);
        if servers.is_empty() {
            let provisioned = omnibus_bus::apply(publisher.jetstream(), &topology).await;
            provisioned.expect("the bus can be provisioned");
        } else {
            let mut tries = 0;
            // A cluster elects its leaders first, and passes over what it is asked before.
            while let Err(error) = omnibus_bus::apply(operator.jetstream(), &topology).await {
                tries += 1;
                assert!(tries < 60, "the bus can't be provisioned: {error}");
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
        let db = PgPoolOptions::new().max_connections(4).connect(&database_url).await.expect("the database answers");
        let told = match scenery.deaf {
            true => told::Listener::deaf(),
            false => told::Listener::start(&operator),
        };
        Stage {
            nats: tokio::sync::Mutex::new(nats),
            others: servers.into_iter().map(tokio::sync::Mutex::new).collect(),
            database_url,
            db,
            publisher,
            operator,
            catalogue,
            nats_url,
            seeds,
            told,
            sent: Mutex::new(HashMap::new()),
        }
    }

    /// The server's address.
    pub fn nats_url(&self) -> &str {
        &self.nats_url
    }

    /// The file with a bus user's seed.
    pub fn seed_file(&self, user: &str) -> PathBuf {
        self.seeds.path().join(format!("{user}.nk"))
    }

    /// What there is to say on this stage.
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// A connection as one of the bus's users: a domain, `ingest`, `operator`, `tenant_acme`, `tenant_globex`.
    pub async fn connect(&self, user: &str) -> Bus {
        connect(&self.nats_url, self.seed_file(user), user).await
    }

    /// Runs a worker with the default settings, its tables migrated.
    pub async fn run(&self, worker: Worker) -> Running {
        self.run_with(worker, WorkSettings::defaults()).await
    }

    /// Runs a worker, its tables migrated.
    pub async fn run_with(&self, worker: Worker, settings: WorkSettings) -> Running {
        if let Some(migrations) = worker.migrations() {
            migrations.apply(&self.db).await.expect("the worker's migrations apply");
        }
        let bus = self.connect(worker.domain()).await;
        let database: PgConnectOptions = self.database_url.parse().expect("the kit's own address");
        let db = PgPoolOptions::new()
            .max_connections(8)
            .acquire_timeout(Duration::from_secs(5))
            .connect_lazy_with(database.options(NOT_COMPILED));
        // The first connection may take a busy machine longer than a worker waits for one.
        let opened = async {
            loop {
                match db.acquire().await {
                    Err(sqlx::Error::PoolTimedOut) => {}
                    opened => break opened.map(drop),
                }
            }
        };
        let opened = tokio::time::timeout(PATIENCE, opened).await.expect("the database answers in time");
        opened.expect("the database answers");
        let (stop, health) = (CancellationToken::new(), Health::default());
        let parts =
            Parts { bus, db, catalogue: self.catalogue.clone(), settings, health: health.clone(), stop: stop.clone() };
        Running { stop, health, task: tokio::spawn(worker.run(parts)) }
    }

    /// Publishes a command as the doors do. Returns its id once the bus has it.
    pub async fn publish<C: Command>(&self, tenant: &str, command: &C) -> Uuid {
        self.publish_as(clock::new_id(), tenant, command).await
    }

    /// As [`Stage::publish`], with an id.
    pub async fn publish_as<C: Command>(&self, id: Uuid, tenant: &str, command: &C) -> Uuid {
        let entry =
            self.catalogue.commands().find(|e| e.name == C::NAME && (e.domain == C::DOMAIN || C::DOMAIN == "{domain}"));
        let entry = entry.expect("the catalogue has the command");
        let text = id.to_string();
        let mut map = Envelope {
            id: &text,
            kind: &entry.ce_type(),
            source: "omnibus/test",
            time: clock::now(),
            tenant,
            actor: Some("test"),
            correlation: &text,
            causation: None,
            trace: &TraceParent::start(),
            encoding: Encoding::MessagePack,
        }
        .headers();
        map.insert(headers::MSG_ID, text.as_str());
        self.publish_raw(&entry.subject(tenant), map, encode(Encoding::MessagePack, command)).await;
        self.sent.lock().expect("no panic happens under this lock").insert(id, ());
        id
    }

    /// Publishes many commands, pipelined. They are not among those that [`Stage::drain`] waits for.
    pub async fn backlog<C: Command>(&self, tenant: &str, count: usize, command: impl Fn(usize) -> C) {
        let entry = self.catalogue.command(C::DOMAIN, C::NAME).expect("the catalogue has the command");
        let (subject, kind) = (entry.subject(tenant), entry.ce_type());
        let mut acks = Vec::with_capacity(1000);
        for n in 0..count {
            let id = clock::new_id().to_string();
            let mut map = Envelope {
                id: &id,
                kind: &kind,
                source: "omnibus/test",
                time: clock::now(),
                tenant,
                actor: Some("test"),
                correlation: &id,
                causation: None,
                trace: &TraceParent::start(),
                encoding: Encoding::MessagePack,
            }
            .headers();
            map.insert(headers::MSG_ID, id.as_str());
            let publish = async_nats::jetstream::message::PublishMessage::build()
                .payload(encode(Encoding::MessagePack, &command(n)).into())
                .headers(map);
            let js = self.publisher.jetstream();
            acks.push(js.send_publish(subject.clone(), publish).await.expect("the bus takes the message"));
            if acks.len() == 1000 || n + 1 == count {
                for ack in acks.drain(..) {
                    ack.await.expect("the bus has the message");
                }
            }
        }
    }

    /// Publishes anything at all as the operator and waits for the bus to have it. What has a `Nats-Msg-Id` outlives the
    /// connection.
    pub async fn publish_raw(&self, subject: &str, map: HeaderMap, body: impl Into<Bytes>) -> u64 {
        self.publisher.publish(subject, map, body.into()).await
    }

    /// Waits for a command's terminal event.
    pub async fn outcome(&self, id: Uuid) -> Told {
        let id = id.to_string();
        self.told.wait(PATIENCE, |told| told.outcome.is_some() && told.causation == id).await
    }

    /// Waits for an event that `wanted` accepts, seen since the stage was made.
    pub async fn event(&self, wanted: impl Fn(&Told) -> bool) -> Told {
        self.told.wait(PATIENCE, wanted).await
    }

    /// Waits until every command that was published through the stage has its terminal event.
    pub async fn drain(&self) {
        let sent: Vec<Uuid> = self.sent.lock().expect("no panic happens under this lock").keys().copied().collect();
        for id in sent {
            self.outcome(id).await;
        }
    }

    /// Everything on `EVT` and `DLQ` so far, in the order in which it came.
    pub fn told(&self) -> Vec<Told> {
        self.told.all()
    }

    /// What a command has caused so far.
    pub fn caused_by(&self, id: Uuid) -> Vec<Told> {
        let id = id.to_string();
        self.told.all().into_iter().filter(|told| told.causation == id).collect()
    }

    /// Asks a query as the door does. `Err` has the code and the words.
    pub async fn ask<Q: omnibus_schemas::Query>(
        &self,
        domain: &str,
        tenant: &str,
        query: &Q,
    ) -> Result<Q::Answer, (u16, String)> {
        let mut map = HeaderMap::new();
        map.insert(headers::TENANT, tenant);
        let answer = self.request(subject::query(domain, Q::NAME), map, encode(Encoding::Json, query), true).await?;
        Ok(serde_json::from_slice(&answer).expect("the answer is of the query's type"))
    }

    /// Waits until a worker of this domain answers questions: it takes commands a moment before.
    pub async fn answers(&self, domain: &str) {
        let _ = self.ask(domain, TENANTS[0], &CommandPage { command_id: Uuid::nil() }).await;
    }

    /// Visits a hook as the door does. `Err` has the code and the words.
    pub async fn visit<H: omnibus_schemas::Hook>(&self, visit: &Visit) -> Result<Reply, (u16, String)> {
        let body = encode(Encoding::MessagePack, visit);
        let answer = self.request(subject::query(H::DOMAIN, H::NAME), HeaderMap::new(), body, false).await?;
        Ok(Reply::read(&answer).expect("the reply can be read"))
    }

    /// Until there is an answer. What `may_come_twice` is asked again where the answer may be lost, or the database was late.
    async fn request(
        &self,
        subject: String,
        map: HeaderMap,
        body: Vec<u8>,
        may_come_twice: bool,
    ) -> Result<Bytes, (u16, String)> {
        let body = Bytes::from(body);
        // Longer than the worker takes to say that it can't answer.
        let patience = if may_come_twice { Duration::from_secs(30) } else { PATIENCE };
        let answered = async {
            loop {
                let answer = self.operator.ask(subject.clone(), map.clone(), body.clone(), patience).await;
                let answer = match answer {
                    Ok(Some(answer)) => answer,
                    // A worker that has just been started takes commands a moment before it answers questions.
                    Ok(None) => {
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        continue;
                    }
                    // A question that reaches a worker as it ends is lost with it.
                    Err(PublishError::Away(_)) if may_come_twice => continue,
                    Err(error) => panic!("{subject} is not answered: {error}"),
                };
                let header =
                    |name: &str| answer.headers.as_ref().and_then(|map| map.get(name)).map(ToString::to_string);
                let Some(code) = header(async_nats::service::NATS_SERVICE_ERROR_CODE) else {
                    return Ok(answer.payload);
                };
                let words = header(async_nats::service::NATS_SERVICE_ERROR).unwrap_or_default();
                if words != DATABASE_AWAY || !may_come_twice {
                    return Err((code.parse().expect("the code is a number"), words));
                }
            }
        };
        let answered = tokio::time::timeout(PATIENCE, answered).await;
        answered.unwrap_or_else(|_| panic!("nobody answers {subject}"))
    }

    /// How a lane's consumer stands: what waits, and what is out.
    pub async fn lane(&self, domain: &str, lane: &str) -> (u64, usize) {
        let consumer: async_nats::jetstream::consumer::PullConsumer = self
            .publisher
            .jetstream()
            .get_consumer_from_stream(subject::lane_consumer(domain, lane), subject::command_stream(domain))
            .await
            .expect("the consumer is there");
        let info = consumer.cached_info();
        (info.num_pending, info.num_ack_pending)
    }

    /// The bus user's name of a tenant.
    pub fn tenant_user(tenant: &str) -> String {
        tenant_user(tenant)
    }
}

async fn connect(url: &str, seed: PathBuf, user: &str) -> Bus {
    let settings = BusSettings { nats_url: url.into(), nats_nkey_file: Some(seed), nats_ca_file: None };
    Bus::connect(&settings, user).await.expect("the user may log in")
}
