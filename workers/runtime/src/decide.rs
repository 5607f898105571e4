//! One transaction: claim, decide, finish, commit.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, Postgres, Transaction};
use uuid::Uuid;

use omnibus_schemas::platform::Outcome;

use crate::attempts::{self, Attempt, First, Row, Told};
use crate::batch::tenant_bound;
use crate::clock;
use crate::cx::Cx;
use crate::delivery::Delivery;
use crate::engine;
use crate::events::Events;
use crate::failpoint;
use crate::fault::{self, guarded};
use crate::handler::Prepared;
use crate::inbox::{self, Finish, Outbox, Success};
use crate::lane::Lane;
use crate::line::Head;
use crate::metrics::Metric;
use crate::registry::{Entry, NotAll, Trouble};
use crate::resolve;

/// What a committed transaction left to do. Indices are those of the batch.
#[derive(Default)]
pub(crate) struct Decided {
    /// Finished now: publish and acknowledge.
    pub(crate) finished: Vec<(usize, Arc<Outbox>)>,
    /// When, unless a note says it.
    pub(crate) ended: Option<DateTime<Utc>>,
    /// The note of `bus.unpublished` that names all that is finished, if one does.
    pub(crate) note: Option<Uuid>,
    /// Calls that are about to go out, with what is to be published meanwhile.
    pub(crate) calls: Vec<(usize, Attempt, Option<Arc<Outbox>>)>,
    /// Effects that are to be prepared again after a time.
    pub(crate) later: Vec<(usize, Duration)>,
    /// Claimed before by somebody.
    pub(crate) again: Vec<usize>,
    /// Other rows that got new messages.
    pub(crate) touched: Vec<resolve::Touched>,
}

/// Why a transaction was rolled back.
pub(crate) enum NotDecided {
    Database(sqlx::Error),
    /// Whose trouble, and which.
    Trouble(usize, Trouble),
}

impl NotDecided {
    /// Was it another transaction that was in the way?
    pub(crate) fn collided(&self) -> bool {
        match self {
            NotDecided::Database(error) => engine::collided(error),
            NotDecided::Trouble(_, trouble) => fault::collided(trouble),
        }
    }
}

impl From<sqlx::Error> for NotDecided {
    fn from(error: sqlx::Error) -> Self {
        NotDecided::Database(error)
    }
}

/// What the transaction is yet to write.
#[derive(Default)]
struct Writing {
    rows: Vec<Finish>,
}

impl Lane {
    pub(crate) async fn decide(
        self: &Arc<Self>,
        batch: &[Arc<Delivery>],
        head: Option<&Head<'_>>,
    ) -> Result<Decided, NotDecided> {
        let engine = &self.engine;
        let mut tx = self.begin(head).await?;
        let deliveries: Vec<_> = batch.iter().map(Arc::as_ref).collect();
        let mut fresh = inbox::claim(&mut tx, &self.consumer, &deliveries).await?;
        let (mut decided, mut writing) = (Decided::default(), Writing::default());
        let (ours, again) = (0..batch.len()).partition(|index| fresh.remove(&batch[*index].key()));
        decided.again = again;
        self.handle(&mut tx, batch, ours, &mut decided, &mut writing).await?;
        decided.ended = inbox::finish(&mut tx, &self.consumer, &writing.rows).await?;
        let opened: Vec<_> = decided.calls.iter().map(|(_, attempt, _)| attempt).collect();
        attempts::open(&mut tx, &self.consumer, &opened, engine.settings.lease()).await?;
        self.commit(tx).await?;
        Ok(decided)
    }

    /// Calls the handlers of these members of the batch.
    async fn handle(
        self: &Arc<Self>,
        tx: &mut PgConnection,
        batch: &[Arc<Delivery>],
        members: Vec<usize>,
        decided: &mut Decided,
        writing: &mut Writing,
    ) -> Result<(), NotDecided> {
        let engine = &self.engine;
        let mut many: Vec<(&Entry, Vec<usize>)> = Vec::new();
        for index in members {
            let delivery = &batch[index];
            let entry = engine.registry.find(&delivery.meta, self.reaction).expect("only handled messages get here");
            let calls_many = matches!(entry, Entry::Call(_, Some(_))) && batch.len() > 1;
            if calls_many || matches!(entry, Entry::Many(_)) {
                // One entry, one address: they all come from the registry.
                match many.iter_mut().find(|(known, _)| std::ptr::eq(*known, entry)) {
                    Some((_, members)) => members.push(index),
                    None => many.push((entry, vec![index])),
                }
                continue;
            }
            let started = Instant::now();
            let mut cx = Cx::new(&delivery.meta, &mut *tx);
            let timeout = engine.settings.policy(entry.own_policy()).timeout;
            let fails = |trouble| NotDecided::Trouble(index, trouble);
            let (call, events) = match entry {
                Entry::Decide(handler) => {
                    (None, guarded(timeout, handler.decide(&mut cx, delivery.body())).await.map_err(fails)?)
                }
                Entry::Call(call, _) => {
                    match guarded(timeout, call.prepare(&mut cx, delivery.body())).await.map_err(fails)? {
                        Prepared::Go(plan, events) => (Some(plan), events),
                        Prepared::Skip(events) => (None, events),
                        Prepared::Later(wait) => {
                            decided.later.push((index, wait));
                            continue;
                        }
                    }
                }
                Entry::Resolve => {
                    let resolved = resolve::resolve(self, &mut cx, delivery.body());
                    let (events, touched) = guarded(timeout, resolved).await.map_err(fails)?;
                    decided.touched.push(touched);
                    (None, events)
                }
                Entry::Many(_) => unreachable!("gathered above"),
            };
            self.decided_in(started, delivery).await;
            match call {
                Some(plan) => self.goes_out(index, delivery, plan, events, decided, writing),
                None => self.is_done(index, delivery, events, decided, writing),
            }
            .map_err(fails)?;
        }
        for (entry, members) in many {
            let started = Instant::now();
            let items: Vec<_> = members.iter().map(|at| (&batch[*at].meta, &batch[*at].body()[..])).collect();
            let whose = |not: NotAll| NotDecided::Trouble(members[not.at], not.trouble);
            let timeout = engine.settings.policy(entry.own_policy()).timeout;
            let prepared: Vec<_> = match entry {
                Entry::Many(handler) => {
                    let deciding = guarded(timeout, handler.decide_many(&mut *tx, &items));
                    deciding.await.map_err(whose)?.into_iter().map(Prepared::Skip).collect()
                }
                Entry::Call(_, Some(call)) => {
                    guarded(timeout, call.prepare_many(&mut *tx, &items)).await.map_err(whose)?
                }
                _ => unreachable!("gathered above"),
            };
            self.decided_in(started, &batch[members[0]]).await;
            for (index, prepared) in members.into_iter().zip(prepared) {
                match prepared {
                    Prepared::Go(plan, events) => self.goes_out(index, &batch[index], plan, events, decided, writing),
                    Prepared::Skip(events) => self.is_done(index, &batch[index], events, decided, writing),
                    Prepared::Later(wait) => {
                        decided.later.push((index, wait));
                        Ok(())
                    }
                }
                .map_err(|trouble| NotDecided::Trouble(index, trouble))?;
            }
        }
        Ok(())
    }

    /// Most batches hold commands that nobody has seen before, and end well: those are written in one go, decided
    /// before they are claimed. Whatever speaks against it, even afterwards, leads to the way by which each is claimed first.
    pub(crate) fn looks_fresh(&self, batch: &[Arc<Delivery>]) -> bool {
        let mut seen = HashSet::with_capacity(batch.len());
        batch.len() > 1
            && batch.iter().all(|delivery| {
                let entry = self.engine.registry.find(&delivery.meta, self.reaction);
                delivery.delivered == 1
                    && matches!(entry, Some(Entry::Decide(_) | Entry::Many(_) | Entry::Call(..)))
                    && seen.insert((delivery.meta.tenant.as_str(), delivery.meta.id))
            })
    }

    async fn begin(&self, head: Option<&Head<'_>>) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
        let mut tx = self.engine.db.begin().await?;
        if let Some(head) = head {
            head.wait(&mut tx).await?;
        }
        Ok(tx)
    }

    /// `None` if somebody has claimed one of them before; then nothing is written.
    pub(crate) async fn decide_fresh(
        self: &Arc<Self>,
        batch: &[Arc<Delivery>],
        head: Option<&Head<'_>>,
    ) -> Result<Option<Decided>, NotDecided> {
        let engine = &self.engine;
        let mut tx = self.begin(head).await?;
        let (mut decided, mut writing) = (Decided::default(), Writing::default());
        let everyone = (0..batch.len()).collect();
        self.handle(&mut tx, batch, everyone, &mut decided, &mut writing).await?;
        if !decided.later.is_empty() {
            // What waits keeps what it wrote, and so is claimed before.
            tx.rollback().await?;
            return Ok(None);
        }
        let finished = decided.finished.iter();
        let successes: Vec<_> = finished.map(|(index, outbox)| Success { delivery: &batch[*index], outbox }).collect();
        let calls = decided.calls.iter();
        let firsts =
            calls.map(|(index, attempt, early)| First { delivery: &batch[*index], attempt, early: early.as_deref() });
        let firsts = firsts.collect();
        let note = clock::new_id();
        if !inbox::claim_finished(&mut tx, &self.consumer, successes, note).await?
            || !attempts::claim_and_open(&mut tx, &self.consumer, firsts, engine.settings.lease()).await?
        {
            tx.rollback().await?;
            return Ok(None);
        }
        decided.note = (!decided.finished.is_empty()).then_some(note);
        self.commit(tx).await?;
        Ok(Some(decided))
    }

    async fn commit(&self, tx: Transaction<'_, Postgres>) -> Result<(), sqlx::Error> {
        failpoint::reached("before_commit").await;
        self.commit_with_published(tx).await?;
        failpoint::reached("after_commit").await;
        Ok(())
    }

    /// Commits, and with it what has reached the bus since the last commit.
    pub(crate) async fn commit_with_published(&self, mut tx: Transaction<'_, Postgres>) -> Result<(), sqlx::Error> {
        let noted = self.engine.take_published();
        let written = async {
            noted.write(&mut tx).await?;
            tx.commit().await
        };
        if let Err(error) = written.await {
            self.engine.put_back_published(noted);
            return Err(error);
        }
        Ok(())
    }

    /// A handler, called once for one command or for many, has returned.
    async fn decided_in(&self, started: Instant, delivery: &Delivery) {
        failpoint::reached("in_handler").await;
        let labels = [("domain", self.engine.domain), ("command", delivery.meta.name.as_str())];
        Metric::HandleSeconds.observe(started.elapsed().as_secs_f64(), &labels);
    }

    fn is_done(
        &self,
        index: usize,
        delivery: &Delivery,
        events: Events,
        decided: &mut Decided,
        writing: &mut Writing,
    ) -> Result<(), Trouble> {
        let outbox = self.checked(delivery, self.succeeded(delivery, events))?;
        writing.rows.push(Finish {
            key: delivery.key(),
            outcome: Some(Outcome::Succeeded),
            outbox: Some(outbox.clone()),
            detail: None,
        });
        decided.finished.push((index, outbox));
        Ok(())
    }

    fn goes_out(
        &self,
        index: usize,
        delivery: &Delivery,
        plan: Vec<u8>,
        events: Events,
        decided: &mut Decided,
        writing: &mut Writing,
    ) -> Result<(), Trouble> {
        let key = delivery.key();
        let (id, opened) = (clock::new_id(), Instant::now());
        let early = match events.is_empty() {
            true => None,
            false => Some(self.checked(delivery, tenant_bound(delivery, events))?),
        };
        let row = Row::Holds(early.clone());
        let attempt = Attempt { key: key.clone(), number: 1, id, plan, told: Told::Unknown, row, opened };
        if let Some(outbox) = &early {
            writing.rows.push(Finish { key, outcome: None, outbox: Some(outbox.clone()), detail: None });
        }
        decided.calls.push((index, attempt, early));
        Ok(())
    }
}
