//! Every worker in this process, each with its own connections.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::bail;
use futures_util::StreamExt;
use omnibus_runtime::process;
use omnibus_runtime::settings::{DatabaseSettings, WorkSettings};
use omnibus_runtime::worker::Parts;
use omnibus_runtime::{Bus, Health, Worker};
use omnibus_schemas::Catalogue;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Ended;
use super::servers::Servers;
use crate::home::Home;
use crate::{parts, status};

/// How long workers may take to be at work.
const PATIENCE: Duration = Duration::from_secs(30);

/// How they work, from the environment.
pub(super) fn settings() -> anyhow::Result<WorkSettings> {
    let settings: WorkSettings = parts::from_environment("the workers")?;
    settings.check().map_err(anyhow::Error::msg)?;
    // A lane of one worker is none of another's, so all take all of theirs.
    Ok(WorkSettings { lanes: vec![], ..settings })
}

/// Starts them.
#[expect(clippy::too_many_arguments, reason = "each is another part of the house; a type for them would be used once")]
pub(super) async fn start(
    servers: &Servers,
    home: &Home,
    workers: Vec<Worker>,
    settings: &WorkSettings,
    database_connections: u32,
    health: &Health,
    stop: &CancellationToken,
    running: &mut JoinSet<Ended>,
) -> anyhow::Result<()> {
    let database = DatabaseSettings { database_url: servers.database_url().into(), database_connections };
    for worker in workers {
        let domain = worker.domain();
        let parts = Parts {
            bus: servers.connect(home, domain).await?,
            db: process::connect(&database, health).await,
            catalogue: Catalogue::omnibus(),
            settings: settings.clone(),
            health: health.clone(),
            stop: stop.clone(),
        };
        running.spawn(async move {
            let db = parts.db.clone();
            let ended = worker.run(parts).await;
            db.close().await;
            (format!("the worker {domain}"), ended.map_err(Into::into))
        });
    }
    Ok(())
}

/// Returns when every domain's worker answers.
pub(super) async fn all_answer(operator: &Bus) -> anyhow::Result<()> {
    let catalogue = Catalogue::omnibus();
    let mut missing: BTreeSet<String> = catalogue.domains().iter().map(|domain| domain.name.to_owned()).collect();
    let until = tokio::time::Instant::now() + PATIENCE;
    loop {
        let mut pongs = std::pin::pin!(status::ping(operator, Duration::from_millis(100)).await?);
        while let Some(pong) = pongs.next().await {
            missing.remove(&pong.name);
            if missing.is_empty() {
                return Ok(());
            }
        }
        if tokio::time::Instant::now() > until {
            let names: Vec<_> = missing.into_iter().collect();
            bail!("no worker answers for: {} (waited {} s)", names.join(", "), PATIENCE.as_secs());
        }
    }
}
