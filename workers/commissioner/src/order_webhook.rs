//! Orders as a shop's own webhook reports them.

use omnibus_runtime::{AskError, At, Receive, Reply, Visit};
use omnibus_schemas::commissioner::{OrderWebhook, RecordOrder};

use crate::Commissioner;

impl Receive<OrderWebhook> for Commissioner {
    async fn receive(&self, at: &mut At<'_>, visit: Visit) -> Result<Reply, AskError> {
        self.reported::<RecordOrder>(at, visit, "orders").await
    }
}
