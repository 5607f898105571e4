//! Every end but success: rejected, dead-lettered, held; and the putting off of what can't be done now.
//!
//! In this order: the refusal is committed, the dead letter is published and its PubAck awaited, the terminal event is
//! published, the message is terminated. Wherever it is cut, the next delivery goes on from there.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::SecondsFormat;
use omnibus_schemas::body::encode;
use omnibus_schemas::platform::{CommandDeadLettered, CommandHeld, CommandRejected, Outcome};
use omnibus_schemas::{Encoding, Event, Fault, headers, subject};
use uuid::Uuid;

use crate::attempts::{self, Attempt};
use crate::batch::{Published, tenant_bound};
use crate::clock;
use crate::cx::Cx;
use crate::delivery::Delivery;
use crate::engine;
use crate::events::{Events, Outgoing};
use crate::fault::guarded;
use crate::handler::{Fail, Settled};
use crate::inbox::{self, Finish, Outbox};
use crate::lane::Lane;
use crate::metrics::Metric;
use crate::publish::due;
use crate::registry::{Call, Entry};

/// A put-off longer than this, or one of many, waits in the schedule and not in the consumer, whose deliveries and
/// pending acknowledgements are limited.
const LONG: Duration = Duration::from_secs(60);
const OFTEN: u32 = 20;
/// No put-off is longer; whoever asks for more is asked again then.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// How often an effect's `settle` may fail by its own fault before the command ends without it.
const SETTLE_TRIES: u32 = 4;

/// Why a command ends.
#[derive(Debug, Clone)]
pub(crate) enum Why {
    Rejected { code: String, detail: String, faults: Vec<Fault> },
    Dead { code: &'static str, detail: String, attempts: u32 },
    Held { detail: String },
}

impl Why {
    pub(crate) fn rejected(code: &str, detail: impl Into<String>) -> Self {
        Why::Rejected { code: code.to_owned(), detail: detail.into(), faults: vec![] }
    }

    pub(crate) fn invalid(faults: Vec<Fault>) -> Self {
        let detail = match faults.len() {
            1 => "1 field is at fault".to_owned(),
            n => format!("{n} fields are at fault"),
        };
        Why::Rejected { code: "invalid".to_owned(), detail, faults }
    }

    pub(crate) fn dead(code: &'static str, detail: impl Into<String>, attempts: u32) -> Self {
        Why::Dead { code, detail: detail.into(), attempts }
    }

    fn outcome(&self) -> Outcome {
        match self {
            Why::Rejected { .. } => Outcome::Rejected,
            Why::Dead { .. } => Outcome::DeadLettered,
            Why::Held { .. } => Outcome::Held,
        }
    }

    fn detail(&self) -> &str {
        match self {
            Why::Rejected { detail, .. } | Why::Dead { detail, .. } | Why::Held { detail } => detail,
        }
    }

    /// What an effect is told if it has not been told better.
    fn settled(&self) -> Settled {
        let detail = self.detail().to_owned();
        match self {
            Why::Rejected { .. } => Settled::Refused { code: "rejected", detail },
            Why::Dead { .. } => Settled::GaveUp { detail },
            Why::Held { .. } => Settled::Uncertain { detail },
        }
    }
}

/// An end, with the attempt that it closes.
pub(crate) struct End {
    pub(crate) why: Why,
    pub(crate) settled: Settled,
    /// The attempt, and what its `result` becomes. If it is not ours any more, nothing is ended.
    pub(crate) close: Option<(Attempt, &'static str)>,
}

impl End {
    pub(crate) fn of(why: Why) -> Self {
        End { settled: why.settled(), why, close: None }
    }

    pub(crate) fn closing(why: Why, attempt: Attempt, result: &'static str) -> Self {
        End { settled: why.settled(), why, close: Some((attempt, result)) }
    }
}

/// Who has ended a command.
enum Ended {
    Now,
    /// Somebody did before: the message is a repetition, or its answer was lost.
    Before,
    /// It is under way elsewhere.
    NotByUs,
}

/// Why an end was not committed.
#[derive(Debug, thiserror::Error)]
enum NotEnded {
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    // The hook's own words may repeat what a body holds.
    #[error("the effect's rows could not be settled")]
    Unsettled,
}

/// One of the platform's own events, in the worker's domain.
pub(crate) fn generic<E: Event>(domain: &str, tenant: &str, event: &E) -> Outgoing {
    Outgoing {
        subject: subject::event(domain, E::NAME, tenant),
        kind: subject::ce_type(domain, E::NAME, E::VERSION),
        msgpack: false,
        about: None,
        outcome: None,
        at: None,
        extra: vec![],
        body: encode(Encoding::Json, event),
    }
}

impl Lane {
    /// Ends a command. What passes is waited for here: what is known of a call's end is known nowhere else. If the worker
    /// stops meanwhile, the message comes again.
    pub(crate) async fn end(self: &Arc<Self>, delivery: &Arc<Delivery>, end: End) {
        let (mut away, mut collisions, mut unsettled) = (0, 0, 0);
        loop {
            let call = match self.engine.registry.find(&delivery.meta, self.reaction) {
                Some(Entry::Call(call, _)) if unsettled < SETTLE_TRIES => Some(call),
                _ => None,
            };
            match self.try_end(delivery, &end, call).await {
                Ok(Ended::Now) => break,
                Ok(Ended::Before) => return self.again(vec![delivery.clone()]).await,
                Ok(Ended::NotByUs) => return delivery.again_in(Duration::from_secs(1)).await,
                Err(NotEnded::Database(error)) if engine::database_away(&error) && away < 20 => {
                    away += 1;
                    tracing::warn!(consumer = self.consumer, command_id = %delivery.meta.id, %error, "an end waits for the database");
                    if !self.engine.database_back(&error).await {
                        if end.close.is_none() || self.engine.abort.is_cancelled() {
                            return delivery.again_in(Duration::from_secs(1)).await;
                        }
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                }
                Err(NotEnded::Database(error)) if engine::collided(&error) && collisions < 10 => {
                    collisions += 1;
                    tokio::time::sleep(Duration::from_millis(20).mul_f64(clock::chance())).await;
                }
                Err(error) if call.is_some() => {
                    tracing::warn!(consumer = self.consumer, command_id = %delivery.meta.id, %error, "an end is tried again");
                    tokio::time::sleep(Duration::from_millis(100 << unsettled)).await;
                    unsettled += 1;
                }
                Err(error) => {
                    tracing::warn!(consumer = self.consumer, command_id = %delivery.meta.id, %error, "an end could not be committed");
                    return delivery.again_in(Duration::from_secs(1)).await;
                }
            }
        }
        if unsettled == SETTLE_TRIES {
            let (domain, meta) = (self.engine.domain, &delivery.meta);
            Metric::Unsettled.count(&[("domain", domain), ("command", &meta.name)]);
            tracing::error!(command = meta.name, command_id = %meta.id, "an effect's rows could not be settled");
        }
    }

    /// `call` is the effect that is to bring its rows into line in the same transaction.
    async fn try_end(
        self: &Arc<Self>,
        delivery: &Arc<Delivery>,
        end: &End,
        call: Option<&Arc<dyn Call>>,
    ) -> Result<Ended, NotEnded> {
        let engine = &self.engine;
        let (now, key, meta) = (clock::now(), delivery.key(), &delivery.meta);
        let mut tx = engine.db.begin().await?;
        inbox::claim(&mut tx, &self.consumer, &[delivery.as_ref()]).await?;
        let row = inbox::find(&mut tx, &self.consumer, std::slice::from_ref(&key), true).await?;
        let Some(row) = row.into_iter().next() else { return Ok(Ended::NotByUs) };
        if row.outcome.is_some() {
            return Ok(Ended::Before);
        }
        let open = attempts::latest(&mut tx, &self.consumer, &key).await?.is_some_and(|latest| !latest.closed);
        if end.close.is_none() && open {
            // A call may be out: it is for its worker, or for the one who takes over, to end this.
            return Ok(Ended::NotByUs);
        }
        if let Some((attempt, result)) = &end.close {
            let ours = attempts::close(&mut tx, &[attempt.id], result, Some(end.why.detail()), now).await?;
            if ours.is_empty() {
                return Ok(Ended::NotByUs);
            }
            if let Why::Held { .. } = &end.why
                && let Some(kept) = self.call(delivery).and_then(|call| call.without_secret(&attempt.plan))
            {
                attempts::keep(&mut tx, attempt.id, &kept).await?;
            }
        }
        let mut list = row.outbox.map(|outbox| outbox.list).unwrap_or_default();
        let plan = end.close.as_ref().map(|(attempt, _)| attempt.plan.as_slice());
        if let Why::Dead { code, detail, attempts } = &end.why {
            let secret = self.call(delivery).zip(plan).is_some_and(|(call, plan)| call.confidential(plan));
            list.push(self.dead_letter(delivery, code, detail, *attempts, secret));
        }
        if let Some(call) = call {
            let mut cx = Cx::new(meta, &mut tx);
            let settling = call.settle(&mut cx, plan, &end.settled);
            let timeout = engine.settings.policy(call.own_policy()).timeout;
            match guarded::<Events, Fail>(timeout, settling).await {
                Ok(events) => list.extend(tenant_bound(delivery, events)),
                Err(fail) => {
                    // Whatever was written with it is undone, and all is tried again.
                    drop(tx);
                    return Err(match engine.the_databases(fail).await {
                        Ok(error) => NotEnded::Database(error),
                        Err(_) => NotEnded::Unsettled,
                    });
                }
            }
        }
        list.push(self.terminal(delivery, &end.why));
        let outbox = Arc::new(Outbox::of(meta, list));
        let outcome = end.why.outcome();
        let finish = Finish {
            key: key.clone(),
            outcome: Some(outcome),
            outbox: Some(outbox.clone()),
            detail: Some(end.why.detail().to_owned()),
        };
        let ended = inbox::finish(&mut tx, &self.consumer, &[finish]).await?;
        tx.commit().await?;
        crate::failpoint::reached("after_refusal").await;
        self.count(delivery, outcome);
        match &end.why {
            Why::Dead { code, .. } => {
                Metric::Dlq.count(&[("domain", engine.domain), ("command", &meta.name), ("code", code)]);
            }
            Why::Held { .. } => Metric::Uncertain.count(&[("domain", engine.domain), ("command", &meta.name)]),
            Why::Rejected { .. } => {}
        }
        let from = match &end.close {
            Some((attempt, _)) => attempt.told.count().await,
            None => 0,
        };
        if self.publish(due(engine.domain, &key, &outbox, from).collect()).await == Published::Yes {
            engine.note_published(&self.consumer, [key], ended);
            self.erase_unsealed(delivery, outcome).await;
            match &end.why {
                Why::Dead { code, .. } => delivery.terminate(code).await,
                Why::Held { .. } | Why::Rejected { .. } => delivery.ack().await,
            }
        } else {
            delivery.again_in(Duration::from_secs(5)).await;
        }
        Ok(Ended::Now)
    }

    fn terminal(&self, delivery: &Delivery, why: &Why) -> Outgoing {
        let (domain, meta) = (self.engine.domain, &delivery.meta);
        let (command, command_id) = (meta.name.clone(), meta.id);
        let mut message = match why.clone() {
            Why::Rejected { code, detail, faults } => {
                generic(domain, &meta.tenant, &CommandRejected { command, command_id, code, detail, faults })
            }
            Why::Dead { code, detail, attempts } => {
                let code = code.to_owned();
                generic(domain, &meta.tenant, &CommandDeadLettered { command, command_id, code, detail, attempts })
            }
            Why::Held { detail } => generic(domain, &meta.tenant, &CommandHeld { command, command_id, detail }),
        };
        message.outcome = Some(why.outcome().as_str().to_owned());
        message
    }

    /// The message as it came, with why it could not be done. A body that leaves no room for that stays behind, as does one
    /// that holds a secret.
    fn dead_letter(&self, delivery: &Delivery, code: &str, detail: &str, attempts: u32, secret: bool) -> Outgoing {
        const ROOM: usize = 32 * 1024;
        let mut envelope = 8 * 1024;
        let meta = &delivery.meta;
        let limit = self.engine.bus.client().server_info().max_payload.saturating_sub(ROOM);
        let body = delivery.body();
        let name = if meta.name.is_empty() { "unknown" } else { &meta.name };
        let mut extra = vec![
            ("omnibus-dlq-code".to_owned(), code.to_owned()),
            ("omnibus-dlq-detail".to_owned(), one_line(detail)),
            ("omnibus-dlq-attempts".to_owned(), attempts.to_string()),
            ("omnibus-dlq-subject".to_owned(), delivery.subject().to_owned()),
            ("omnibus-dlq-stream".to_owned(), self.stream.clone()),
            ("omnibus-dlq-sequence".to_owned(), meta.sequence.to_string()),
            ("omnibus-dlq-consumer".to_owned(), self.consumer.clone()),
        ];
        let mut given: Vec<_> = delivery.headers().into_iter().flat_map(|map| map.iter()).collect();
        // What a retry needs comes before what a sender may have added.
        given.sort_by_key(|(header, _)| {
            let header = header.to_string();
            (!header.starts_with("ce-") && header != headers::CONTENT_TYPE && header != headers::TRACEPARENT, header)
        });
        for (header, values) in given {
            // The original envelope, so that a retry can write it again. What is the server's is not the sender's.
            if !header.to_string().starts_with("Nats-")
                && let Some(value) = values.first()
            {
                let (name, value) = (format!("omnibus-original-{header}"), one_line(value.as_str()));
                // What would make the letter too large for the bus would keep it, and the command's end, from it for ever.
                if name.len() + value.len() <= envelope {
                    envelope -= name.len() + value.len();
                    extra.push((name, value));
                }
            }
        }
        let sealed = self.engine.registry.sealed.contains(meta.name.as_str());
        if sealed {
            extra.push((
                "omnibus-dlq-body".to_owned(),
                "left out: what is to be sealed may stand in it as it is".to_owned(),
            ));
        } else if secret {
            extra.push(("omnibus-dlq-body".to_owned(), "left in the command stream: it holds a secret".to_owned()));
        } else if body.len() > limit {
            extra.push(("omnibus-dlq-body".to_owned(), "left in the command stream: too large to carry".to_owned()));
        }
        Outgoing {
            subject: subject::dead_letter(self.engine.domain, name, &meta.tenant),
            kind: subject::ce_type(&meta.domain, name, meta.version),
            msgpack: meta.encoding == Encoding::MessagePack,
            about: Some(meta.ce_id.clone()),
            outcome: None,
            at: None,
            extra,
            body: if sealed || secret || body.len() > limit { vec![] } else { body.to_vec() },
        }
    }

    /// Not now. Spends no attempt.
    pub(crate) async fn put_off(self: &Arc<Self>, delivery: &Arc<Delivery>, wait: Duration, reason: &str) {
        Metric::Snoozes.count(&[("domain", self.engine.domain), ("reason", reason)]);
        let wait = wait.min(LONGEST);
        // A second copy of what may have to be erased would not be found again.
        let single = self.reaction || self.engine.registry.sealed.contains(delivery.meta.name.as_str());
        let scheduled = !single && (wait >= LONG || delivery.delivered >= OFTEN);
        if scheduled && self.schedule(delivery, wait).await {
            delivery.ack().await;
        } else {
            delivery.again_in(wait).await;
        }
    }

    /// Puts the message itself into the schedule. It keeps its id, so however often it fires it is done once.
    async fn schedule(&self, delivery: &Delivery, wait: Duration) -> bool {
        let at = clock::now() + wait;
        // The sequence is another each time it has fired: else the server would take a second put-off for a repetition
        // of the first and drop it.
        let put_off = format!("put-off/{}/{}", delivery.meta.sequence, delivery.delivered);
        let id = Uuid::new_v5(&delivery.meta.id, put_off.as_bytes()).to_string();
        let mut map = passed_on(delivery);
        map.insert(
            async_nats::header::NATS_SCHEDULE,
            format!("@at {}", at.to_rfc3339_opts(SecondsFormat::Millis, true)).as_str(),
        );
        map.insert(async_nats::header::NATS_SCHEDULE_TARGET, subject::due(delivery.subject()).as_str());
        map.insert(headers::MSG_ID, format!("{}:{id}", delivery.meta.tenant).as_str());
        let body: Bytes = delivery.body().clone();
        match self.engine.bus.publish(&subject::scheduled(&id), map, body).await {
            Ok(_) => true,
            Err(error) => {
                tracing::warn!(command_id = %delivery.meta.id, %error, "a put-off command stays in its lane");
                false
            }
        }
    }
}

/// The original headers, with the identity that the message's place on the bus gave it.
pub(crate) fn passed_on(delivery: &Delivery) -> async_nats::HeaderMap {
    let mut map = async_nats::HeaderMap::new();
    for (name, values) in delivery.headers().into_iter().flat_map(|map| map.iter()) {
        if !name.to_string().starts_with("Nats-") {
            for value in values {
                map.append(name.clone(), value.clone());
            }
        }
    }
    map.insert(headers::ID, delivery.meta.ce_id.as_str());
    map.insert(headers::TIME, delivery.meta.time.to_rfc3339_opts(SecondsFormat::Micros, true).as_str());
    map.insert(headers::CONTENT_TYPE, delivery.meta.encoding.content_type());
    map
}

/// A header is one line. Longer words are cut.
pub(crate) fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(2000).collect()
}
