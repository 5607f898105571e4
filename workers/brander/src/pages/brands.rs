//! The active brands, in memory: the same bucket, followed the same way, as the mailer follows.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::Context;
use async_nats::jetstream::kv::Operation;
use futures_util::{StreamExt, TryStreamExt};
use omnibus_runtime::Desk;
use omnibus_schemas::brand::Brand;

use crate::Brander;

/// Follows the bucket until the worker stops. What is known stays known while the connection is away.
pub(crate) async fn follow(brander: Arc<Brander>, desk: Desk) -> anyhow::Result<()> {
    let store = brander.brands().await?;
    // What was removed while nobody followed is told by nobody.
    let standing: BTreeSet<String> = store.keys().await?.try_collect().await?;
    brander.shelf.undress_all_but(&standing);
    let mut told = store.watch_with_history(">").await?;
    loop {
        let entry = tokio::select! {
            entry = told.next() => entry.context("the bucket of brands is followed no more")??,
            () = desk.stop.cancelled() => return Ok(()),
        };
        match entry.operation {
            Operation::Put => match serde_json::from_slice::<Brand>(&entry.value) {
                Ok(brand) => brander.shelf.dress(&entry.key, Some(brand)),
                Err(error) => {
                    tracing::error!(tenant = entry.key, %error, "a brand can't be read; the one before it stays")
                }
            },
            Operation::Delete | Operation::Purge => brander.shelf.dress(&entry.key, None),
        }
    }
}
