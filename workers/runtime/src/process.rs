//! A worker as a process of its own: settings from flags and environment, signals, exit codes.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use omnibus_schemas::Catalogue;
use secrecy::ExposeSecret;
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::bus::Bus;
use crate::health::Health;
use crate::settings::{DatabaseSettings, Settings};
use crate::worker::{Parts, Worker};
use crate::{clock, metrics, telemetry};

#[derive(Parser)]
#[command(version, about = "An Omnibus worker. Every setting is a flag and an environment variable; .env is read.")]
struct Cli<A: clap::Args> {
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    own: A,
}

/// The whole of a worker's `main`: reads the settings, runs until SIGTERM or SIGINT, drains, exits 0; exits 1 with the
/// reason if it can't start or go on.
pub fn main<A: clap::Args>(build: fn(A) -> anyhow::Result<Worker>) -> ExitCode {
    main_with(Catalogue::omnibus(), build)
}

/// As [`main`], with a catalogue of one's own.
pub fn main_with<A: clap::Args>(catalogue: Catalogue, build: fn(A) -> anyhow::Result<Worker>) -> ExitCode {
    // A missing .env is the ordinary case.
    let _ = dotenvy::dotenv();
    let Cli { settings, own } = Cli::<A>::parse();
    match telemetry::start(&settings.log)
        .and_then(|()| build(own))
        .and_then(|worker| block_on(worker, settings, catalogue))
    {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn block_on(worker: Worker, settings: Settings, catalogue: Catalogue) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(run(worker, settings, catalogue));
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

async fn run(worker: Worker, settings: Settings, catalogue: Catalogue) -> anyhow::Result<()> {
    metrics::recorder();
    let (stop, health) = (CancellationToken::new(), Health::default());
    stop_on_signals(stop.clone());
    if let Some(at) = settings.health_addr {
        health.ill("worker", "starting");
        // Who is asked for pages and can't show them would be taken for dead, and nobody would know why.
        let listener = TcpListener::bind(at).await;
        let listener = listener.with_context(|| format!("can't listen on {at} (--health-addr, HEALTH_ADDR)"))?;
        tokio::spawn(health.clone().serve(listener, stop.clone()));
    }
    let connected = async {
        let bus = Bus::connect(&settings.bus, worker.domain()).await?;
        let db = connect(&settings.database, &health).await;
        anyhow::Ok((bus, db))
    };
    let (bus, db) = tokio::select! {
        () = stop.cancelled() => return Ok(()),
        connected = connected => connected?,
    };
    watch_bus(&bus, &health);
    health.well("worker");
    let parts = Parts { bus, db: db.clone(), catalogue, settings: settings.work, health, stop };
    worker.run(parts).await?;
    db.close().await;
    Ok(())
}

/// Reports the connection to NATS as a part of `health`, and keeps it open for as long as the process runs.
pub fn watch_bus(bus: &Bus, health: &Health) {
    let (bus, health) = (bus.clone(), health.clone());
    tokio::spawn(async move {
        let mut connected = bus.connected();
        loop {
            match *connected.borrow_and_update() {
                true => health.well("nats"),
                false => health.ill("nats", "no connection"),
            }
            if connected.changed().await.is_err() {
                return;
            }
        }
    });
}

/// What PostgreSQL itself gives up after: statements, locks, and a worker's machine that is gone without a word.
const TIMEOUTS: [(&str, &str); 5] = [
    ("statement_timeout", "120s"),
    ("lock_timeout", "30s"),
    ("tcp_keepalives_idle", "30"),
    ("tcp_keepalives_interval", "10"),
    ("tcp_keepalives_count", "3"),
];

/// PostgreSQL compiles no statement to machine code. It would where one seems expensive, as one for hundreds of
/// look-ups does, and compiling it takes longer than carrying it out.
pub(crate) const NOT_COMPILED: [(&str, &str); 1] = [("jit", "off")];

/// Connects to PostgreSQL, waiting for as long as it takes.
pub async fn connect(settings: &DatabaseSettings, health: &Health) -> PgPool {
    let options = PgPoolOptions::new()
        .max_connections(settings.database_connections)
        .min_connections(1)
        .acquire_timeout(Duration::from_secs(10))
        .idle_timeout(Duration::from_secs(300));
    let mut pause = Duration::from_millis(100);
    loop {
        let url = settings.database_url.expose_secret().parse::<PgConnectOptions>();
        // A statement that hangs holds a connection, and its locks, for everybody else.
        let connecting = async { options.clone().connect_with(url?.options(TIMEOUTS).options(NOT_COMPILED)).await };
        match connecting.await {
            Ok(pool) => return pool,
            Err(error) => {
                health.ill("postgres", error.to_string());
                tokio::time::sleep(pause.mul_f64(0.5 + clock::chance() / 2.0)).await;
                pause = (pause * 2).min(Duration::from_secs(5));
            }
        }
    }
}

/// SIGTERM and SIGINT ask to stop, from now on.
///
/// # Panics
/// Outside of a tokio runtime.
pub fn stop_on_signals(stop: CancellationToken) {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).expect("a process may install a SIGTERM handler");
    let mut interrupt = signal(SignalKind::interrupt()).expect("a process may install a SIGINT handler");
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("asked to stop");
        stop.cancel();
    });
}
