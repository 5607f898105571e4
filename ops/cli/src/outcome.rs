//! Waiting for a command's outcome on the bus.

use std::time::Duration;

use async_nats::Subscriber;
use futures_util::StreamExt;
use omnibus_runtime::Bus;
use omnibus_schemas::subject;

use crate::reading::Reading;

/// Listens for the outcomes of one domain and tenant.
pub(crate) struct Ear {
    events: Subscriber,
}

impl Ear {
    /// Listens from now on: what is published after this has returned is heard. Tenants hear their own events of all
    /// domains only, so `domain` may be `*`.
    pub(crate) async fn open(bus: &Bus, domain: &str, tenant: &str) -> anyhow::Result<Self> {
        let events = bus.client().subscribe(subject::event(domain, "*", tenant)).await?;
        bus.client().flush().await?;
        Ok(Ear { events })
    }

    /// The terminal event of the command `id`; `None` if it does not come in time.
    pub(crate) async fn outcome(&mut self, id: &str, patience: Duration) -> Option<Reading> {
        let heard = async {
            while let Some(event) = self.events.next().await {
                let reading = Reading::of(&event.subject, event.headers.as_ref(), &event.payload);
                if reading.outcome.is_some() && reading.causation.as_deref() == Some(id) {
                    return Some(reading);
                }
            }
            None
        };
        tokio::time::timeout(patience, heard).await.ok().flatten()
    }
}
