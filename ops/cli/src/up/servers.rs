//! The private nats-server and PostgreSQL.

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use anyhow::{Context, bail};
use omnibus_bus::{Credentials, ServerOptions, Topology};
use omnibus_runtime::local::{LocalError, NatsConfig, NatsOptions, NatsServer, Postgres, PostgresOptions};
use omnibus_runtime::{Bus, BusSettings};
use sqlx::postgres::PgPoolOptions;

use crate::home::Home;
use crate::{migrate, show};

/// The port that NATS's clients expect.
const NATS_PORT: u16 = 4222;
/// The one database.
const DATABASE: &str = "omnibus";
/// Room for what has no limit of its own: schedules, advisories, buckets.
const UNLIMITED: u64 = 2 << 30;
/// Between two looks whether the servers still run.
const LOOK: Duration = Duration::from_millis(200);

/// Both servers.
pub(super) struct Servers {
    nats: NatsServer,
    postgres: Postgres,
}

impl Servers {
    /// Starts both, on the data that the home folder has.
    pub(super) async fn start(home: &Home, topology: &Topology, port: Option<u16>) -> anyhow::Result<Self> {
        let (nats, postgres) = tokio::try_join!(start_nats(home, topology, port), start_postgres(home))?;
        Ok(Servers { nats, postgres })
    }

    pub(super) fn nats_url(&self) -> String {
        self.nats.url()
    }

    pub(super) fn database_url(&self) -> String {
        self.postgres.url(DATABASE)
    }

    pub(super) fn logs(&self) -> String {
        format!("{}, {}", self.nats.log().display(), self.postgres.log().display())
    }

    /// Connects as one of the bus users.
    pub(super) async fn connect(&self, home: &Home, user: &str) -> anyhow::Result<Bus> {
        let settings =
            BusSettings { nats_url: self.nats_url().into(), nats_nkey_file: Some(home.seed(user)), nats_ca_file: None };
        Bus::connect(&settings, user).await.with_context(|| format!("the bus user {user}"))
    }

    /// Brings every table up to this version.
    pub(super) async fn migrate(&self) -> anyhow::Result<()> {
        let db = PgPoolOptions::new().max_connections(1).connect(&self.database_url()).await?;
        let migrated = migrate::apply_all(&db).await;
        db.close().await;
        migrated
    }

    /// Returns when one of them has ended by itself.
    pub(super) async fn died(&mut self) -> anyhow::Error {
        let mut look = tokio::time::interval(LOOK);
        loop {
            look.tick().await;
            let ended = [
                (self.nats.died(), "nats-server", self.nats.log()),
                (self.postgres.died(), "PostgreSQL", self.postgres.log()),
            ];
            for (how, server, log) in ended {
                if let Some(how) = how {
                    return anyhow::anyhow!("{server} ended by itself ({how}); its log is {}", log.display());
                }
            }
        }
    }

    /// Stops both in good order.
    pub(super) async fn stop(mut self) {
        tokio::join!(self.nats.stop(), self.postgres.stop());
    }
}

async fn start_nats(home: &Home, topology: &Topology, port: Option<u16>) -> anyhow::Result<NatsServer> {
    let credentials = Credentials::load_or_generate(&home.credentials(), topology)?;
    // The server reserves every stream's largest size. What the disk has free today is no reason to refuse one.
    let reserved: u64 = topology.streams.iter().filter_map(|stream| u64::try_from(stream.max_bytes).ok()).sum();
    let options = ServerOptions {
        // Addresses and folders are given on the command line.
        store_dir: None,
        http: None,
        max_store_bytes: Some(reserved + UNLIMITED),
        ..ServerOptions::local("")
    };
    let config = omnibus_bus::server_config(topology, &credentials.public_keys(), &options)?;
    let options = |port| NatsOptions {
        config: NatsConfig::Text(config.clone()),
        dir: Some(home.nats()),
        port,
        monitor_port: None,
    };
    let started = match port {
        Some(0) => NatsServer::start(options(None)).await,
        Some(port) => NatsServer::start(options(Some(port))).await,
        None if TcpListener::bind((Ipv4Addr::LOCALHOST, NATS_PORT)).is_ok() => {
            NatsServer::start(options(Some(NATS_PORT))).await
        }
        None => {
            show::remark(&format!("port {NATS_PORT} is taken, so NATS gets a free one (--nats-port chooses)"));
            NatsServer::start(options(None)).await
        }
    };
    match started {
        Err(LocalError::Ended { tail, .. }) if tail.contains("address already in use") => {
            let port = port.unwrap_or(NATS_PORT);
            bail!("port {port} of 127.0.0.1 is taken; --nats-port chooses another, and 0 a free one")
        }
        Err(LocalError::InUse { .. }) => bail!(
            "another `omnibus up` runs in {}; stop that one first, or choose another folder with --home",
            home.path().display()
        ),
        other => Ok(other?),
    }
}

async fn start_postgres(home: &Home) -> anyhow::Result<Postgres> {
    let options = PostgresOptions { dir: Some(home.postgres()), durable: true, ..PostgresOptions::default() };
    let postgres = match Postgres::start(options).await {
        Err(LocalError::InUse { .. }) => bail!(
            "another `omnibus up` runs in {}; stop that one first, or choose another folder with --home",
            home.path().display()
        ),
        other => other?,
    };
    postgres.ensure_database(DATABASE).await?;
    Ok(postgres)
}
