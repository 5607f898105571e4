//! Reading a durable consumer without an inbox: for a record, whose own table says what it has already. What is read
//! comes again until it is acknowledged.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::PullConsumer;
use futures_util::StreamExt;
use omnibus_bus::ConsumerSpec;

use crate::bus::Refusal;
use crate::desk::Desk;
use crate::ear::{Ear, Hearing};
use crate::worker::{self, RunError};

/// How long a pull waits for a first message.
const IDLE_PULL: Duration = Duration::from_secs(2);
/// What is there comes at once; a pull that a server forgot is not waited for.
const PULL_ANSWER: Duration = Duration::from_secs(5);
/// What one batch may weigh, roughly: the largest messages there can be are not to fill the memory.
const MOST_BYTES: usize = 16 << 20;
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(250);

/// Reads one consumer, over a connection beside the worker's own: what is delivered can end it (see `broken`), and
/// then another is made. Such a message is taken out by the lane whose it is.
pub struct Reader {
    desk: Desk,
    stream: String,
    consumer: String,
    ear: Arc<Ear>,
    hearing: Option<(Hearing, PullConsumer)>,
}

impl Reader {
    pub(crate) async fn open(desk: &Desk, ear: Arc<Ear>, spec: &ConsumerSpec) -> Result<Self, RunError> {
        worker::bind(&desk.bus, spec).await?;
        let (stream, consumer) = (spec.stream.clone(), spec.durable_name.clone());
        Ok(Reader { desk: desk.clone(), stream, consumer, ear, hearing: None })
    }

    /// The stream that is read.
    pub fn stream(&self) -> &str {
        &self.stream
    }

    /// What is there, up to `most` messages; waits for the first. Empty when the worker is to stop.
    ///
    /// # Errors
    /// If the bus user lacks a permission; anything else is waited out.
    pub async fn next(&mut self, most: usize) -> Result<Vec<Message>, Refusal> {
        let part = format!("record of {}", self.stream);
        let pull_subject = format!("$JS.API.CONSUMER.MSG.NEXT.{}.{}", self.stream, self.consumer);
        while !self.desk.stop.is_cancelled() {
            let hearing = match &self.hearing {
                Some((hearing, _)) => hearing.clone(),
                None => self.ear.now().await,
            };
            let pulled = hearing.bus.guard(&pull_subject, self.pull(&hearing, most)).await?;
            match pulled {
                Ok((heard, batch)) => {
                    self.hearing = Some((hearing, heard));
                    self.desk.health.well(&part);
                    if !batch.is_empty() {
                        return Ok(batch);
                    }
                }
                Err(error) => {
                    self.desk.health.ill(&part, error.to_string());
                    self.hearing = None;
                    self.ear.renewed(&hearing).await;
                    self.desk.pause(PAUSE).await;
                }
            }
        }
        Ok(Vec::new())
    }

    async fn pull(&self, hearing: &Hearing, most: usize) -> Result<(PullConsumer, Vec<Message>), async_nats::Error> {
        let consumer = match &self.hearing {
            Some((_, consumer)) => consumer.clone(),
            None => {
                let js = hearing.bus.jetstream();
                js.get_consumer_from_stream(self.consumer.as_str(), self.stream.as_str()).await?
            }
        };
        let mut batch = Vec::new();
        let mut at_once = consumer.fetch().max_messages(most).max_bytes(MOST_BYTES).messages().await?;
        loop {
            match tokio::time::timeout(PULL_ANSWER, at_once.next()).await {
                Ok(Some(Ok(message))) => batch.push(message),
                Ok(None) => break,
                Ok(Some(Err(_))) | Err(_) if !batch.is_empty() => break,
                Ok(Some(Err(error))) => return Err(error),
                Err(_) => return Err("no answer to a pull".into()),
            }
        }
        if batch.is_empty() {
            let mut one = consumer.batch().max_messages(1).expires(IDLE_PULL).messages().await?;
            while let Some(message) = one.next().await {
                batch.push(message?);
            }
        }
        Ok((consumer, batch))
    }
}

/// Acknowledges what is on the record. What gets lost makes its message come again, nothing more.
pub async fn acknowledge(batch: &[Message]) {
    let mut lost = 0;
    for message in batch {
        lost += usize::from(message.ack().await.is_err());
    }
    if lost > 0 {
        tracing::debug!(lost, "acknowledgements got lost");
    }
}
