//! `ingest`, the program.

use anyhow::Context;
use clap::Parser;
use omnibus_runtime::bus::{Bus, BusSettings};
use omnibus_runtime::telemetry::{self, LogSettings};
use omnibus_runtime::{Health, metrics, process};
use omnibus_schemas::Catalogue;
use tokio_util::sync::CancellationToken;

use crate::{Door, DoorParts, Settings};

/// The bus user of this door.
pub const BUS_USER: &str = "ingest";

/// The HTTP door of Omnibus: authenticates, validates, publishes, answers.
#[derive(Debug, Parser)]
#[command(name = "ingest", version)]
pub struct Arguments {
    /// The door's own.
    #[command(flatten)]
    pub door: Settings,
    /// Where the bus is.
    #[command(flatten)]
    pub bus: BusSettings,
    /// How logs are written.
    #[command(flatten)]
    pub log: LogSettings,
}

/// Runs until SIGTERM or Ctrl-C.
pub async fn run() -> anyhow::Result<()> {
    // No file is fine; a broken one is not.
    match dotenvy::dotenv() {
        Err(error) if !error.not_found() => return Err(error).context("can't read .env"),
        _ => {}
    }
    let arguments = Arguments::parse();
    telemetry::start(&arguments.log)?;
    metrics::recorder();
    let stop = CancellationToken::new();
    process::stop_on_signals(stop.clone());
    let Some(bus) = stop.run_until_cancelled(Bus::connect(&arguments.bus, BUS_USER)).await else { return Ok(()) };
    let parts = DoorParts {
        bus: bus?,
        catalogue: Catalogue::omnibus(),
        settings: arguments.door,
        beside: None,
        health: Health::default(),
        stop,
    };
    Door::new(parts).await?.serve().await?;
    Ok(())
}
