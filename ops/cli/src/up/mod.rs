//! `omnibus up`: the whole house on one machine, in one process besides its two servers. Every part has its own bus
//! user, so permissions count here as they do in production.

mod demo;
mod door;
mod keys;
mod servers;
mod workers;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Args;
use omnibus_runtime::{Health, metrics, process};
use omnibus_schemas::Tenant;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::bus::BusChoices;
use crate::home::{self, Home};
use crate::{parts, show};
use servers::Servers;

/// Workers and the door read the environment variables that their own programs read (SMTP_HOST, FROM_EMAIL, MAIL_DIR,
/// WEBSOCKET_SECRET, RATE_LIMIT_TENANT, BATCH, ...): see `mailer --help` and `ingest --help`. NATS_URL and DATABASE_URL
/// are not read: both servers are private to this process.
#[derive(Debug, Args)]
pub(crate) struct Up {
    /// Plays one real order through: an email over HTTP, and the same over plain NATS.
    #[arg(long)]
    demo: bool,
    /// Ends after the demo, with status 0 if it went well.
    #[arg(long, requires = "demo")]
    once: bool,
    /// Address and port of the HTTP door. Port 0 takes a free one.
    #[arg(long, alias = "http-addr", env = "HTTP_LISTEN", default_value = "127.0.0.1:8080")]
    http_listen: SocketAddr,
    /// NATS's port on 127.0.0.1. 0 takes a free one. By default 4222, or a free one if that is taken.
    #[arg(long, env = "NATS_PORT")]
    nats_port: Option<u16>,
    /// Tenants that may use NATS directly, comma-separated. The first gets the API key and the demo.
    #[arg(long = "tenant", env = "TENANTS", value_delimiter = ',', default_value = "demo")]
    tenants: Vec<Tenant>,
    /// Connections of each worker to PostgreSQL at most.
    #[arg(long, env = "DATABASE_CONNECTIONS", default_value_t = 8, value_parser = clap::value_parser!(u32).range(2..=50))]
    database_connections: u32,
    #[command(flatten)]
    choices: BusChoices,
}

/// A part of the house that ended, and how.
type Ended = (String, anyhow::Result<()>);

/// What runs, until it is told to stop.
struct House {
    servers: Servers,
    parts: JoinSet<Ended>,
    stop: CancellationToken,
    facts: Facts,
}

/// What the user needs to know.
struct Facts {
    url: String,
    tenant: Tenant,
    key: String,
    /// Where mails land, unless they leave by SMTP.
    mail: Result<std::path::PathBuf, String>,
}

/// How long the parts may take to end. They bound themselves; this is the net below.
const PATIENCE: Duration = Duration::from_secs(50);

impl Up {
    pub(crate) async fn run(self, home: Home) -> anyhow::Result<ExitCode> {
        let began = Instant::now();
        ensure!(self.choices_fit(), "--tenant must name at least one tenant");
        metrics::recorder();
        let stop = CancellationToken::new();
        watch_signals(stop.clone())?;
        let started = tokio::select! {
            started = self.start(&home, stop.clone()) => started,
            () = stop.cancelled() => {
                show::remark("stopped before everything had started");
                return Ok(ExitCode::SUCCESS);
            }
        };
        let mut house = started?;
        house.facts.print(&home, &house.servers, began.elapsed());

        let mut code = ExitCode::SUCCESS;
        if self.demo {
            let played = tokio::select! {
                played = demo::play(&house.facts, &home, house.servers.nats_url()) => Some(played),
                () = stop.cancelled() => None,
            };
            match played {
                Some(Ok(())) => {}
                Some(Err(error)) => {
                    show::error(&error.context("the demo failed"));
                    code = ExitCode::FAILURE;
                }
                None => {}
            }
        }
        if !self.once && !stop.is_cancelled() {
            show::text("\nCtrl-C ends it.");
            if let Err(error) = house.wait().await {
                show::error(&error);
                code = ExitCode::FAILURE;
            }
        }
        if let Err(error) = house.end().await {
            show::error(&error);
            code = ExitCode::FAILURE;
        }
        Ok(code)
    }

    fn choices_fit(&self) -> bool {
        !self.tenants.is_empty()
    }

    async fn start(&self, home: &Home, stop: CancellationToken) -> anyhow::Result<House> {
        home.make()?;
        // What is wrong with a setting is told before anything is started.
        let mut mailer = parts::mailer_settings()?;
        if std::env::var_os("MAIL_DIR").is_none() {
            mailer.mail_dir = home.mail();
        }
        let mail = match &mailer.smtp_host {
            Some(host) => Err(format!("{host}:{}", mailer.smtp_port)),
            None => std::path::absolute(&mailer.mail_dir).map_err(|error| error.to_string()),
        };
        let workers = parts::workers(mailer, home.path(), Some(self.http_listen))?;
        let work = workers::settings()?;
        let door = door::settings(self.http_listen, home)?;
        door::is_free(self.http_listen)?;

        let topology = self.choices.topology(&self.tenants)?;
        let servers = Servers::start(home, &topology, self.nats_port).await?;
        let operator = servers.connect(home, "operator").await?;
        tokio::try_join!(
            async {
                omnibus_bus::apply(operator.jetstream(), &topology).await.context("the bus could not be provisioned")
            },
            servers.migrate(),
        )?;
        home::write_private(&home.nats_url(), &servers.nats_url())?;
        home::write_private(&home.database_url(), &servers.database_url())?;
        let tenant = self.tenants[0].clone();
        let key = keys::first_key(&operator, home, &tenant).await?;

        let mut running = JoinSet::new();
        let health = Health::default();
        health.ill("workers", "starting");
        process::watch_bus(&operator, &health);
        let url = door::open(&servers, home, door, &health, &stop, &mut running).await?;
        home::write_private(&home.http_url(), &url)?;
        workers::start(&servers, home, workers, &work, self.database_connections, &health, &stop, &mut running).await?;
        let mut house = House { servers, parts: running, stop, facts: Facts { url, tenant, key, mail } };
        tokio::select! {
            all = workers::all_answer(&operator) => all?,
            ended = house.wait() => {
                ended?;
                anyhow::bail!("stopped before everything had started");
            }
        }
        health.well("workers");
        demo::wait_until_ready(&house.facts.url).await?;
        Ok(house)
    }
}

impl House {
    /// Returns when it is told to stop, or when a part has ended by itself, which is an error.
    async fn wait(&mut self) -> anyhow::Result<()> {
        let stop = self.stop.clone();
        tokio::select! {
            () = stop.cancelled() => Ok(()),
            died = self.servers.died() => Err(died),
            Some(ended) = self.parts.join_next() => match ended {
                // Both were told to stop at once, and this one was quicker to say so.
                Ok((_, Ok(()))) if stop.is_cancelled() => Ok(()),
                Ok((part, Ok(()))) => anyhow::bail!("{part} ended by itself"),
                Ok((part, Err(error))) => Err(error.context(format!("{part} can't go on"))),
                Err(error) => anyhow::bail!("a part of the house panicked: {error}"),
            },
        }
    }

    /// Stops everything in order: the doors and workers, then the servers beneath.
    async fn end(mut self) -> anyhow::Result<()> {
        self.stop.cancel();
        let mut result = Ok(());
        let drained = async {
            while let Some(ended) = self.parts.join_next().await {
                match ended {
                    Ok((_, Ok(()))) => {}
                    Ok((part, Err(error))) => result = Err(error.context(format!("{part} did not end well"))),
                    Err(error) => result = Err(anyhow::anyhow!("a part of the house panicked: {error}")),
                }
            }
        };
        if tokio::time::timeout(PATIENCE, drained).await.is_err() {
            show::remark("what did not finish in time is left; it is taken up at the next start");
        }
        self.servers.stop().await;
        result
    }
}

/// The first signal asks to stop; a second ends at once, and the servers with it.
fn watch_signals(stop: CancellationToken) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("can't listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("can't listen for SIGINT")?;
    tokio::spawn(async move {
        for n in 0.. {
            let number = tokio::select! { _ = terminate.recv() => 15, _ = interrupt.recv() => 2 };
            if n > 0 {
                std::process::exit(128 + number);
            }
            show::remark("ending: what is running may finish; once more ends at once");
            stop.cancel();
        }
    });
    Ok(())
}

impl Facts {
    fn print(&self, home: &Home, servers: &Servers, took: Duration) {
        let Facts { url, tenant, key, mail } = self;
        let row = |name: &str, value: &str| format!("  {name:<12}{value}\n");
        let mut text = format!("{}\n\n", show::bold(&format!("Omnibus is up ({:.1} s).", took.as_secs_f64())));
        text += &row("HTTP", &format!("{url}   (documentation: {url}/docs, readiness: {url}/readyz)"));
        text += &row("NATS", &servers.nats_url());
        text += &row("", &format!("nkey of tenant {tenant}: {}", home.seed(&format!("tenant_{tenant}")).display()));
        text += &row("", &format!("nkey of the operator: {}", home.seed("operator").display()));
        text += &row("PostgreSQL", &servers.database_url());
        text += &match mail {
            Ok(folder) => row("mails", &format!("{}/*.eml", folder.display())),
            Err(server) => row("mails", &format!("leave by SMTP through {server}")),
        };
        text += &row("logs", &servers.logs());
        text += &row("API key", &format!("{key}   (in {})", home.demo_key().display()));
        text += &format!(
            "\nTry it:\n\n  curl -sS {url}/api/v1/email/send \\\n    -H 'Authorization: Bearer {key}' -H 'Content-Type: \
             application/json' -H 'Prefer: wait=5' \\\n    -d '{}'\n",
            demo::FIRST_BODY
        );
        show::text(&text);
    }
}
