//! The mailer and Postfix's `smtp-sink`: how many mails, how soon, and with how much memory.

mod latency;
mod memory;
mod process;
mod sink;
mod throughput;

pub(crate) use process::is_mailer;

use omnibus_runtime::local::Postgres;
use omnibus_runtime::testing::{Scenery, Stage};
use omnibus_schemas::Catalogue;

use crate::figures::Table;

/// Connections for single mails.
const POOL: u32 = 10;

/// Mails a second.
pub(crate) async fn throughput(postgres: &Postgres, rounds: usize, mails: usize) -> anyhow::Result<Table> {
    throughput::run(postgres, rounds, mails).await
}

/// From accepted to 250, alone and beside a batch.
pub(crate) async fn latency(postgres: &Postgres, rounds: usize, seconds: u64, rows: usize) -> anyhow::Result<Table> {
    latency::run(postgres, rounds, seconds, rows).await
}

/// What the process holds while many mails pass.
pub(crate) async fn memory(postgres: &Postgres, mails: usize) -> anyhow::Result<Table> {
    memory::run(postgres, mails).await
}

/// A fresh bus and database, on which nobody else listens to what is told.
async fn stage(postgres: &Postgres) -> Stage {
    let scenery = Scenery { deaf: true, ..Scenery::default() };
    Stage::set(Catalogue::omnibus(), omnibus_bus::Settings::default(), postgres, scenery).await
}
