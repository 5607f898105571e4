//! What all loops of one worker share, and how they wait while a part they need is away.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::jetstream::AckKind;
use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::bus::Bus;
use crate::delivery::Delivery;
use crate::gather::Gather;
use crate::health::Health;
use crate::inbox::{self, Ended, Key};
use crate::limits::Limits;
use crate::line::Line;
use crate::pace::Pace;
use crate::publish::Due;
use crate::registry::Registry;
use crate::settings::WorkSettings;
use crate::turns::Turns;
use crate::{attempts, clock, unpublished};

/// How long a finished row's messages are pressed upon a bus that does not take them, before they are left to the
/// redelivery or the sweeper.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// How long a database that is well may take to say so.
const PROBE: Duration = Duration::from_secs(5);

/// How long each half of a heartbeat may take: telling the server, and renewing leases.
const BEAT: Duration = Duration::from_secs(3);

pub(crate) struct Engine {
    pub(crate) domain: &'static str,
    pub(crate) bus: Bus,
    pub(crate) db: PgPool,
    pub(crate) registry: Registry,
    pub(crate) settings: WorkSettings,
    pub(crate) limits: Limits,
    pub(crate) health: Health,
    /// Stop taking new work.
    pub(crate) stop: CancellationToken,
    /// Leave what still runs.
    pub(crate) abort: CancellationToken,
    /// Everything that must end before the worker does.
    pub(crate) tasks: TaskTracker,
    /// Rows whose messages have reached the bus and whose `published_at` waits for the next transaction.
    pub(crate) published: Mutex<Noted>,
    /// How events are best published.
    pub(crate) pace: Pace,
    /// Where those meet that go out as batches.
    pub(crate) gather: Gather<Due>,
    /// Which lane goes first.
    pub(crate) turns: Arc<Turns>,
    /// Where batches stand that would collide.
    pub(crate) line: Line,
    /// Told when a stream was found full.
    pub(crate) crowded: Notify,
    running: Mutex<HashMap<u64, Running>>,
    next: AtomicU64,
}

/// What has reached the bus and is yet to be written down as such.
#[derive(Debug, Default)]
pub(crate) struct Noted {
    rows: Vec<Ended>,
    notes: Vec<Uuid>,
}

impl Noted {
    pub(crate) async fn write(&self, db: &mut PgConnection) -> Result<(), sqlx::Error> {
        inbox::published(db, &self.rows).await?;
        unpublished::forget(db, &self.notes).await
    }
}

/// Work that is to be kept from being delivered again.
enum Running {
    Batch(Arc<Vec<Arc<Delivery>>>),
    Call(Arc<Delivery>, Uuid),
}

/// While it lives, its work is kept from being delivered again.
pub(crate) struct Kept {
    engine: Arc<Engine>,
    id: u64,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.engine.running.lock().expect("no panic happens under this lock").remove(&self.id);
    }
}

impl Engine {
    pub(crate) fn new(
        domain: &'static str,
        bus: Bus,
        db: PgPool,
        registry: Registry,
        settings: WorkSettings,
        health: Health,
        stop: CancellationToken,
    ) -> Arc<Self> {
        Arc::new(Engine {
            domain,
            bus,
            db,
            registry,
            limits: Limits::new(settings.tenant_rate, &settings.provider_rates()),
            settings,
            health,
            stop,
            abort: CancellationToken::new(),
            tasks: TaskTracker::new(),
            published: Mutex::default(),
            pace: Pace::default(),
            gather: Gather::default(),
            turns: Turns::new(),
            line: Line::new(domain),
            crowded: Notify::new(),
            running: Mutex::new(HashMap::new()),
            next: AtomicU64::new(0),
        })
    }

    pub(crate) fn keep_batch(self: &Arc<Self>, batch: Arc<Vec<Arc<Delivery>>>) -> Kept {
        self.keep(Running::Batch(batch))
    }

    pub(crate) fn keep_call(self: &Arc<Self>, delivery: Arc<Delivery>, attempt: Uuid) -> Kept {
        self.keep(Running::Call(delivery, attempt))
    }

    fn keep(self: &Arc<Self>, running: Running) -> Kept {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.running.lock().expect("no panic happens under this lock").insert(id, running);
        Kept { engine: self.clone(), id }
    }

    /// Tells the server that work goes on and renews the leases of open attempts, until there is no more work.
    /// `shortest` is the shortest `ack_wait` of the consumers; three beats fit into it and into a lease.
    pub(crate) async fn heartbeat(self: Arc<Self>, shortest: Duration) {
        let mut tick = tokio::time::interval(shortest.min(self.settings.lease()) / 3);
        tick.tick().await;
        loop {
            tokio::select! {
                () = self.abort.cancelled() => return,
                _ = tick.tick() => {}
            }
            let (mut messages, mut leases) = (Vec::new(), Vec::new());
            for running in self.running.lock().expect("no panic happens under this lock").values() {
                match running {
                    Running::Batch(batch) => messages.extend(batch.iter().map(|delivery| delivery.acker())),
                    Running::Call(delivery, attempt) => {
                        messages.push(delivery.acker());
                        leases.push(*attempt);
                    }
                }
            }
            let progress = async {
                for acker in &messages {
                    // Lost progress means a redelivery, which the inbox and the lease know how to meet.
                    let _ = acker.ack_with(AckKind::Progress).await;
                }
            };
            // A database that is mute must not keep the heartbeat from the bus, nor a bus that takes nothing in the
            // leases from being renewed.
            let _ = tokio::join!(tokio::time::timeout(BEAT, progress), self.renew(&leases));
        }
    }

    async fn renew(&self, leases: &[Uuid]) {
        if leases.is_empty() {
            return;
        }
        let renewed = async { attempts::renew(&mut *self.db.acquire().await?, leases, self.settings.lease()).await };
        match tokio::time::timeout(BEAT, renewed).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!(domain = self.domain, %error, "leases could not be renewed"),
            Err(_) => self.health.ill("postgres", "no answer"),
        }
    }

    /// Notes rows whose messages are on the bus, if they have ended; written down with the next transaction.
    pub(crate) fn note_published(
        &self,
        consumer: &str,
        keys: impl IntoIterator<Item = Key>,
        ended: Option<DateTime<Utc>>,
    ) {
        let Some(at) = ended else { return };
        let mut published = self.published.lock().expect("no panic happens under this lock");
        published.rows.extend(keys.into_iter().map(|key| Ended { consumer: consumer.to_owned(), key, at }));
    }

    /// As [`Engine::note_published`], for all that one note of `bus.unpublished` names.
    pub(crate) fn note_published_all(&self, note: Uuid) {
        self.published.lock().expect("no panic happens under this lock").notes.push(note);
    }

    pub(crate) fn take_published(&self) -> Noted {
        std::mem::take(&mut *self.published.lock().expect("no panic happens under this lock"))
    }

    pub(crate) fn put_back_published(&self, more: Noted) {
        let mut published = self.published.lock().expect("no panic happens under this lock");
        published.rows.extend(more.rows);
        published.notes.extend(more.notes);
    }

    /// Writes `published_at` where no transaction comes along to do it.
    pub(crate) async fn flush_published(&self) {
        let published = self.take_published();
        if published.rows.is_empty() && published.notes.is_empty() {
            return;
        }
        let written = async { published.write(&mut *self.db.acquire().await?).await };
        if let Err(error) = written.await {
            self.notice_away(Some(&error));
            tracing::debug!(domain = self.domain, %error, "published_at is written later");
            self.put_back_published(published);
        }
    }

    /// Says so if the database is away; these are the only things that an idle worker asks of it.
    pub(crate) fn notice_away(&self, error: Option<&sqlx::Error>) {
        if let Some(error) = error.filter(|error| database_away(error)) {
            self.health.ill("postgres", error.to_string());
        }
    }

    /// Does the database answer just now?
    pub(crate) async fn database_answers(&self) -> bool {
        let probe = tokio::time::timeout(PROBE, sqlx::query("select 1").execute(&self.db));
        matches!(probe.await, Ok(Ok(_)))
    }

    /// Waits until the database answers again. `false` if the worker is to stop instead.
    pub(crate) async fn database_back(&self, error: &sqlx::Error) -> bool {
        self.health.ill("postgres", error.to_string());
        let mut pause = Duration::from_millis(100);
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return false,
                () = tokio::time::sleep(pause.mul_f64(0.5 + clock::chance() / 2.0)) => {}
            }
            if self.database_answers().await {
                self.health.well("postgres");
                return true;
            }
            pause = (pause * 2).min(Duration::from_secs(3));
        }
    }
}

/// Is it the database that is at fault, and not what was asked of it? Then no attempt is spent.
pub(crate) fn database_away(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        // Connection trouble, resources, operator intervention, system errors; a primary turned replica.
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            ["08", "53", "57P", "58", "XX"].iter().any(|class| code.starts_with(class)) || code == "25006"
        }),
        _ => false,
    }
}

/// Did two transactions get in each other's way, or did a lock not come, such as beside a migration? Then the same again
/// is right, and no attempt is spent.
pub(crate) fn collided(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(error)
        if error.code().is_some_and(|code| code.starts_with("40") || code == "55P03"))
}

/// The database's error in what a handler returned, if that is what it was.
pub(crate) fn of_the_database(error: &anyhow::Error) -> Option<&sqlx::Error> {
    error.chain().find_map(|cause| cause.downcast_ref::<sqlx::Error>())
}
