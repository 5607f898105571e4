//! Files in the bus's object store.

use anyhow::{Context, anyhow, bail};
use async_nats::jetstream;
use sha2::{Digest, Sha256};
use tokio::io::AsyncReadExt;
use tokio::sync::OnceCell;

/// The object store, as soon as the worker is connected.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    bus: OnceCell<jetstream::Context>,
}

impl Objects {
    /// Called once the worker runs.
    pub(crate) fn connected(&self, bus: &jetstream::Context) {
        // A second call would bring the same connection.
        let _ = self.bus.set(bus.clone());
    }

    pub(crate) fn bus(&self) -> anyhow::Result<&jetstream::Context> {
        self.bus.get().context("the worker is not connected yet")
    }

    /// Opens a file to be read piece by piece.
    pub(crate) async fn open(&self, bucket: &str, name: &str) -> anyhow::Result<jetstream::object_store::Object> {
        let store = self.bus()?.get_object_store(bucket).await;
        let store = store.map_err(|error| anyhow!("the bucket {bucket} can't be opened: {error}"))?;
        store.get(name).await.map_err(|error| anyhow!("the file can't be read: {error}"))
    }

    /// The whole file, if it is still the one that was uploaded.
    pub(crate) async fn read(&self, bucket: &str, name: &str, size: u64, sha256: &str) -> anyhow::Result<Vec<u8>> {
        let object = self.open(bucket, name).await?;
        let mut bytes = Vec::with_capacity(usize::try_from(size)?);
        object.take(size + 1).read_to_end(&mut bytes).await.context("the file can't be read to its end")?;
        let found: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        if bytes.len() as u64 != size || found != sha256 {
            bail!("the file is not the one that was uploaded");
        }
        Ok(bytes)
    }
}
