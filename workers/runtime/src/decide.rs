//! One transaction: claim, decide, finish, commit.

use std::sync::Arc;
use std::time::Instant;

use omnibus_schemas::platform::Outcome;

use crate::attempts::{self, Attempt};
use crate::batch::{guarded, tenant_bound};
use crate::clock;
use crate::cx::Cx;
use crate::delivery::Delivery;
use crate::events::Events;
use crate::failpoint;
use crate::handler::Prepared;
use crate::inbox::{self, Finish, Outbox};
use crate::lane::Lane;
use crate::metrics::Metric;
use crate::registry::{DecideMany, Entry, Trouble};
use crate::resolve;

/// What a committed transaction left to do. Indices are those of the batch.
#[derive(Default)]
pub(crate) struct Decided {
    /// Finished now: publish and acknowledge.
    pub(crate) finished: Vec<(usize, Option<Outbox>)>,
    /// Calls that are about to go out, with what is to be published before.
    pub(crate) calls: Vec<(usize, Attempt, Option<Outbox>)>,
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

impl From<sqlx::Error> for NotDecided {
    fn from(error: sqlx::Error) -> Self {
        NotDecided::Database(error)
    }
}

/// What the transaction is yet to write.
#[derive(Default)]
struct Writing {
    rows: Vec<Finish>,
    opened: Vec<Attempt>,
}

impl Lane {
    pub(crate) async fn decide(self: &Arc<Self>, batch: &[Arc<Delivery>]) -> Result<Decided, NotDecided> {
        let engine = &self.engine;
        let now = clock::now();
        let mut tx = engine.db.begin().await?;
        let deliveries: Vec<_> = batch.iter().map(Arc::as_ref).collect();
        let mut fresh = inbox::claim(&mut tx, &self.consumer, &deliveries, now).await?;
        let (mut decided, mut writing) = (Decided::default(), Writing::default());
        let mut many: Vec<(&Arc<dyn DecideMany>, Vec<usize>)> = Vec::new();
        for (index, delivery) in batch.iter().enumerate() {
            if !fresh.remove(&delivery.key()) {
                decided.again.push(index);
                continue;
            }
            let entry = engine.registry.find(&delivery.meta, self.reaction).expect("only handled messages get here");
            if let Entry::Many(handler) = entry {
                match many.iter_mut().find(|(known, _)| Arc::ptr_eq(known, handler)) {
                    Some((_, members)) => members.push(index),
                    None => many.push((handler, vec![index])),
                }
                continue;
            }
            let started = Instant::now();
            let mut cx = Cx::new(&delivery.meta, &mut tx);
            let timeout = entry.policy().timeout;
            let fails = |trouble| NotDecided::Trouble(index, trouble);
            let (call, events) = match entry {
                Entry::Decide(handler) => {
                    (None, guarded(timeout, handler.decide(&mut cx, delivery.body())).await.map_err(fails)?)
                }
                Entry::Call(call) => {
                    match guarded(timeout, call.prepare(&mut cx, delivery.body())).await.map_err(fails)? {
                        Prepared::Go(plan, events) => (Some(plan), events),
                        Prepared::Skip(events) => (None, events),
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
                Some(plan) => self.goes_out(index, delivery, plan, events, &mut decided, &mut writing),
                None => self.is_done(index, delivery, events, &mut decided, &mut writing),
            }
            .map_err(fails)?;
        }
        for (handler, members) in many {
            let started = Instant::now();
            let items: Vec<_> = members.iter().map(|at| (&batch[*at].meta, &batch[*at].body()[..])).collect();
            let deciding = guarded(handler.policy().timeout, handler.decide_many(&mut tx, &items));
            let events = deciding.await.map_err(|not| NotDecided::Trouble(members[not.at], not.trouble))?;
            self.decided_in(started, &batch[members[0]]).await;
            for (index, events) in members.into_iter().zip(events) {
                self.is_done(index, &batch[index], events, &mut decided, &mut writing)
                    .map_err(|trouble| NotDecided::Trouble(index, trouble))?;
            }
        }
        inbox::finish(&mut tx, &self.consumer, &writing.rows, now).await?;
        attempts::open(&mut tx, &self.consumer, &writing.opened, engine.settings.lease(), now).await?;
        let noted = engine.take_published();
        let written = async {
            inbox::published(&mut tx, &noted, now).await?;
            failpoint::reached("before_commit").await;
            tx.commit().await
        };
        if let Err(error) = written.await {
            engine.put_back_published(noted);
            return Err(error.into());
        }
        failpoint::reached("after_commit").await;
        Ok(decided)
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
        decided.finished.push((index, Some(outbox)));
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
        let attempt = Attempt { key: key.clone(), number: 1, id, plan, told: 0, opened };
        writing.opened.push(attempt.clone());
        let early = match events.is_empty() {
            true => None,
            false => Some(self.checked(delivery, tenant_bound(delivery, events))?),
        };
        if let Some(outbox) = &early {
            writing.rows.push(Finish { key, outcome: None, outbox: Some(outbox.clone()), detail: None });
        }
        decided.calls.push((index, attempt, early));
        Ok(())
    }
}
