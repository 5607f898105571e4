//! What calls brought back, written down: as many in one transaction as are there, published and answered while the next
//! are being written.
//!
//! Most calls come back to the worker that prepared them, under the attempt that it opened, and nobody has touched their
//! rows since: those are closed, ended and noted by one statement. Whatever speaks against it, even afterwards, leads to
//! the way by which each row is locked and looked at first.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use chrono::{DateTime, Utc};
use omnibus_schemas::platform::Outcome;
use sqlx::PgConnection;
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::attempts::{self, Attempt, Row};
use crate::batch::Published;
use crate::clock;
use crate::cx::Cx;
use crate::delivery::Delivery;
use crate::ending::{End, Why};
use crate::engine::{self, Kept};
use crate::events::{Events, Outgoing};
use crate::failpoint;
use crate::fault::{guarded, seen_through};
use crate::handler::Fail;
use crate::inbox::{self, Finish, Outbox};
use crate::lane::Lane;
use crate::metrics::Metric;
use crate::publish::due;
use crate::registry::{Back, Done, Entry, NotAll, Trouble};

/// How long a recorder waits for more at most.
const GATHERING: Duration = Duration::from_millis(10);

/// A call that has come back.
pub(crate) struct Finished {
    delivery: Arc<Delivery>,
    attempt: Attempt,
    done: Done,
    _kept: Kept,
}

impl Finished {
    pub(crate) fn new(delivery: Arc<Delivery>, attempt: Attempt, done: Done, kept: Kept) -> Self {
        Finished { delivery, attempt, done, _kept: kept }
    }

    fn back(&self) -> Back<'_> {
        (&self.delivery.meta, &self.attempt.plan, &self.done)
    }
}

/// What a committed record left to do.
struct Recorded {
    /// Those whose commands it ended, with all that these tell.
    members: Vec<(usize, Arc<Outbox>)>,
    /// When, unless a note says it.
    ended: Option<DateTime<Utc>>,
    /// The note of `bus.unpublished` that names them, if one does.
    note: Option<Uuid>,
}

/// Why a record was not committed.
enum NotRecorded {
    Database(sqlx::Error),
    Handler(Fail),
}

impl From<sqlx::Error> for NotRecorded {
    fn from(error: sqlx::Error) -> Self {
        NotRecorded::Database(error)
    }
}

impl From<Trouble> for NotRecorded {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Fail(fail) => NotRecorded::Handler(fail),
            other => NotRecorded::Handler(Fail::Retry(anyhow!("{other:?}"))),
        }
    }
}

impl Lane {
    /// Writes down what has come back, as many calls in one transaction as are there.
    /// After `enough`, nothing more will come: what is there is recorded still. Several run at once for one lane: while
    /// one waits for its commit, the next takes what has come meanwhile.
    pub(crate) async fn recorder(
        self: Arc<Self>,
        finished: Arc<Mutex<mpsc::Receiver<Finished>>>,
        enough: CancellationToken,
    ) {
        loop {
            let mut batch = Vec::new();
            {
                let mut finished = finished.lock().await;
                tokio::select! {
                    biased;
                    _ = finished.recv_many(&mut batch, self.most()) => {}
                    () = enough.cancelled() => return,
                }
                self.gather(&mut finished, &mut batch).await;
            }
            if !self.is_bulk() {
                self.record_all(batch).await;
                continue;
            }
            self.engine.turns.give_way().await;
            let began = Instant::now();
            self.record_all(batch).await;
            // What comes back after `enough` is to be recorded soon.
            enough.run_until_cancelled(self.engine.turns.rest(began.elapsed())).await;
        }
    }

    /// While as many calls are out as may be, more come back in a moment: a transaction for each few of them would cost
    /// the lane more than the moment does. Where there is room for calls, nobody waits.
    async fn gather(&self, finished: &mut mpsc::Receiver<Finished>, batch: &mut Vec<Finished>) {
        let until = tokio::time::Instant::now() + GATHERING;
        while batch.len() < self.least as usize && self.calls.available_permits() == 0 {
            let room = self.most().saturating_sub(batch.len());
            match tokio::time::timeout_at(until, finished.recv_many(batch, room)).await {
                Ok(more) if more > 0 => {}
                _ => return,
            }
        }
    }

    async fn record_all(self: &Arc<Self>, batch: Vec<Finished>) {
        loop {
            match self.record(&batch).await {
                Ok(recorded) => {
                    // The next are recorded while these are published.
                    let lane = self.clone();
                    self.engine.tasks.spawn(async move {
                        let deliveries: Vec<_> = batch.iter().map(|item| item.delivery.clone()).collect();
                        seen_through(&deliveries, lane.recorded(&batch, recorded)).await;
                    });
                    return;
                }
                Err(NotRecorded::Database(error)) if engine::database_away(&error) => {
                    // What a call brought back exists nowhere else: it is kept for as long as it may be.
                    if !self.engine.database_back(&error).await && self.engine.abort.is_cancelled() {
                        return;
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Err(_) => break,
            }
        }
        for single in batch {
            let lane = self.clone();
            self.engine.tasks.spawn(async move {
                let delivery = [single.delivery.clone()];
                seen_through(&delivery, lane.record_single(single)).await;
            });
        }
    }

    /// A record that fails is tried again here, with its result in hand. If it can't be written down for long, a person
    /// is asked: the call has happened, so neither repeating nor forgetting it would be right.
    async fn record_single(self: &Arc<Self>, single: Finished) {
        let policy = self.policy(&single.delivery);
        let batch = [single];
        let mut spent = 0;
        loop {
            let failed = match self.record(&batch).await {
                Ok(recorded) => return self.recorded(&batch, recorded).await,
                Err(NotRecorded::Handler(fail)) => match self.engine.the_databases(fail).await {
                    Ok(error) => NotRecorded::Database(error),
                    Err(fail) => NotRecorded::Handler(fail),
                },
                Err(failed) => failed,
            };
            let words = match failed {
                NotRecorded::Database(error) if engine::database_away(&error) || engine::collided(&error) => {
                    if engine::database_away(&error) {
                        self.engine.database_back(&error).await;
                    }
                    if self.engine.abort.is_cancelled() {
                        return;
                    }
                    tokio::time::sleep(Duration::from_millis(100).mul_f64(0.5 + clock::chance() / 2.0)).await;
                    continue;
                }
                NotRecorded::Database(error) => error.to_string(),
                NotRecorded::Handler(Fail::Retry(error)) => format!("{error:#}"),
                NotRecorded::Handler(Fail::Snooze(wait)) => format!("put off by {wait:?}"),
                NotRecorded::Handler(Fail::Reject { code, detail }) => format!("{code}: {detail}"),
                NotRecorded::Handler(Fail::Invalid(faults)) => format!("{} fields are at fault", faults.len()),
            };
            spent += 1;
            if spent >= policy.attempts {
                let [single] = batch;
                let why = Why::Held { detail: format!("the call was done and could not be recorded: {words}") };
                return self.end(&single.delivery, End::closing(why, single.attempt, "held")).await;
            }
            tokio::select! {
                () = self.engine.abort.cancelled() => return,
                () = tokio::time::sleep(policy.delay(spent, clock::chance())) => {}
            }
        }
    }

    async fn record(self: &Arc<Self>, batch: &[Finished]) -> Result<Recorded, NotRecorded> {
        match self.record_untouched(batch).await? {
            Some(recorded) => Ok(recorded),
            None => self.record_locked(batch).await,
        }
    }

    /// `None` if somebody has touched one of the rows, or may have; then nothing is written.
    async fn record_untouched(self: &Arc<Self>, batch: &[Finished]) -> Result<Option<Recorded>, NotRecorded> {
        let mut seen = HashSet::with_capacity(batch.len());
        let untouched = |item: &Finished| matches!(item.attempt.row, Row::Holds(_));
        if !batch.iter().all(|item| untouched(item) && seen.insert(&item.attempt.key)) {
            return Ok(None);
        }
        let mut tx = self.engine.db.begin().await?;
        let mut outboxes = Vec::with_capacity(batch.len());
        for (item, events) in batch.iter().zip(self.written_down(&mut tx, batch).await?) {
            let early = match &item.attempt.row {
                Row::Holds(Some(early)) => early.list.clone(),
                _ => vec![],
            };
            outboxes.push(self.ended(item, early, events)?);
        }
        let all = batch.iter().zip(&outboxes);
        let all = all.map(|(item, outbox)| attempts::Closing { attempt: &item.attempt, outbox }).collect();
        let note = clock::new_id();
        if !attempts::close_and_finish(&mut tx, &self.consumer, all, note).await? {
            tx.rollback().await?;
            return Ok(None);
        }
        self.commit_with_published(tx).await?;
        failpoint::reached("after_record").await;
        let members = outboxes.into_iter().enumerate().collect();
        Ok(Some(Recorded { members, ended: None, note: Some(note) }))
    }

    /// The effects' own rows for calls that have come back: what each has to tell, in their order.
    async fn written_down(&self, db: &mut PgConnection, batch: &[Finished]) -> Result<Vec<Events>, NotRecorded> {
        let entries: Vec<_> =
            batch.iter().map(|item| self.engine.registry.find(&item.delivery.meta, self.reaction)).collect();
        let mut events: Vec<Option<Events>> = batch.iter().map(|_| None).collect();
        for at in 0..batch.len() {
            let entry = entries[at].expect("only effects have attempts");
            let Entry::Call(call, many) = entry else { unreachable!("only effects have attempts") };
            let timeout = self.engine.settings.policy(call.own_policy()).timeout;
            match many {
                // Written with another's already.
                _ if events[at].is_some() => {}
                Some(many) if batch.len() > 1 => {
                    let members: Vec<_> = (at..batch.len())
                        .filter(|n| entries[*n].is_some_and(|other| std::ptr::eq(entry, other)))
                        .collect();
                    let items: Vec<_> = members.iter().map(|member| batch[*member].back()).collect();
                    let writing = guarded(timeout, many.record_many(&mut *db, &items));
                    let told = writing.await.map_err(|not: NotAll| NotRecorded::from(not.trouble))?;
                    for (member, told) in members.into_iter().zip(told) {
                        events[member] = Some(told);
                    }
                }
                _ => {
                    let (meta, plan, done) = batch[at].back();
                    let mut cx = Cx::new(meta, &mut *db);
                    let writing = guarded(timeout, call.record(&mut cx, plan, done));
                    events[at] = Some(writing.await.map_err(NotRecorded::Handler)?);
                }
            }
        }
        Ok(events.into_iter().flatten().collect())
    }

    fn ended(&self, item: &Finished, early: Vec<Outgoing>, events: Events) -> Result<Arc<Outbox>, NotRecorded> {
        let mut list = early;
        list.extend(self.succeeded(&item.delivery, events));
        Ok(self.checked(&item.delivery, list)?)
    }

    async fn record_locked(self: &Arc<Self>, batch: &[Finished]) -> Result<Recorded, NotRecorded> {
        let engine = &self.engine;
        let now = clock::now();
        let mut tx = engine.db.begin().await?;
        let keys: Vec<_> = batch.iter().map(|item| item.attempt.key.clone()).collect();
        let rows = inbox::find(&mut tx, &self.consumer, &keys, true).await?;
        // A database that took another's place may lack what had just been committed. The call has happened all the same.
        let lost: Vec<_> = batch.iter().filter(|item| !rows.iter().any(|row| row.key == item.attempt.key)).collect();
        let lost: Vec<_> = lost.iter().map(|item| &*item.delivery).collect();
        let claimed =
            if lost.is_empty() { HashSet::new() } else { inbox::claim(&mut tx, &self.consumer, &lost).await? };
        let ids: Vec<_> = batch.iter().map(|item| item.attempt.id).collect();
        let ours = attempts::close(&mut tx, &ids, "done", None, now).await?;
        let (mut finishes, mut members) = (Vec::new(), Vec::new());
        for (index, item) in batch.iter().enumerate() {
            let (meta, key) = (&item.delivery.meta, &item.attempt.key);
            if !ours.contains(&item.attempt.id) {
                attempts::book_late(&mut tx, &self.consumer, &item.attempt, now).await?;
                Metric::Uncertain.count(&[("domain", engine.domain), ("command", &meta.name)]);
            }
            // Whoever ends the row first ends it; a held one is ended by the truth that comes late. Two workers'
            // results of one call may stand in one batch, when this process took over from itself.
            let row = rows.iter().find(|row| &row.key == key);
            let open = match row {
                Some(row) => matches!(row.outcome, None | Some(Outcome::Held)),
                None => claimed.contains(key),
            };
            if !open || finishes.iter().any(|finish: &Finish| &finish.key == key) {
                continue;
            }
            let early = match (row, &item.attempt.row) {
                (Some(row), _) => row.outbox.as_ref().map(|outbox| outbox.list.clone()).unwrap_or_default(),
                (None, Row::Holds(Some(early))) => early.list.clone(),
                (None, _) => vec![],
            };
            let call = self.call(&item.delivery).expect("only effects have attempts");
            let mut cx = Cx::new(meta, &mut tx);
            let recording = call.record(&mut cx, &item.attempt.plan, &item.done);
            let events = guarded(engine.settings.policy(call.own_policy()).timeout, recording)
                .await
                .map_err(NotRecorded::Handler)?;
            let outbox = self.ended(item, early, events)?;
            finishes.push(Finish {
                key: key.clone(),
                outcome: Some(Outcome::Succeeded),
                outbox: Some(outbox.clone()),
                detail: None,
            });
            members.push((index, outbox));
        }
        let ended = inbox::finish(&mut tx, &self.consumer, &finishes).await?;
        self.commit_with_published(tx).await?;
        failpoint::reached("after_record").await;
        Ok(Recorded { members, ended, note: None })
    }

    /// Publishes what was recorded, and answers.
    async fn recorded(&self, batch: &[Finished], recorded: Recorded) {
        let mut messages = Vec::with_capacity(recorded.members.len());
        for (index, outbox) in &recorded.members {
            // `EVT` keeps the order of one command's events: what was told before the call is waited for.
            let attempt = &batch[*index].attempt;
            messages.extend(due(self.engine.domain, &attempt.key, outbox, attempt.told.count().await));
        }
        let published = self.publish(messages).await;
        let members = || recorded.members.iter().map(|(index, _)| &batch[*index]);
        if published == Published::Yes {
            match recorded.note {
                Some(note) => self.engine.note_published_all(note),
                None => {
                    let keys = members().map(|item| item.attempt.key.clone());
                    self.engine.note_published(&self.consumer, keys, recorded.ended);
                }
            }
        }
        for item in batch {
            self.answer(&item.delivery, published).await;
        }
        self.count_all(members().map(|item| &*item.delivery));
    }
}
