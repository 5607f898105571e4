//! Reading a durable consumer without an inbox: for a record, whose own table says what it has already. What is read
//! comes again until it is acknowledged. One process reads at a time, and in the stream's order, whoever was killed with
//! messages in hand: see [`Deliveries`].

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::PullConsumer;
use futures_util::StreamExt;
use omnibus_bus::ConsumerSpec;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::bus::Refusal;
use crate::deliveries::Deliveries;
use crate::desk::{Alone, Desk};
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
/// Between two looks whether what is out has been acknowledged.
const LOOK: Duration = Duration::from_millis(50);
/// By so much the server may be late with what is due again.
const LATE: Duration = Duration::from_millis(500);
/// A database that does not say by then that this process reads alone is away.
const ANSWER: Duration = Duration::from_secs(10);

/// Reads one consumer, over a connection beside the worker's own: what is delivered can end it (see `broken`), and
/// then another is made. Such a message is taken out by the lane whose it is.
pub struct Reader {
    desk: Desk,
    stream: String,
    consumer: String,
    only: Arc<Only>,
    ear: Arc<Ear>,
    hearing: Option<(Hearing, PullConsumer)>,
    deliveries: Deliveries,
    /// What was due again, in the stream's order, and is not handed out yet.
    due: VecDeque<Message>,
}

/// What is out of what was delivered.
enum Out {
    /// Nothing; this was the last number.
    Nothing(u64),
    /// So many messages, none of them behind `through` in the stream, and all of them are due again.
    Due { count: usize, through: u64 },
    /// The worker is to stop.
    NotKnown,
}

impl Reader {
    pub(crate) async fn open(
        desk: &Desk,
        only: Arc<Only>,
        ear: Arc<Ear>,
        spec: &ConsumerSpec,
    ) -> Result<Self, RunError> {
        worker::bind(&desk.bus, spec).await?;
        Ok(Reader {
            desk: desk.clone(),
            stream: spec.stream.clone(),
            consumer: spec.durable_name.clone(),
            only,
            ear,
            hearing: None,
            deliveries: Deliveries::default(),
            due: VecDeque::new(),
        })
    }

    /// The stream that is read.
    pub fn stream(&self) -> &str {
        &self.stream
    }

    /// What is there, up to `most` messages, in the stream's order but for repetitions; waits for the first. Empty when the
    /// worker is to stop.
    ///
    /// # Errors
    /// If the bus user lacks a permission; anything else is waited out.
    pub async fn next(&mut self, most: usize) -> Result<Vec<Message>, Refusal> {
        let part = format!("record of {}", self.stream);
        let pull_subject = format!("$JS.API.CONSUMER.MSG.NEXT.{}.{}", self.stream, self.consumer);
        while !self.desk.stop.is_cancelled() && self.only.held(&self.desk, &part).await {
            let hearing = match &self.hearing {
                Some((hearing, _)) => hearing.clone(),
                None => self.ear.now().await,
            };
            let pulled = hearing.bus.guard(&pull_subject, self.pull(&hearing, most)).await?;
            match pulled {
                Ok(batch) => {
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

    async fn pull(&mut self, hearing: &Hearing, most: usize) -> Result<Vec<Message>, async_nats::Error> {
        let consumer = match &self.hearing {
            Some((_, consumer)) => consumer.clone(),
            None => {
                let js = hearing.bus.jetstream();
                js.get_consumer_from_stream(self.consumer.as_str(), self.stream.as_str()).await?
            }
        };
        let mut batch = Vec::new();
        if self.deliveries.is_unknown() && self.due.is_empty() {
            match self.look(&consumer).await? {
                Out::Nothing(last) => self.deliveries = Deliveries::after(last),
                Out::Due { count, through } => self.due = again(&consumer, count, through).await?,
                Out::NotKnown => {}
            }
        }
        if !self.due.is_empty() {
            batch.extend(self.due.drain(..most.min(self.due.len())));
        } else if !self.deliveries.is_unknown() {
            batch = fetch(&consumer, most, Some(IDLE_PULL)).await?;
            let numbers = batch.iter().map(|message| Ok(message.info()?.consumer_sequence));
            let whole = self.deliveries.take(numbers.collect::<Result<Vec<_>, async_nats::Error>>()?);
            if whole < batch.len() {
                tracing::info!(
                    stream = self.stream,
                    "a delivery is missing; what was given before it comes again first"
                );
                batch.truncate(whole);
            }
        }
        self.hearing = Some((hearing.clone(), consumer));
        Ok(batch)
    }

    /// Waits until nothing that was delivered is out any more, or it is due again.
    async fn look(&self, consumer: &PullConsumer) -> Result<Out, async_nats::Error> {
        let began = Instant::now();
        loop {
            let info = consumer.get_info().await?;
            if info.num_ack_pending == 0 {
                return Ok(Out::Nothing(info.delivered.consumer_sequence));
            }
            if began.elapsed() >= info.config.ack_wait + LATE {
                return Ok(Out::Due { count: info.num_ack_pending, through: info.delivered.stream_sequence });
            }
            if !self.desk.pause(LOOK).await {
                return Ok(Out::NotKnown);
            }
        }
    }
}

/// All that is due again, in the stream's order: the server sends it before anything new, and in the order in which it fell due.
/// Nothing if not all of it comes, because it was acknowledged meanwhile, got lost, or is late; then somebody has to look again.
async fn again(consumer: &PullConsumer, count: usize, through: u64) -> Result<VecDeque<Message>, async_nats::Error> {
    let mut all = BTreeMap::new();
    while all.len() < count {
        let some = fetch(consumer, count - all.len(), None).await?;
        if some.is_empty() {
            return Ok(VecDeque::new());
        }
        for message in some {
            let at = message.info()?.stream_sequence;
            if at > through {
                return Ok(VecDeque::new());
            }
            all.insert(at, message);
        }
    }
    Ok(all.into_values().collect())
}

/// What is there; if nothing is, one message that comes in time.
async fn fetch(
    consumer: &PullConsumer,
    most: usize,
    idle: Option<Duration>,
) -> Result<Vec<Message>, async_nats::Error> {
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
    if let (true, Some(idle)) = (batch.is_empty(), idle) {
        let mut one = consumer.batch().max_messages(1).expires(idle).messages().await?;
        while let Some(message) = one.next().await {
            batch.push(message?);
        }
    }
    Ok(batch)
}

/// That this process is the one that reads, among all replicas.
#[derive(Debug, Default)]
pub(crate) struct Only(Mutex<Option<Alone>>);

impl Only {
    /// Waits until it is. `false` if the worker stops before.
    async fn held(&self, desk: &Desk, part: &str) -> bool {
        desk.stop.run_until_cancelled(self.wait(desk, part)).await.unwrap_or(false)
    }

    async fn wait(&self, desk: &Desk, part: &str) -> bool {
        let mut alone = self.0.lock().await;
        loop {
            if let Some(held) = alone.as_mut()
                && matches!(tokio::time::timeout(ANSWER, held.still()).await, Ok(Ok(())))
            {
                return true;
            }
            *alone = None;
            // Who only stands by lacks nothing.
            desk.health.well(part);
            match desk.alone("record").await {
                Ok(Some(ours)) => {
                    *alone = Some(ours);
                    return true;
                }
                Ok(None) => return false,
                Err(error) => tracing::debug!(%error, "whether this process reads alone can't be said"),
            }
            if !desk.pause(PAUSE).await {
                return false;
            }
        }
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
