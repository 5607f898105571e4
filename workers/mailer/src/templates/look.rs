//! A tenant's look by its number, active or not: as the white-label worker puts the newest into a bucket of its own.

use std::sync::Arc;
use std::time::Duration;

use omnibus_runtime::AskError;
use omnibus_schemas::brand::{Brand, DRAFTS};

use crate::Mailer;

/// How long a look may take from being told of to lying in the bucket.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two looks whether it lies there.
const LOOK: Duration = Duration::from_millis(50);

impl Mailer {
    /// The look of this number, if it is the newest or the active one.
    pub(super) async fn look_of(&self, tenant: &str, number: u32) -> Result<Arc<Brand>, AskError> {
        let active = self.content.brands.of(tenant).await;
        if active.face.as_ref().is_some_and(|face| face.version == number) {
            return Ok(active);
        }
        let bucket = self.objects.bus().map_err(AskError::Failed)?.get_key_value(DRAFTS).await;
        let bucket = bucket.map_err(|error| AskError::Failed(anyhow::anyhow!("the bucket {DRAFTS}: {error}")))?;
        let late = tokio::time::Instant::now() + PATIENCE;
        loop {
            let entry = bucket.get(tenant).await;
            let entry = entry.map_err(|error| AskError::Failed(anyhow::anyhow!("the bucket {DRAFTS}: {error}")))?;
            let newest = entry.and_then(|bytes| serde_json::from_slice::<Brand>(&bytes).ok());
            match newest.as_ref().map_or(0, |brand| brand.revision) {
                revision if revision == u64::from(number) => return Ok(Arc::new(newest.expect("it has a revision"))),
                revision if revision > u64::from(number) || tokio::time::Instant::now() > late => {
                    let words =
                        format!("brand_version: version {number} is neither the newest look nor the active one");
                    return Err(AskError::NotFound(words));
                }
                _ => tokio::time::sleep(LOOK).await,
            }
        }
    }
}
