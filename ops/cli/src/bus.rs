//! `omnibus bus`: the bus as data, like terraform's plan and apply.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::ensure;
use clap::{Args, Subcommand};
use omnibus_bus::{Cluster, Credentials, ServerOptions, Settings, TenantUser, Tls, Topology};
use omnibus_schemas::{Catalogue, Tenant};

use crate::act;
use crate::connect::Connection;
use crate::home::Home;
use crate::show::{self, Output};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The choices that the catalogue does not make.
#[derive(Debug, Clone, Args)]
pub(crate) struct BusChoices {
    /// Copies of every stream and bucket: 1, 3 or 5. More than 1 needs a cluster.
    #[arg(long, env = "BUS_REPLICAS", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=5))]
    replicas: u8,
    /// Days for which a command that was carried out stays in its stream.
    #[arg(long, env = "KEEP_DONE_DAYS", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    keep_done_days: u32,
    /// Largest size of each command stream, in bytes. A full one refuses new commands.
    #[arg(long, env = "CMD_MAX_BYTES", default_value_t = Settings::default().cmd_max_bytes)]
    cmd_max_bytes: u64,
    /// Days for which events are kept.
    #[arg(long, env = "EVT_MAX_AGE_DAYS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..))]
    evt_max_age_days: u32,
    /// Largest size of the event stream, in bytes. Beyond it the oldest events go.
    #[arg(long, env = "EVT_MAX_BYTES", default_value_t = Settings::default().evt_max_bytes)]
    evt_max_bytes: u64,
    /// Days for which what is said in rooms is kept for clients that come back.
    #[arg(long, env = "ROOMS_MAX_AGE_DAYS", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    rooms_max_age_days: u32,
    /// Most entries of one room's log.
    #[arg(long, env = "ROOMS_MAX_ENTRIES", default_value_t = Settings::default().rooms_max_entries, value_parser = clap::value_parser!(u32).range(1..))]
    rooms_max_entries: u32,
    /// Largest size of all rooms' logs together, of all tenants, in bytes. Beyond it the oldest entries go, whosever they are.
    #[arg(long, env = "ROOMS_MAX_BYTES", default_value_t = Settings::default().rooms_max_bytes)]
    rooms_max_bytes: u64,
    /// Largest size of the dead letters, in bytes.
    #[arg(long, env = "DLQ_MAX_BYTES", default_value_t = Settings::default().dlq_max_bytes)]
    dlq_max_bytes: u64,
}

impl BusChoices {
    /// The topology under these choices; `tenants` have bus users of their own.
    pub(crate) fn topology(&self, tenants: &[Tenant]) -> anyhow::Result<Topology> {
        ensure!(self.replicas % 2 == 1, "--replicas must be 1, 3 or 5: an even number has no majority more to lose");
        let settings = Settings {
            replicas: self.replicas,
            keep_done: self.keep_done_days * DAY,
            cmd_max_bytes: self.cmd_max_bytes,
            evt_max_age: self.evt_max_age_days * DAY,
            evt_max_bytes: self.evt_max_bytes,
            rooms_max_age: self.rooms_max_age_days * DAY,
            rooms_max_entries: self.rooms_max_entries,
            rooms_max_bytes: self.rooms_max_bytes,
            dlq_max_bytes: self.dlq_max_bytes,
            tenants: tenants.iter().cloned().map(TenantUser::of_every_command).collect(),
            ..Settings::default()
        };
        Ok(Topology::of(&Catalogue::omnibus(), &settings))
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum BusCommand {
    /// Shows what `apply` would do.
    Plan(OnTheBus),
    /// Makes the bus as it should be. Nothing is ever deleted; done twice, the second does nothing.
    Apply(OnTheBus),
    /// Exits 1 if the bus is not as it should be, and says in what.
    Check(OnTheBus),
    /// Prints the configuration of a nats-server: users with public keys, and the least that each must be allowed.
    /// Missing keys are made.
    Config(Box<Config>),
}

#[derive(Debug, Args)]
pub(crate) struct OnTheBus {
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    choices: BusChoices,
}

#[derive(Debug, Args)]
pub(crate) struct Config {
    #[command(flatten)]
    choices: BusChoices,
    /// Folder with the seeds of all users, one file each; those that are missing are made. `creds` in the home folder by default.
    #[arg(long, env = "CREDS_DIR")]
    creds: Option<PathBuf>,
    /// Tenants that have a bus user of their own, comma-separated.
    #[arg(long = "tenant", env = "TENANTS", value_delimiter = ',')]
    tenants: Vec<Tenant>,
    /// The server's name; unique in a cluster.
    #[arg(long, default_value = "omnibus")]
    name: String,
    /// Where clients connect.
    #[arg(long, default_value = "0.0.0.0:4222")]
    listen: String,
    /// Where monitoring answers. It has no authentication: never a public address.
    #[arg(long, default_value = "127.0.0.1:8222")]
    monitor: String,
    /// Where streams are kept.
    #[arg(long, default_value = "/var/lib/nats")]
    store_dir: PathBuf,
    /// Most bytes on disk; three quarters of what is free by default.
    #[arg(long)]
    max_store_bytes: Option<u64>,
    /// Acknowledges before the disk has it: quicker, and a power failure loses up to two minutes.
    #[arg(long)]
    lazy_sync: bool,
    /// The server's certificate with its chain, in PEM.
    #[arg(long, requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its key.
    #[arg(long, requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Who signed the other servers of the cluster; they are then checked in both directions.
    #[arg(long, requires = "tls_cert")]
    tls_ca: Option<PathBuf>,
    /// The cluster's name; with it the server shares its streams.
    #[arg(long, requires = "cluster_route")]
    cluster: Option<String>,
    /// Where the other servers connect.
    #[arg(long, default_value = "0.0.0.0:6222")]
    cluster_listen: String,
    /// The other servers: `nats://nats-1.nats:6222`. Repeatable, or comma-separated.
    #[arg(long, value_delimiter = ',', requires = "cluster")]
    cluster_route: Vec<String>,
}

impl BusCommand {
    pub(crate) async fn run(self, home: &Home, output: Output) -> anyhow::Result<ExitCode> {
        match self {
            BusCommand::Plan(on) => {
                let (bus, topology) = on.open(home).await?;
                let plan = omnibus_bus::plan(bus.jetstream(), &topology).await?;
                match output {
                    Output::Table => show::text(&plan.to_string()),
                    Output::Json => show::json(&plan),
                }
            }
            BusCommand::Apply(on) => {
                let (bus, topology) = on.open(home).await?;
                let done = omnibus_bus::apply(bus.jetstream(), &topology).await?;
                if !done.is_empty() {
                    let changes: Vec<_> = done.changes.iter().map(ToString::to_string).collect();
                    act::record(&bus, act::HOUSE, "bus.applied", "bus", &changes.join("; ")).await?;
                }
                match output {
                    Output::Json => show::json(&done),
                    Output::Table if done.is_empty() => show::text("Nothing to do: the bus is as it should be."),
                    Output::Table => {
                        for change in &done.changes {
                            show::text(&change.to_string());
                        }
                        let (created, changed, _) = done.counts();
                        show::text(&format!("Applied: {created} created, {changed} changed."));
                    }
                }
            }
            BusCommand::Check(on) => {
                let (bus, topology) = on.open(home).await?;
                let differences = omnibus_bus::check(bus.jetstream(), &topology).await?;
                match output {
                    Output::Json => show::json(&differences),
                    Output::Table if differences.is_empty() => show::text("The bus is as it should be."),
                    Output::Table => differences.iter().for_each(|difference| show::text(&difference.to_string())),
                }
                if !differences.is_empty() {
                    show::remark("the bus is not as it should be: `omnibus bus apply` makes it so");
                    return Ok(ExitCode::FAILURE);
                }
            }
            BusCommand::Config(config) => config.print(home)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl OnTheBus {
    async fn open(&self, home: &Home) -> anyhow::Result<(omnibus_runtime::Bus, Topology)> {
        // Tenants are users, which stand in the server's configuration and not on the bus.
        Ok((self.connection.open(home).await?, self.choices.topology(&[])?))
    }
}

impl Config {
    fn print(self, home: &Home) -> anyhow::Result<()> {
        let topology = self.choices.topology(&self.tenants)?;
        let creds = self.creds.unwrap_or_else(|| home.credentials());
        let credentials = Credentials::load_or_generate(&creds, &topology)?;
        let options = ServerOptions {
            name: self.name,
            listen: self.listen,
            http: Some(self.monitor),
            store_dir: Some(self.store_dir),
            max_store_bytes: self.max_store_bytes,
            sync_always: !self.lazy_sync,
            max_payload: 1 << 20,
            ports_file_dir: None,
            cluster: self.cluster.map(|name| Cluster { name, listen: self.cluster_listen, routes: self.cluster_route }),
            tls: self.tls_cert.zip(self.tls_key).map(|(cert, key)| Tls { cert, key, ca: self.tls_ca }),
        };
        show::text(&omnibus_bus::server_config(&topology, &credentials.public_keys(), &options)?);
        show::remark(&format!("the users' seeds are in {}: give each process its own file", creds.display()));
        Ok(())
    }
}
