//! Puts a command on the bus and does not say so before the bus has stored it.

use std::time::{Duration, Instant};

use async_nats::jetstream::publish::PublishAck;
use backon::{ExponentialBuilder, Retryable};
use bytes::Bytes;
use omnibus_runtime::Bus;
use omnibus_runtime::bus::PublishError;
use omnibus_runtime::envelope::Envelope;
use omnibus_schemas::headers::MSG_ID;
use uuid::Uuid;

use crate::problem::Problem;

/// An election usually takes longer than this; a lost packet and a reconnect do not.
const RETRY_FOR: Duration = Duration::from_secs(2);

/// A command that is ready to go.
pub(crate) struct Outgoing<'a> {
    pub(crate) id: Uuid,
    pub(crate) subject: String,
    pub(crate) envelope: Envelope<'a>,
    pub(crate) body: Bytes,
    pub(crate) deadline: Duration,
    pub(crate) bus: &'a Bus,
}

/// Is the command new to the stream?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stored {
    New,
    /// It was there, as far as the server remembers.
    Before,
}

impl Outgoing<'_> {
    /// Publishes and awaits the PubAck.
    pub(crate) async fn store(self) -> Result<Stored, Problem> {
        let deadline = self.deadline;
        match tokio::time::timeout(deadline, self.store_once()).await {
            Ok(Ok(stored)) => Ok(stored),
            Ok(Err(error)) => Err(refusal(&error)),
            Err(_) => Err(refusal(&PublishError::Away(format!("no PubAck within {deadline:?}")))),
        }
    }

    async fn store_once(&self) -> Result<Stored, PublishError> {
        let id = self.id.to_string();
        let ack = self.publish(Some(&id)).await?;
        if !ack.duplicate {
            return Ok(Stored::New);
        }
        // The server drops by id alone, whoever sent it: another tenant could make a command vanish by publishing its id
        // first. So it is stored once more, without that id. The inbox, which tells tenants apart, carries it out once.
        self.publish(None).await.map(|_| Stored::Before)
    }

    async fn publish(&self, message_id: Option<&str>) -> Result<PublishAck, PublishError> {
        let start = Instant::now();
        let once = || async {
            // The client would keep the message and send it when the server is back, after we have said no.
            if !*self.bus.connected().borrow() {
                return Err(PublishError::Away("no connection".into()));
            }
            let mut headers = self.envelope.headers();
            if let Some(id) = message_id {
                headers.insert(MSG_ID, id);
            }
            self.bus.publish(&self.subject, headers, self.body.clone()).await
        };
        let delays = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(50))
            .with_max_delay(Duration::from_millis(800))
            .with_max_times(6)
            .with_jitter();
        once.retry(delays).when(|error| matches!(error, PublishError::Away(_)) && start.elapsed() < RETRY_FOR).await
    }
}

fn refusal(error: &PublishError) -> Problem {
    match error {
        PublishError::Full => Problem::queue_full("The queue is full. Nothing was accepted; try again later.").after(5),
        PublishError::TooLarge => Problem::too_large("The command is larger than the bus takes."),
        PublishError::Away(why) => {
            tracing::warn!(why, "the bus took no command");
            Problem::bus_away(
                "The bus did not confirm the command. Send it again, with the same Idempotency-Key if it has one: \
                 it is then carried out once at most.",
            )
            .after(2)
        }
        PublishError::Refused(_) | PublishError::Other(_) => {
            tracing::error!(%error, "the bus refused a command");
            Problem::internal("The bus refused the command. It was not accepted; the log of the door says why.")
        }
    }
}
