//! One lane's loop: fetch what is there, decide it in one transaction, publish, acknowledge.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::PullConsumer;
use futures_util::StreamExt;
use omnibus_schemas::subject::BULK;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;

use crate::clock;
use crate::delivery::Delivery;
use crate::ear::{Ear, Hearing};
use crate::engine::Engine;
use crate::record::Finished;
use crate::turns::{First, LITTLE};

/// How long a pull waits for a first message. Short, because a worker that is told to stop waits it out: what the
/// server sends to a pull that nobody listens to any more is lost until `ack_wait`.
const IDLE_PULL: Duration = Duration::from_secs(2);
/// The server answers a pull for what is there at once. If it was restarted in between, the pull is lost, and the
/// client would wait for its answer for ever.
const PULL_ANSWER: Duration = Duration::from_secs(5);

/// How many batches of one loop may be on their way to the bus while the next is decided. A bus that is slower than the
/// database gets more at once then, up to here; then it holds the loop up.
pub(crate) const TELLING: usize = 3;

/// A lane of commands, or the worker's reactions to events.
pub(crate) struct Lane {
    pub(crate) engine: Arc<Engine>,
    /// The stream's name.
    pub(crate) stream: String,
    /// The durable consumer's name; also the inbox's.
    pub(crate) consumer: String,
    /// The lane's name, for metrics.
    pub(crate) name: String,
    /// Does it consume events of other domains?
    pub(crate) reaction: bool,
    /// Never more messages here than there is room to work on them: prefetched messages age towards redelivery.
    pub(crate) permits: Arc<Semaphore>,
    /// No pull is for fewer: where calls take their time, room comes back one by one, and a transaction for each would cost
    /// more than it brings.
    pub(crate) least: u32,
    /// Never more outgoing calls at once.
    pub(crate) calls: Semaphore,
    /// Where its messages are pulled over.
    pub(crate) ear: Arc<Ear>,
    /// Where the look for what can't be read goes on. Held by the loop that looks.
    pub(crate) looked: Mutex<u64>,
    /// To the lane's recorder.
    pub(crate) finished: mpsc::Sender<Finished>,
}

/// Why a lane can't go on.
#[derive(Debug, thiserror::Error)]
pub enum LaneError {
    /// Somebody deleted the consumer underfoot.
    #[error("the consumer {consumer} of stream {stream} is gone; run `omnibus bus apply`")]
    ConsumerGone {
        /// The stream.
        stream: String,
        /// The consumer.
        consumer: String,
    },
    /// The bus user lacks a permission.
    #[error(transparent)]
    Refused(#[from] crate::bus::Refusal),
}

impl Lane {
    /// Runs until the engine stops. Several run at once for one lane. `consumer` is of the engine's own connection.
    pub(crate) async fn pump(self: Arc<Self>, consumer: PullConsumer) -> Result<(), LaneError> {
        let part = format!("lane {}", self.consumer);
        let pull_subject = format!("$JS.API.CONSUMER.MSG.NEXT.{}.{}", self.stream, self.consumer);
        let mut pause = Duration::from_millis(100);
        let mut hearing: Option<(Hearing, PullConsumer)> = None;
        let mut telling: VecDeque<JoinHandle<()>> = VecDeque::new();
        let mut losses = 0;
        while !self.engine.stop.is_cancelled() {
            let Some(mut permits) = self.permits().await else { break };
            let mut _alone = None;
            if self.is_bulk() {
                _alone = self.engine.turns.alone().await;
                self.engine.turns.give_way().await;
                permits.truncate(self.most());
            }
            let (ear, heard) = match hearing.take() {
                Some((ear, heard)) => (ear, Ok(heard)),
                None => {
                    let ear = self.ear.now().await;
                    let heard = self.heard_by(&ear).await;
                    (ear, heard)
                }
            };
            let lost = std::mem::replace(&mut losses, ear.bus.losses()) != ear.bus.losses();
            if lost {
                // Perhaps over what was just delivered.
                self.look_through(&consumer).await;
            }
            let pull = async {
                let heard = heard?;
                let batch = self.pull(&heard, permits).await?;
                Ok::<_, async_nats::Error>((heard, batch))
            };
            let pulled = ear.bus.guard(&pull_subject, pull).await?;
            match pulled {
                Ok((heard, batch)) => {
                    hearing = Some((ear, heard));
                    pause = Duration::from_millis(100);
                    self.engine.health.well(&part);
                    if !batch.is_empty() {
                        let began = Instant::now();
                        telling.extend(self.process(batch).await);
                        if self.is_bulk() {
                            self.engine.turns.rest(began.elapsed()).await;
                        }
                        while telling.len() > TELLING
                            && let Some(before) = telling.pop_front()
                        {
                            tokio::select! {
                                // It is waited for all the same, but not by this loop: see `Engine::tasks`.
                                () = self.engine.stop.cancelled() => break,
                                _ = before => {}
                            }
                        }
                    }
                }
                Err(error) => {
                    self.engine.health.ill(&part, error.to_string());
                    if self.gone(&consumer).await {
                        return Err(LaneError::ConsumerGone {
                            stream: self.stream.clone(),
                            consumer: self.consumer.clone(),
                        });
                    }
                    self.ear.renewed(&ear).await;
                    self.look_through(&consumer).await;
                    tokio::select! {
                        () = self.engine.stop.cancelled() => break,
                        () = tokio::time::sleep(pause.mul_f64(0.5 + clock::chance() / 2.0)) => {}
                    }
                    pause = (pause * 2).min(Duration::from_secs(5));
                }
            }
        }
        Ok(())
    }

    pub(crate) fn is_bulk(&self) -> bool {
        self.name == BULK
    }

    /// Of how many messages a transaction of this lane is made at most, as things are.
    pub(crate) fn most(&self) -> usize {
        let batch = self.engine.settings.batch as usize;
        match self.is_bulk() && self.engine.turns.lively() {
            true => batch.min(LITTLE),
            false => batch,
        }
    }

    async fn look_through(self: &Arc<Self>, consumer: &PullConsumer) {
        if let Err(error) = self.weed(consumer).await {
            tracing::debug!(domain = self.engine.domain, %error, "what is out could not be looked through");
        }
    }

    async fn heard_by(&self, ear: &Hearing) -> Result<PullConsumer, async_nats::Error> {
        let consumer = ear.bus.jetstream().get_consumer_from_stream(self.consumer.as_str(), self.stream.as_str());
        Ok(consumer.await?)
    }

    /// Room for as few messages as a pull is worth, and for as many as a batch may have.
    async fn permits(&self) -> Option<Vec<OwnedSemaphorePermit>> {
        let mut first = tokio::select! {
            () = self.engine.stop.cancelled() => return None,
            permit = self.permits.clone().acquire_many_owned(self.least) => permit.expect("this semaphore is never closed"),
        };
        let mut permits: Vec<_> = std::iter::from_fn(|| first.split(1)).collect();
        while permits.len() < self.engine.settings.batch as usize {
            match self.permits.clone().try_acquire_owned() {
                Ok(permit) => permits.push(permit),
                Err(_) => break,
            }
        }
        Some(permits)
    }

    /// Takes what is there, up to the permits; if nothing is, waits a while for one message.
    async fn pull(
        &self,
        consumer: &PullConsumer,
        mut permits: Vec<OwnedSemaphorePermit>,
    ) -> Result<Vec<Arc<Delivery>>, async_nats::Error> {
        let (mut batch, mut first) = (Vec::new(), None);
        let mut at_once = consumer.fetch().max_messages(permits.len()).messages().await?;
        loop {
            match tokio::time::timeout(PULL_ANSWER, at_once.next()).await {
                Ok(Some(Ok(message))) => self.take(message, &mut permits, &mut first, &mut batch),
                Ok(None) => break,
                // What has come is worked on; what is wrong shows with the next pull.
                Ok(Some(Err(_))) | Err(_) if !batch.is_empty() => break,
                Ok(Some(Err(error))) => return Err(error),
                Err(_) => return Err("no answer to a pull".into()),
            }
        }
        if batch.is_empty() {
            let mut one = consumer.batch().max_messages(1).expires(IDLE_PULL).messages().await?;
            while let Some(message) = one.next().await {
                self.take(message?, &mut permits, &mut first, &mut batch);
            }
        }
        if self.engine.stop.is_cancelled() {
            for delivery in batch.drain(..) {
                delivery.again_in(Duration::ZERO).await;
            }
        }
        Ok(batch)
    }

    fn take(
        &self,
        message: Message,
        permits: &mut Vec<OwnedSemaphorePermit>,
        first: &mut Option<Arc<First>>,
        batch: &mut Vec<Arc<Delivery>>,
    ) {
        if let (Some(delivery), Some(permit)) = (Delivery::read(message), permits.pop()) {
            // Nobody waits for a reaction.
            if first.is_none() && !self.reaction && !self.is_bulk() {
                *first = Some(Arc::new(self.engine.turns.first()));
            }
            batch.push(Arc::new(delivery.with(permit, first.clone())));
        }
    }

    async fn gone(&self, consumer: &PullConsumer) -> bool {
        use async_nats::jetstream::ErrorCode;
        use async_nats::jetstream::context::ConsumerInfoErrorKind;
        match consumer.get_info().await {
            Ok(_) => false,
            Err(error) => match error.kind() {
                ConsumerInfoErrorKind::NotFound => true,
                ConsumerInfoErrorKind::JetStream(error) => {
                    [ErrorCode::CONSUMER_NOT_FOUND, ErrorCode::STREAM_NOT_FOUND].contains(&error.error_code())
                }
                _ => false,
            },
        }
    }
}
