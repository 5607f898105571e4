//! One batch, one transaction: claim, decide, finish, commit; then publish; then acknowledge. While some are published and
//! acknowledged, the next is decided.
//!
//! The batch is tried whole, without savepoints. If any handler fails, all is rolled back and tried again command by
//! command, each in a transaction of its own: one bad command must not cost the others theirs.

use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use omnibus_schemas::platform::{CommandDone, Outcome};
use omnibus_schemas::subject::{CommandSubject, EventSubject};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::attempts::{Attempt, Told};
use crate::bus::PublishError;
use crate::clock;
use crate::decide::{Decided, NotDecided};
use crate::delivery::Delivery;
use crate::ending::{End, Why};
use crate::engine::{self, PATIENCE};
use crate::events::{Events, Outgoing};
use crate::failpoint;
use crate::fault::{passes, seen_through, the_databases};
use crate::handler::Fail;
use crate::inbox::{self, Key, Outbox};
use crate::lane::Lane;
use crate::line::Head;
use crate::metrics::Metric;
use crate::publish::{Due, due, publish_all};
use crate::registry::{Entry, Trouble};

/// What became of a committed row's messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Published {
    /// The bus has them.
    Yes,
    /// The bus does not answer: when the command comes again, they are tried again.
    Away,
    /// The bus does not take them: likewise.
    NotYet,
    /// A stream is full. They stand in the row, for the sweeper. The command itself is let go: as long as it is not
    /// acknowledged it can't be trimmed, and room might never come.
    Left,
}

impl Lane {
    /// Takes every message of the batch to where it can be answered for, or to its commit: then what is returned publishes
    /// what it caused, and answers.
    pub(crate) async fn process(self: &Arc<Self>, batch: Vec<Arc<Delivery>>) -> Option<JoinHandle<()>> {
        let labels = [("domain", self.engine.domain), ("lane", self.name.as_str())];
        Metric::BatchSize.observe(batch.len() as f64, &labels);
        let mut admitted = Vec::with_capacity(batch.len());
        for delivery in batch {
            if let Some(malformed) = &delivery.malformed {
                let why = Why::dead(malformed.code, malformed.detail.clone(), 0);
                self.end(&delivery, End::of(why)).await;
                continue;
            }
            let Some(entry) = self.engine.registry.find(&delivery.meta, self.reaction) else {
                let detail = format!("no handler for {} in this version of the worker", delivery.meta.name);
                self.end(&delivery, End::of(Why::dead("unknown_command", detail, 0))).await;
                continue;
            };
            match self.engine.limits.admit(&delivery.meta.tenant, entry.provider()) {
                Ok(()) => admitted.push(delivery),
                Err((reason, wait)) => self.put_off(&delivery, wait, reason).await,
            }
        }
        if admitted.is_empty() {
            return None;
        }
        failpoint::reached("before_claim").await;
        let batch = Arc::new(admitted);
        let kept = self.engine.keep_batch(batch.clone());
        match self.try_until_answered(&batch, true).await {
            Ok(decided) => {
                let lane = self.clone();
                return Some(self.engine.tasks.spawn(async move {
                    let _kept = kept;
                    tokio::select! {
                        // What was not told stands in the rows, and what was not acknowledged comes again.
                        () = lane.engine.abort.cancelled() => {}
                        () = seen_through(&batch, lane.carry_on(&batch, decided)) => {}
                    }
                }));
            }
            Err(Some((index, trouble))) if batch.len() == 1 => self.trouble(&batch[index], trouble).await,
            Err(Some(_)) => {
                for single in batch.chunks(1) {
                    // Each that stood in line would wait for a whole batch of others.
                    match self.try_until_answered(single, false).await {
                        Ok(decided) => seen_through(single, self.carry_on(single, decided)).await,
                        Err(Some((_, trouble))) => self.trouble(&single[0], trouble).await,
                        Err(None) => single[0].again_in(Duration::ZERO).await,
                    }
                }
            }
            // The worker stops while the database is away: somebody else's turn.
            Err(None) => {
                for delivery in batch.iter() {
                    delivery.again_in(Duration::ZERO).await;
                }
            }
        }
        None
    }

    /// Waits in line, if there is one. As an error, as below, if the worker is to stop before it is this batch's turn.
    async fn join_line(&self) -> Result<Option<Head<'_>>, Option<(usize, Trouble)>> {
        tokio::select! {
            biased;
            head = self.engine.line.join() => Ok(head),
            () = self.engine.stop.cancelled() => Err(None),
        }
    }

    /// Tries the whole batch until the database answers; from a collision on, or from the start, in line with others if
    /// there is a line. `Err(None)` if the worker is to stop instead.
    async fn try_until_answered(
        self: &Arc<Self>,
        batch: &[Arc<Delivery>],
        in_line: bool,
    ) -> Result<Decided, Option<(usize, Trouble)>> {
        let (mut collisions, mut away) = (0, 0);
        let mut head = if in_line { self.join_line().await? } else { None };
        if self.looks_fresh(batch) {
            match self.decide_fresh(batch, head.as_ref()).await {
                Ok(Some(decided)) => return Ok(decided),
                // Somebody was here before.
                Ok(None) => {}
                Err(NotDecided::Trouble(index, trouble)) if !passes(&trouble) => return Err(Some((index, trouble))),
                // The database's; what is done about that is said below.
                Err(not) => {
                    if not.collided() {
                        self.engine.line.collided();
                        if head.is_none() {
                            head = self.join_line().await?;
                        }
                    }
                }
            }
        }
        loop {
            let error = match self.decide(batch, head.as_ref()).await {
                Ok(decided) => return Ok(decided),
                Err(NotDecided::Database(error)) => error,
                Err(NotDecided::Trouble(index, trouble)) => match the_databases(trouble) {
                    Ok(error) => error,
                    Err(trouble) => return Err(Some((index, trouble))),
                },
            };
            // A database that answers in between, and is "away" again and again over this batch, is not away: it is
            // something in the batch, and that must not hold up the lane.
            if engine::database_away(&error) && away < 20 {
                away += 1;
                if !self.engine.database_back(&error).await {
                    return Err(None);
                }
            } else if engine::collided(&error) && collisions < 10 {
                collisions += 1;
                self.engine.line.collided();
                match head {
                    None => head = self.join_line().await?,
                    // With somebody who does not stand in line.
                    Some(_) => tokio::time::sleep(Duration::from_millis(20).mul_f64(clock::chance())).await,
                }
            } else {
                return Err(Some((0, Trouble::Fail(Fail::Retry(error.into())))));
            }
        }
    }

    async fn carry_on(self: &Arc<Self>, batch: &[Arc<Delivery>], decided: Decided) {
        let engine = &self.engine;
        let rows = decided.finished.iter().map(|(index, outbox)| (index, outbox));
        let early = decided.calls.iter().filter_map(|(index, _, outbox)| Some((index, outbox.as_ref()?)));
        let messages: Vec<_> = rows
            .chain(early)
            .map(|(index, outbox)| (batch[*index].key(), outbox))
            .flat_map(|(key, outbox)| due(engine.domain, &key, outbox, 0))
            .chain(decided.touched.iter().flat_map(|row| due(engine.domain, &row.key, &row.outbox, row.from)))
            .collect();
        // The calls do not wait for the bus: what is told before them stands in their rows, where whoever ends them
        // finds it. What they bring is told after it, see `Told`.
        let (say, arrived) = watch::channel(None);
        for (index, attempt, early) in decided.calls {
            let told = early.map_or(Told::Unknown, |early| Told::OnTheirWay(early.list.len(), arrived.clone()));
            self.spawn_call(batch[index].clone(), Attempt { told, ..attempt });
        }
        let published = self.publish(messages).await;
        say.send_replace(Some(published == Published::Yes));
        if published == Published::Yes {
            match decided.note {
                Some(note) => engine.note_published_all(note),
                None => {
                    let keys = decided.finished.iter().map(|(index, _)| batch[*index].key());
                    engine.note_published(&self.consumer, keys, decided.ended);
                }
            }
            for row in decided.touched {
                engine.note_published(&row.consumer, [row.key], row.ended);
            }
            if !decided.finished.is_empty() {
                failpoint::reached("before_ack").await;
            }
        }
        self.count_all(decided.finished.iter().map(|(index, _)| &*batch[*index]));
        for (index, _) in &decided.finished {
            self.answer(&batch[*index], published).await;
        }
        for (index, wait) in decided.later {
            self.put_off(&batch[index], wait, "handler").await;
        }
        if !decided.again.is_empty() {
            let deliveries: Vec<_> = decided.again.iter().map(|index| batch[*index].clone()).collect();
            self.again(deliveries).await;
        }
    }

    /// Answers the server about a command whose row is committed.
    pub(crate) async fn answer(&self, delivery: &Delivery, published: Published) {
        match published {
            Published::Yes | Published::Left => delivery.ack().await,
            // It comes again, is found done, and is published then.
            Published::Away | Published::NotYet => delivery.again_in(Duration::from_secs(5)).await,
        }
    }

    /// Publishes messages of committed rows.
    pub(crate) async fn publish(&self, messages: Vec<Due>) -> Published {
        if messages.is_empty() {
            return Published::Yes;
        }
        let started = std::time::Instant::now();
        let result = publish_all(&self.engine.bus, &self.engine.pace, &self.engine.gather, messages, PATIENCE).await;
        Metric::EventPublishSeconds.observe(started.elapsed().as_secs_f64(), &[("domain", self.engine.domain)]);
        match result {
            Ok(()) => Published::Yes,
            Err(error) => {
                tracing::error!(domain = self.engine.domain, consumer = self.consumer, %error, "committed messages wait to be published");
                match error {
                    PublishError::Full => {
                        self.engine.crowded.notify_one();
                        Published::Left
                    }
                    PublishError::Away(_) => Published::Away,
                    _ => Published::NotYet,
                }
            }
        }
    }

    /// Meets messages whose commands were claimed before.
    pub(crate) async fn again(self: &Arc<Self>, deliveries: Vec<Arc<Delivery>>) {
        let keys: Vec<Key> = deliveries.iter().map(|delivery| delivery.key()).collect();
        let read = async {
            let mut db = self.engine.db.acquire().await?;
            let refs: Vec<_> = deliveries.iter().map(Arc::as_ref).collect();
            inbox::delivered(&mut db, &self.consumer, &refs).await?;
            inbox::find(&mut db, &self.consumer, &keys, false).await
        };
        let rows = match read.await {
            Ok(rows) => rows,
            Err(error) => {
                tracing::warn!(consumer = self.consumer, %error, "the inbox can't be read");
                for delivery in deliveries {
                    delivery.again_in(Duration::from_secs(1)).await;
                }
                return;
            }
        };
        let mut away = false;
        for delivery in deliveries {
            let key = delivery.key();
            match rows.iter().find(|row| row.key == key) {
                Some(row) if row.outcome.is_some() => {
                    let outbox = Arc::new(row.outbox.clone().unwrap_or_default());
                    // A bus that was waited for once is not waited for by each.
                    let published = match away {
                        true => Published::Away,
                        false => self.publish(due(self.engine.domain, &key, &outbox, 0).collect()).await,
                    };
                    away = published == Published::Away;
                    if published == Published::Yes {
                        self.engine.note_published(&self.consumer, [key], row.at);
                    }
                    // It is let go in both cases, and does not come again.
                    if let (Published::Yes | Published::Left, Some(outcome)) = (published, row.outcome) {
                        self.erase_unsealed(&delivery, outcome).await;
                    }
                    if published == Published::Yes {
                        failpoint::reached("before_ack").await;
                    }
                    self.answer(&delivery, published).await;
                }
                Some(_) => self.spawn_resume(delivery),
                // The claim that was in our way was rolled back.
                None => delivery.again_in(Duration::from_millis(100)).await,
            }
        }
    }

    /// Answers a single command that could not be decided.
    pub(crate) async fn trouble(self: &Arc<Self>, delivery: &Arc<Delivery>, trouble: Trouble) {
        match trouble {
            Trouble::Undecodable(fault) => {
                // The decoder's words may quote a value.
                let words = match self.engine.registry.sealed.contains(delivery.meta.name.as_str()) {
                    true => format!("{} is not as this command has it", fault.pointer),
                    false => fault.to_string(),
                };
                self.end(delivery, End::of(Why::dead("undecodable", words, 0))).await;
            }
            Trouble::Invalid(faults) | Trouble::Fail(Fail::Invalid(faults)) => {
                self.end(delivery, End::of(Why::invalid(faults))).await;
            }
            Trouble::Fail(Fail::Reject { code, detail }) => {
                self.end(delivery, End::of(Why::rejected(code, detail))).await
            }
            Trouble::Fail(Fail::Snooze(wait)) => self.put_off(delivery, wait, "handler").await,
            Trouble::Fail(Fail::Retry(error)) => self.retry(delivery, &error).await,
        }
    }

    async fn retry(self: &Arc<Self>, delivery: &Arc<Delivery>, error: &anyhow::Error) {
        let words = format!("{error:#}");
        let key = delivery.key();
        let spend = async { inbox::spend(&mut *self.engine.db.acquire().await?, &self.consumer, &key, &words).await };
        let spent = match spend.await {
            Ok(spent) => spent,
            Err(error) => {
                tracing::warn!(consumer = self.consumer, %error, "a failed try could not be counted");
                return delivery.again_in(Duration::from_secs(1)).await;
            }
        };
        let policy = self.policy(delivery);
        // The words may repeat what a body holds; they are kept in the database, and logs have the rest.
        tracing::warn!(
            tenant = delivery.meta.tenant,
            command = delivery.meta.name,
            command_id = %delivery.meta.id,
            trace_id = delivery.meta.trace.trace_id(),
            spent,
            of = policy.attempts,
            "a try failed"
        );
        if spent >= policy.attempts {
            self.end(delivery, End::of(Why::dead("attempts_used_up", words, spent))).await;
        } else {
            Metric::Retries.count(&[("domain", self.engine.domain), ("command", &delivery.meta.name)]);
            delivery.again_in(policy.delay(spent, clock::chance())).await;
        }
    }

    /// What the handler says, unless configuration says otherwise.
    pub(crate) fn policy(&self, delivery: &Delivery) -> crate::handler::Policy {
        let entry = self.engine.registry.find(&delivery.meta, self.reaction);
        self.engine.settings.policy(entry.map_or(crate::handler::Policy::DEFAULT, Entry::own_policy))
    }

    /// Counts successes, and says so of each.
    pub(crate) fn count_all<'d>(&self, deliveries: impl Iterator<Item = &'d Delivery>) {
        let mut counts: Vec<(&str, u64)> = Vec::new();
        for delivery in deliveries {
            let name = delivery.meta.name.as_str();
            match counts.iter_mut().find(|(known, _)| *known == name) {
                Some((_, count)) => *count += 1,
                None => counts.push((name, 1)),
            }
            self.tell(delivery, Outcome::Succeeded);
        }
        for (name, count) in counts {
            let outcome = Outcome::Succeeded.as_str();
            Metric::Commands.add(count, &[("domain", self.engine.domain), ("command", name), ("outcome", outcome)]);
        }
    }

    pub(crate) fn count(&self, delivery: &Delivery, outcome: Outcome) {
        Metric::Commands.count(&[
            ("domain", self.engine.domain),
            ("command", &delivery.meta.name),
            ("outcome", outcome.as_str()),
        ]);
        self.tell(delivery, outcome);
    }

    fn tell(&self, delivery: &Delivery, outcome: Outcome) {
        tracing::info!(
            tenant = delivery.meta.tenant,
            command = delivery.meta.name,
            command_id = %delivery.meta.id,
            trace_id = delivery.meta.trace.trace_id(),
            outcome = outcome.as_str(),
            "decided"
        );
    }

    /// A success's messages: the last event is the terminal one.
    pub(crate) fn succeeded(&self, delivery: &Delivery, events: Events) -> Vec<Outgoing> {
        let mut list = tenant_bound(delivery, events);
        let last = list.iter().rposition(|message| EventSubject::parse(&message.subject).is_some());
        let last = last.unwrap_or_else(|| {
            let done = CommandDone { command: delivery.meta.name.clone(), command_id: delivery.meta.id };
            list.push(crate::ending::generic(self.engine.domain, &delivery.meta.tenant, &done));
            list.len() - 1
        });
        list[last].outcome = Some(Outcome::Succeeded.as_str().to_owned());
        list
    }

    /// The outbox, unless a message in it is larger than the server takes: then it must not be committed.
    pub(crate) fn checked(&self, delivery: &Delivery, list: Vec<Outgoing>) -> Result<Arc<Outbox>, Trouble> {
        const HEADERS: usize = 4096;
        const LEAST: usize = 64 * 1024;
        for message in &list {
            let Some(to) = CommandSubject::parse(&message.subject) else { continue };
            let ours =
                to.domain == self.engine.domain && self.engine.registry.lanes.values().any(|lane| *lane == to.lane);
            if !ours {
                let words = format!("{} is no lane of {}: nobody would carry out the follow-up", to.lane, to.domain);
                return Err(Trouble::Fail(Fail::Retry(anyhow!("{words}; workers meet by events"))));
            }
        }
        if list.iter().all(|message| message.body.len() <= LEAST - HEADERS) {
            return Ok(Arc::new(Outbox::of(&delivery.meta, list)));
        }
        let limit = self.engine.bus.client().server_info().max_payload.max(LEAST) - HEADERS;
        match list.iter().find(|message| message.body.len() > limit) {
            Some(large) => Err(Trouble::Fail(Fail::reject(
                "message_too_large",
                format!("{} has {} bytes, the bus takes {limit}", large.kind, large.body.len()),
            ))),
            None => Ok(Arc::new(Outbox::of(&delivery.meta, list))),
        }
    }
}

pub(crate) fn tenant_bound(delivery: &Delivery, events: Events) -> Vec<Outgoing> {
    tenant_bound_to(&delivery.meta.tenant, events)
}

pub(crate) fn tenant_bound_to(tenant: &str, events: Events) -> Vec<Outgoing> {
    events.list.into_iter().map(|caused| caused.for_tenant(tenant)).collect()
}
