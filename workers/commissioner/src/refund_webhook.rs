//! Refunds as a shop's own webhook reports them.

use omnibus_runtime::{AskError, At, Receive, Reply, Visit};
use omnibus_schemas::commissioner::{RecordRefund, RefundWebhook};

use crate::Commissioner;

impl Receive<RefundWebhook> for Commissioner {
    async fn receive(&self, at: &mut At<'_>, visit: Visit) -> Result<Reply, AskError> {
        self.reported::<RecordRefund>(at, visit, "refunds").await
    }
}
