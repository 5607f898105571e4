//! The tenants' brands, in memory, as the bucket has them this moment. Whoever has no entry, or one that can't be read, is
//! dressed plainly: a brand is no reason for a mail not to leave.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use anyhow::Context;
use async_nats::jetstream::consumer::push::OrderedErrorKind;
use async_nats::jetstream::kv::Operation;
use futures_util::StreamExt;
use omnibus_runtime::Desk;
use omnibus_schemas::brand::{BUCKET, Brand};
use omnibus_schemas::{Encoding, body};
use tokio::sync::watch;

/// How long a mail waits for the first load after a start, before it leaves in plain dress.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two tries where nobody has made the bucket.
const RETRY: Duration = Duration::from_secs(30);
/// How often the watch is compared with the bucket: one that went silent must not show old brands for ever.
const COMPARE_EVERY: Duration = Duration::from_secs(10);

/// The brands. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Brands {
    active: Arc<RwLock<HashMap<String, Arc<Brand>>>>,
    loaded: Arc<watch::Sender<bool>>,
}

impl Default for Brands {
    fn default() -> Self {
        Brands { active: Arc::default(), loaded: Arc::new(watch::channel(false).0) }
    }
}

impl Brands {
    /// Brands that follow no bucket.
    pub fn of_these(brands: impl IntoIterator<Item = (String, Brand)>) -> Self {
        let these = Brands::default();
        these.replace(brands.into_iter().map(|(tenant, brand)| (tenant, Arc::new(brand))).collect());
        these
    }

    /// The tenant's brand, or a plain one in its name.
    pub async fn of(&self, tenant: &str) -> Arc<Brand> {
        let mut loaded = self.loaded.subscribe();
        if tokio::time::timeout(PATIENCE, loaded.wait_for(|loaded| *loaded)).await.is_err() {
            tracing::warn!(tenant, "the brands are not loaded yet; a plain one is taken");
        }
        let active = self.active.read().expect("no panic happens under this lock");
        active.get(tenant).cloned().unwrap_or_else(|| Arc::new(Brand::plain(tenant)))
    }

    /// Follows the bucket until the worker stops. An error means that the watch is to be made anew.
    pub async fn follow(&self, desk: Desk) -> anyhow::Result<()> {
        let stop = desk.stop.clone();
        stop.run_until_cancelled(self.follow_on(&desk)).await.unwrap_or(Ok(()))
    }

    async fn follow_on(&self, desk: &Desk) -> anyhow::Result<()> {
        let info = format!("$JS.API.STREAM.INFO.KV_{BUCKET}");
        let bucket = loop {
            match desk.bus.guard(&info, desk.bus.jetstream().get_key_value(BUCKET)).await {
                Ok(Ok(bucket)) => break bucket,
                Ok(Err(error)) => tracing::warn!(%error, "there is no bucket of brands; mails are dressed plainly"),
                Err(refusal) => {
                    tracing::warn!(%refusal, "the bucket of brands can't be read; mails are dressed plainly")
                }
            }
            self.loaded.send_replace(true);
            if !desk.pause(RETRY).await {
                return Ok(());
            }
        };
        let mut entries = bucket.watch_with_history(">").await.context("the brands can't be followed")?;
        let status = bucket.status().await.context("the bucket of brands does not answer")?;
        let (created, mut seen) = (status.info.created, 0);
        let goal = status.info.state.last_sequence;
        let mut fresh = HashMap::new();
        let mut loading = status.info.state.messages > 0;
        if !loading {
            self.replace(HashMap::new());
        }
        let mut compare = tokio::time::interval(COMPARE_EVERY);
        compare.reset();
        let mut behind = None;
        loop {
            tokio::select! {
                entry = entries.next() => {
                    let entry = match entry.context("the watch over the brands ended")? {
                        Ok(entry) => entry,
                        Err(error) if missed(&error) => continue,
                        Err(error) => return Err(error).context("the watch over the brands broke"),
                    };
                    seen = entry.revision;
                    let current = entry.seen_current || entry.revision >= goal;
                    let value = (entry.operation == Operation::Put).then_some(&entry.value[..]);
                    match loading {
                        true => apply(&mut fresh, &entry.key, value),
                        false => {
                            apply(&mut self.active.write().expect("no panic happens under this lock"), &entry.key, value);
                        }
                    }
                    if loading && current {
                        loading = false;
                        self.replace(std::mem::take(&mut fresh));
                    }
                }
                _ = compare.tick(), if *desk.bus.connected().borrow() => {
                    let info = bucket.status().await.context("the bucket of brands does not answer")?.info;
                    anyhow::ensure!(info.created == created, "the bucket of brands was made anew");
                    let last = info.state.last_sequence;
                    anyhow::ensure!(behind.is_none_or(|goal| seen >= goal), "the watch over the brands stayed behind");
                    behind = (last > seen && (loading || last > goal)).then_some(last);
                }
            }
        }
    }

    fn replace(&self, brands: HashMap<String, Arc<Brand>>) {
        tracing::info!(brands = brands.len(), "brands loaded");
        *self.active.write().expect("no panic happens under this lock") = brands;
        self.loaded.send_replace(true);
    }
}

/// The client is making the watch anew by itself.
fn missed(error: &async_nats::jetstream::kv::WatcherError) -> bool {
    let source = std::error::Error::source(error);
    let ordered = source.and_then(|error| error.downcast_ref::<async_nats::jetstream::consumer::push::OrderedError>());
    ordered.is_some_and(|error| error.kind() == OrderedErrorKind::MissingHeartbeat)
}

/// `None` for an entry that was removed.
fn apply(brands: &mut HashMap<String, Arc<Brand>>, tenant: &str, value: Option<&[u8]>) {
    let Some(value) = value else {
        brands.remove(tenant);
        return;
    };
    match read(value) {
        Ok(brand) if brands.get(tenant).is_some_and(|known| known.revision > brand.revision) => {
            tracing::warn!(tenant, "an older brand came after a newer one; it is left out");
        }
        Ok(brand) => drop(brands.insert(tenant.to_owned(), Arc::new(brand))),
        Err(faults) => {
            tracing::error!(tenant, faults, "a tenant's brand can't be read; its mails are dressed plainly");
            brands.remove(tenant);
        }
    }
}

/// What an entry says, by the contract's own rules.
pub(crate) fn read(entry: &[u8]) -> Result<Brand, String> {
    let brand: Brand = body::decode(Encoding::Json, entry).map_err(|fault| fault.to_string())?;
    match body::validate(&brand) {
        Ok(()) => Ok(brand),
        Err(faults) => Err(faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn without_an_entry_a_tenant_is_dressed_in_its_own_name() {
        let brands = Brands::of_these([("acme".to_owned(), Brand::example())]);
        assert_eq!(brands.of("acme").await.name, "Northwind Coffee");
        assert_eq!(*brands.of("globex").await, Brand::plain("globex"));
    }

    #[test]
    fn an_older_revision_that_comes_late_changes_nothing() {
        let mut brands = HashMap::new();
        let mut put = |revision: u64, name: &str| {
            let brand = Brand { revision, name: name.into(), ..Brand::example() };
            apply(&mut brands, "acme", Some(&serde_json::to_vec(&brand).unwrap()));
            brands["acme"].name.clone()
        };
        assert_eq!(put(4, "Fourth"), "Fourth");
        assert_eq!(put(3, "Third"), "Fourth");
        assert_eq!(put(5, "Fifth"), "Fifth");
        apply(&mut brands, "acme", None);
        assert!(brands.is_empty());
    }

    #[test]
    fn an_entry_that_breaks_the_contract_is_none() {
        let mut brand = serde_json::to_value(Brand::example()).unwrap();
        assert!(read(brand.to_string().as_bytes()).is_ok());
        brand["light"]["text"] = "red; background: url(https://x.example)".into();
        let faults = read(brand.to_string().as_bytes()).unwrap_err();
        assert!(faults.starts_with("/light/text"), "{faults}");
        assert!(read(b"{}").unwrap_err().contains("missing field"));
    }
}
