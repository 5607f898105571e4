//! `omnibus status`.

use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use omnibus_runtime::Bus;
use serde::{Deserialize, Serialize};

/// A worker that answered. <https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-32.md>
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Pong {
    /// The domain.
    pub(crate) name: String,
    /// The process.
    pub(crate) id: String,
    /// Its version.
    pub(crate) version: String,
}

/// Asks who is there. Ends when nobody new has answered for `quiet`.
pub(crate) async fn ping(bus: &Bus, quiet: Duration) -> anyhow::Result<impl Stream<Item = Pong>> {
    let inbox = bus.client().new_inbox();
    let answers = bus.client().subscribe(inbox.clone()).await?;
    bus.client().publish_with_reply("$SRV.PING", inbox, "".into()).await?;
    bus.client().flush().await?;
    Ok(stream::unfold(answers, move |mut answers| async move {
        loop {
            let message = tokio::time::timeout(quiet, answers.next()).await.ok()??;
            // Nobody listens: the server says so with an empty message.
            if let Ok(pong) = serde_json::from_slice::<Pong>(&message.payload) {
                return Some((pong, answers));
            }
        }
    }))
}
