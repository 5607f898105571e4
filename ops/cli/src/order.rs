//! Putting a command on the bus, with a whole envelope.

use anyhow::Context;
use async_nats::jetstream::publish::PublishAck;
use bytes::Bytes;
use omnibus_runtime::envelope::Envelope;
use omnibus_runtime::trace::TraceParent;
use omnibus_runtime::{Bus, clock};
use omnibus_schemas::{Encoding, headers};
use uuid::Uuid;

/// `ce-source` of everything that this program says.
pub(crate) const SOURCE: &str = "omnibus/cli";

/// A command that is ready to go.
#[derive(Debug)]
pub(crate) struct Order<'a> {
    pub(crate) id: Uuid,
    pub(crate) subject: String,
    /// `ce-type`.
    pub(crate) kind: &'a str,
    pub(crate) tenant: &'a str,
    /// The first message of the chain; itself if absent.
    pub(crate) correlation: Option<&'a str>,
    /// The message that caused it.
    pub(crate) causation: Option<&'a str>,
    pub(crate) trace: TraceParent,
    pub(crate) encoding: Encoding,
    pub(crate) body: Bytes,
}

impl Order<'_> {
    /// Publishes it and awaits the PubAck.
    pub(crate) async fn publish(self, bus: &Bus) -> anyhow::Result<PublishAck> {
        let id = self.id.to_string();
        let envelope = Envelope {
            id: &id,
            kind: self.kind,
            source: SOURCE,
            time: clock::now(),
            tenant: self.tenant,
            actor: Some(bus.user()),
            correlation: self.correlation.unwrap_or(&id),
            causation: self.causation,
            trace: &self.trace,
            encoding: self.encoding,
        };
        let mut map = envelope.headers();
        map.insert(headers::MSG_ID, id.as_str());
        let published = bus.publish(&self.subject, map, self.body).await;
        published.with_context(|| format!("the command was not accepted on {}", self.subject))
    }
}
