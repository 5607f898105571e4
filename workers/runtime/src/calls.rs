//! Effects on their way: the call, its record, and what a redelivery does about a call whose end nobody saw.
//!
//! The ledger's open row says that a call may have gone out. It carries a lease. Who finds the lease run out takes the
//! attempt over by changing its id; the first worker's late record is then noticed and booked, not lost.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use futures_util::FutureExt;
use omnibus_schemas::platform::Outcome;

use crate::attempts::{self, Attempt, Row, Told};
use crate::batch::{Published, tenant_bound};
use crate::clock;
use crate::cx::Cx;
use crate::delivery::Delivery;
use crate::ending::{End, Why};
use crate::engine::{self, Kept};
use crate::failpoint;
use crate::fault::{guarded, seen_through};
use crate::handler::{CallError, Fail, Found, Prepared, Settled, WhenUncertain};
use crate::inbox::{self, Finish, Outbox};
use crate::lane::Lane;
use crate::metrics::Metric;
use crate::publish::due;
use crate::record::Finished;
use crate::registry::{Call, Entry, Trouble};

impl Lane {
    pub(crate) fn call(&self, delivery: &Delivery) -> Option<Arc<dyn Call>> {
        match self.engine.registry.find(&delivery.meta, self.reaction) {
            Some(Entry::Call(call, _)) => Some(call.clone()),
            _ => None,
        }
    }

    /// Lets a prepared call go out.
    pub(crate) fn spawn_call(self: &Arc<Self>, delivery: Arc<Delivery>, attempt: Attempt) {
        let lane = self.clone();
        self.engine.tasks.spawn(async move {
            let kept = lane.engine.keep_call(delivery.clone(), attempt.id);
            let performing = [delivery.clone()];
            tokio::select! {
                // The attempt stays open: whether the call went out is found out by the one who takes it over.
                () = lane.engine.abort.cancelled() => {}
                () = seen_through(&performing, lane.perform(delivery, attempt, kept)) => {}
            }
        });
    }

    async fn perform(self: &Arc<Self>, delivery: Arc<Delivery>, attempt: Attempt, kept: Kept) {
        let Some(call) = self.call(&delivery) else { return };
        failpoint::reached("between_prepare_and_perform").await;
        let turn = self.calls.acquire().await.expect("this semaphore is never closed");
        let beginning = match self.is_bulk() {
            true => Some(self.engine.turns.begin().await),
            false => None,
        };
        // A process that was frozen may wake up after its lease has run out and somebody else has taken over.
        if attempt.opened.elapsed() > self.engine.settings.lease() / 2 && !self.still_ours(&attempt).await {
            return delivery.again_in(Duration::from_secs(1)).await;
        }
        let timeout = self.engine.settings.policy(call.own_policy()).timeout;
        let performing = AssertUnwindSafe(call.perform(&delivery.meta, &attempt.plan)).catch_unwind();
        let performing = tokio::time::timeout(timeout, performing);
        let performed = match beginning {
            Some(beginning) => beginning.of(performing).await,
            None => performing.await,
        };
        let result = match performed {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(CallError::Unknown(anyhow!("the call panicked"))),
            Err(_) => Err(CallError::Unknown(anyhow!("no result within {timeout:?}"))),
        };
        drop(turn);
        failpoint::reached("between_perform_and_record").await;
        match result {
            Ok(done) => self.hand_in(Finished::new(delivery, attempt, done, kept)).await,
            Err(CallError::NotDone(error)) => {
                self.not_done(&delivery, attempt, "not_done", &format!("{error:#}")).await
            }
            Err(CallError::Refused { code, detail }) => {
                let end = End {
                    settled: Settled::Refused { code, detail: detail.clone() },
                    why: Why::rejected(code, detail),
                    close: Some((attempt, "refused")),
                };
                self.end(&delivery, end).await;
            }
            Err(CallError::Unknown(error)) => {
                self.find_out(delivery, attempt, format!("{error:#}"), kept).await;
            }
        }
    }

    /// Renews the lease, if it is still ours to renew. Who can't be sure doesn't call. A database that is away is waited
    /// for: left open, a call that was never made would have to be found out about.
    async fn still_ours(&self, attempt: &Attempt) -> bool {
        loop {
            let renewing = async {
                let mut db = self.engine.db.acquire().await?;
                attempts::renew(&mut db, &[attempt.id], self.engine.settings.lease()).await
            };
            match renewing.await {
                Ok(renewed) => return renewed == 1,
                Err(error) if engine::database_away(&error) && self.engine.database_back(&error).await => {}
                Err(_) => return false,
            }
        }
    }

    async fn hand_in(&self, finished: Finished) {
        if self.finished.send(finished).await.is_err() {
            // The recorder is gone only when the worker is being torn down; the attempt stays open.
            tracing::warn!(consumer = self.consumer, "a call came back after the end");
        }
    }

    /// It certainly did not happen (or may happen again): another attempt later, or the end.
    async fn not_done(
        self: &Arc<Self>,
        delivery: &Arc<Delivery>,
        attempt: Attempt,
        result: &'static str,
        detail: &str,
    ) {
        let policy = self.policy(delivery);
        let key = delivery.key();
        let closing = || async {
            let mut tx = self.engine.db.begin().await?;
            let latest = attempts::latest(&mut tx, &self.consumer, &key).await?;
            let spent = latest.map_or(0, |latest| latest.spent) + 1;
            if spent >= policy.attempts {
                return Ok(None);
            }
            attempts::close(&mut tx, &[attempt.id], result, Some(detail), clock::now()).await?;
            tx.commit().await?;
            Ok::<_, sqlx::Error>(Some(spent))
        };
        let closed = loop {
            match closing().await {
                // Nobody else knows that it was not done.
                Err(error) if engine::database_away(&error) && self.engine.database_back(&error).await => {}
                closed => break closed,
            }
        };
        match closed {
            Ok(Some(spent)) => {
                Metric::Retries.count(&[("domain", self.engine.domain), ("command", &delivery.meta.name)]);
                tracing::warn!(
                    tenant = delivery.meta.tenant,
                    command = delivery.meta.name,
                    command_id = %delivery.meta.id,
                    spent,
                    of = policy.attempts,
                    "a call was not done"
                );
                delivery.again_in(policy.delay(spent, clock::chance())).await;
            }
            Ok(None) => {
                let why = Why::dead("attempts_used_up", detail, policy.attempts);
                self.end(delivery, End::closing(why, attempt, result)).await;
            }
            Err(error) => {
                tracing::warn!(command_id = %delivery.meta.id, %error, "a failed call could not be booked");
                // The attempt is open still; once its lease has run out, the provider is asked.
                delivery.again_in(Duration::from_secs(1)).await;
            }
        }
    }

    /// It may have happened: asks the provider, and if nobody can tell, does what the effect says.
    async fn find_out(self: &Arc<Self>, delivery: Arc<Delivery>, attempt: Attempt, detail: String, kept: Kept) {
        let Some(call) = self.call(&delivery) else { return };
        let asking = call.reconcile(&delivery.meta, &attempt.plan);
        let timeout = self.engine.settings.policy(call.own_policy()).timeout;
        match guarded::<_, Fail>(timeout, asking).await {
            Ok(Found::Done(done)) => {
                let noting = async {
                    let mut db = self.engine.db.acquire().await?;
                    attempts::note(&mut db, attempt.id, &format!("{detail}; looked up: it happened")).await
                };
                if let Err(error) = noting.await {
                    // Only the trace lacks it.
                    tracing::debug!(command_id = %delivery.meta.id, %error, "what was heard could not be noted");
                }
                self.hand_in(Finished::new(delivery, attempt, done, kept)).await;
            }
            Ok(Found::NotDone) => self.not_done(&delivery, attempt, "not_done", &detail).await,
            Ok(Found::CannotTell) => match call.when_uncertain(&attempt.plan) {
                WhenUncertain::Resend => {
                    Metric::Uncertain.count(&[("domain", self.engine.domain), ("command", &delivery.meta.name)]);
                    self.not_done(&delivery, attempt, "unknown", &detail).await;
                }
                WhenUncertain::Hold => {
                    self.end(&delivery, End::closing(Why::Held { detail }, attempt, "held")).await;
                }
            },
            // The provider can't be asked now. The attempt stays open; its lease runs out, and it is asked again.
            Err(fail) => {
                let wait = match fail {
                    Fail::Snooze(wait) => wait,
                    _ => Duration::from_secs(30),
                };
                tracing::warn!(command_id = %delivery.meta.id, "the provider can't be asked whether a call happened");
                self.put_off(&delivery, wait.max(Duration::from_secs(1)), "reconcile").await;
            }
        }
    }

    /// A redelivered command whose effect has begun and not ended.
    pub(crate) fn spawn_resume(self: &Arc<Self>, delivery: Arc<Delivery>) {
        let lane = self.clone();
        self.engine.tasks.spawn(async move {
            let resuming = [delivery.clone()];
            tokio::select! {
                () = lane.engine.abort.cancelled() => {}
                () = seen_through(&resuming, lane.resume(delivery)) => {}
            }
        });
    }

    async fn resume(self: &Arc<Self>, delivery: Arc<Delivery>) {
        match self.try_resume(&delivery).await {
            Ok(()) => {}
            Err(error) => {
                tracing::warn!(command_id = %delivery.meta.id, %error, "an attempt could not be resumed");
                delivery.again_in(Duration::from_secs(1)).await;
            }
        }
    }

    async fn try_resume(self: &Arc<Self>, delivery: &Arc<Delivery>) -> Result<(), sqlx::Error> {
        let engine = &self.engine;
        let key = delivery.key();
        let latest = {
            let mut db = engine.db.acquire().await?;
            attempts::latest(&mut db, &self.consumer, &key).await?
        };
        let Some(latest) = latest else { return self.next_attempt(delivery, 1).await };
        if latest.closed {
            let policy = self.policy(delivery);
            if latest.spent >= policy.attempts {
                let detail = latest.detail.unwrap_or_default();
                let end = End::of(Why::dead("attempts_used_up", detail, latest.spent));
                self.end(delivery, end).await;
                return Ok(());
            }
            return self.next_attempt(delivery, latest.attempt.number + 1).await;
        }
        if !latest.lease.is_zero() {
            // Somebody is at it, or was killed at it just now.
            delivery.again_in(latest.lease + Duration::from_millis(500)).await;
            return Ok(());
        }
        let taken = {
            let mut db = engine.db.acquire().await?;
            attempts::take_over(&mut db, &latest.attempt, engine.settings.lease()).await?
        };
        match taken {
            None => delivery.again_in(Duration::from_secs(1)).await,
            Some(attempt) => {
                let kept = engine.keep_call(delivery.clone(), attempt.id);
                let detail = "the worker that made the call ended before it knew the result".to_owned();
                self.find_out(delivery.clone(), attempt, detail, kept).await;
            }
        }
        Ok(())
    }

    async fn next_attempt(self: &Arc<Self>, delivery: &Arc<Delivery>, number: u32) -> Result<(), sqlx::Error> {
        let engine = &self.engine;
        let key = delivery.key();
        let Some(call) = self.call(delivery) else { return Ok(()) };
        let mut tx = engine.db.begin().await?;
        let row = inbox::find(&mut tx, &self.consumer, std::slice::from_ref(&key), true).await?;
        let Some(row) = row.into_iter().next().filter(|row| row.outcome.is_none()) else {
            drop(tx);
            delivery.again_in(Duration::ZERO).await;
            return Ok(());
        };
        let prepared = {
            let mut cx = Cx::new(&delivery.meta, &mut tx);
            let timeout = engine.settings.policy(call.own_policy()).timeout;
            guarded::<_, Trouble>(timeout, call.prepare(&mut cx, delivery.body())).await
        };
        match prepared {
            Ok(Prepared::Later(wait)) => {
                tx.commit().await?;
                self.put_off(delivery, wait, "handler").await;
            }
            // What a first attempt has to tell is told once, also if the command had been put off before.
            Ok(Prepared::Go(plan, events)) if number == 1 && !events.is_empty() => {
                let outbox = match self.checked(delivery, tenant_bound(delivery, events)) {
                    Ok(outbox) => outbox,
                    Err(trouble) => {
                        drop(tx);
                        self.trouble(delivery, trouble).await;
                        return Ok(());
                    }
                };
                let early = Finish { key: key.clone(), outcome: None, outbox: Some(outbox.clone()), detail: None };
                inbox::finish(&mut tx, &self.consumer, &[early]).await?;
                let (id, opened) = (clock::new_id(), Instant::now());
                let attempt =
                    Attempt { key: key.clone(), number, id, plan, told: Told::Unknown, row: Row::Unknown, opened };
                attempts::open(&mut tx, &self.consumer, &[&attempt], engine.settings.lease()).await?;
                tx.commit().await?;
                failpoint::reached("after_next_attempt").await;
                let published = self.publish(due(engine.domain, &key, &outbox, 0).collect()).await;
                let told = if published == Published::Yes { Told::All(outbox.list.len()) } else { Told::Unknown };
                self.spawn_call(delivery.clone(), Attempt { told, ..attempt });
            }
            Ok(Prepared::Go(plan, _)) => {
                let (id, opened) = (clock::new_id(), Instant::now());
                let attempt = Attempt { key, number, id, plan, told: Told::Unknown, row: Row::Unknown, opened };
                attempts::open(&mut tx, &self.consumer, &[&attempt], engine.settings.lease()).await?;
                tx.commit().await?;
                failpoint::reached("after_next_attempt").await;
                self.spawn_call(delivery.clone(), attempt);
            }
            Ok(Prepared::Skip(events)) => {
                let mut list = row.outbox.map(|outbox| outbox.list).unwrap_or_default();
                list.extend(self.succeeded(delivery, events));
                let outbox = Arc::new(Outbox::of(&delivery.meta, list));
                let outcome = Some(Outcome::Succeeded);
                let finish = Finish { key: key.clone(), outcome, outbox: Some(outbox.clone()), detail: None };
                let ended = inbox::finish(&mut tx, &self.consumer, &[finish]).await?;
                tx.commit().await?;
                let published = self.publish(due(engine.domain, &key, &outbox, 0).collect()).await;
                if published == Published::Yes {
                    engine.note_published(&self.consumer, [key], ended);
                }
                self.count(delivery, Outcome::Succeeded);
                self.answer(delivery, published).await;
            }
            Err(trouble) => {
                drop(tx);
                self.trouble(delivery, trouble).await;
            }
        }
        Ok(())
    }
}
