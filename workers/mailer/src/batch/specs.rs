//! What all rows of a batch have in common, its text among it: read once, and not for each of ten thousand rows. It never
//! changes, so what is kept is never stale.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use omnibus_runtime::{Cx, Fail};
use omnibus_schemas::mailer::SendBatch;
use serde_json::Value;
use uuid::Uuid;

/// Batches that are kept; the oldest goes first. Each has less than a message of the bus.
const KEPT: usize = 8;

/// The batches that were sent from lately.
#[derive(Default)]
pub(crate) struct Specs {
    kept: Mutex<VecDeque<(String, Uuid, Arc<SendBatch>)>>,
}

/// Neither addresses nor text.
impl std::fmt::Debug for Specs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Specs").finish_non_exhaustive()
    }
}

impl Specs {
    /// The tenant's batch, if there is one.
    pub(super) async fn of(&self, cx: &mut Cx<'_>, batch_id: Uuid) -> Result<Option<Arc<SendBatch>>, Fail> {
        if let Some(known) = self.known(cx.tenant(), batch_id) {
            return Ok(Some(known));
        }
        let spec: Option<Value> =
            sqlx::query_scalar("select spec from mailer.batches where tenant = $1 and batch_id = $2")
                .bind(cx.tenant())
                .bind(batch_id)
                .fetch_optional(cx.db())
                .await?;
        let Some(spec) = spec else { return Ok(None) };
        let spec: Arc<SendBatch> = Arc::new(serde_json::from_value(spec)?);
        let mut kept = self.kept.lock().expect("no panic happens under this lock");
        if kept.len() >= KEPT {
            kept.pop_front();
        }
        kept.push_back((cx.tenant().to_owned(), batch_id, spec.clone()));
        Ok(Some(spec))
    }

    fn known(&self, tenant: &str, batch_id: Uuid) -> Option<Arc<SendBatch>> {
        let kept = self.kept.lock().expect("no panic happens under this lock");
        let found = kept.iter().find(|(owner, id, _)| owner == tenant && *id == batch_id);
        found.map(|(_, _, spec)| spec.clone())
    }
}
