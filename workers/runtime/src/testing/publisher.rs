//! Publications that a busy machine and a killed server may hold up, and that fail for neither.

use async_nats::HeaderMap;
use async_nats::jetstream::Context;
use async_nats::jetstream::message::PublishMessage;
use bytes::Bytes;
use omnibus_schemas::headers;

use super::PATIENCE;
use crate::bus::Bus;

/// The operator, as one who publishes.
pub(super) struct Publisher {
    operator: Bus,
    patient: Context,
}

impl Publisher {
    pub(super) fn new(operator: &Bus) -> Self {
        let mut patient = operator.jetstream().clone();
        patient.set_timeout(PATIENCE);
        Publisher { operator: operator.clone(), patient }
    }

    /// JetStream, where acknowledgements are waited for with the kit's patience.
    pub(super) fn jetstream(&self) -> &Context {
        &self.patient
    }

    /// Publishes and waits until the bus has it. Returns its sequence.
    pub(super) async fn publish(&self, subject: &str, map: HeaderMap, body: Bytes) -> u64 {
        // Any other would be stored twice, if it is the answer that was lost and not the message.
        let repeatable = map.get(headers::MSG_ID).is_some();
        let publishing = async {
            loop {
                let mut connected = self.operator.connected();
                connected.mark_unchanged();
                let publish = PublishMessage::build().payload(body.clone()).headers(map.clone());
                let sent = async { self.patient.send_publish(subject.to_owned(), publish).await?.await };
                // Neither a message nor its answer outlives the connection that it was on.
                let back = async {
                    let _ = connected.changed().await;
                    let _ = connected.wait_for(|connected| *connected).await;
                };
                tokio::select! {
                    sent = self.operator.guard(subject, sent) => break sent,
                    () = back, if repeatable => {}
                }
            }
        };
        let sent = tokio::time::timeout(PATIENCE, publishing).await.expect("the bus answers in time");
        sent.expect("the operator may publish there").expect("the bus takes the message").sequence
    }
}
