//! Commands with a field that is to be sealed ([`Command::SEALED`](omnibus_schemas::Command::SEALED)) and that were refused:
//! perhaps because it was not. What stands in them as it is does not stay on the bus.

use omnibus_schemas::platform::Outcome;

use crate::delivery::Delivery;
use crate::lane::Lane;

impl Lane {
    /// Takes a refused one out of its stream, its bytes overwritten. Before it is acknowledged: whoever is killed in
    /// between gets it again, finds it refused, and takes it out then.
    pub(crate) async fn erase_unsealed(&self, delivery: &Delivery, outcome: Outcome) {
        let meta = &delivery.meta;
        let refused = matches!(outcome, Outcome::Rejected | Outcome::DeadLettered);
        if !refused || meta.sequence == 0 || !self.engine.registry.sealed.contains(meta.name.as_str()) {
            return;
        }
        let erased = async {
            let stream = self.engine.bus.jetstream().get_stream_no_info(&self.stream).await?;
            stream.delete_message(meta.sequence).await?;
            anyhow::Ok(())
        };
        if let Err(error) = erased.await {
            // Gone already, or it stays until it is trimmed.
            tracing::warn!(command_id = %meta.id, %error, "a refused command was not taken out of its stream");
        }
    }
}
