//! What a worker does beside its lanes: follow a bucket, look after what is due, check what may have changed. Such a task
//! starts with the worker, starts again if it fails, and ends with the worker.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::object_store::ObjectStore;
use omnibus_bus::Topology;
use omnibus_schemas::{Catalogue, Command, Encoding};
use sqlx::PgPool;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use crate::bus::{Bus, PublishError};
use crate::clock;
use crate::ear::Ear;
use crate::envelope::Envelope;
use crate::health::Health;
use crate::reader::{Only, Reader};
use crate::trace::TraceParent;
use crate::visit::Caused;
use crate::worker::RunError;

/// Between two tries of a task that failed.
const PAUSE: Duration = Duration::from_secs(1);
/// A task that has run for this long is well.
const WELL: Duration = Duration::from_secs(3);
/// Between two looks whether the lock of a task that runs alone has become free.
const LOOK: Duration = Duration::from_secs(5);

/// What a task beside the lanes has.
#[derive(Debug, Clone)]
pub struct Desk {
    /// The worker's connection to the bus.
    pub bus: Bus,
    /// The database.
    pub db: PgPool,
    /// Cancelled when the worker stops; a task then returns.
    pub stop: CancellationToken,
    /// Where to say what is missing.
    pub health: Health,
    /// The worker's domain.
    pub domain: &'static str,
}

impl Desk {
    /// Stores a command of the own domain on the bus. With an id that is derived from the occasion, a repetition is the
    /// same command.
    ///
    /// # Errors
    /// If the bus did not confirm it. Whether it was stored is then not known: the same call again is right.
    ///
    /// # Panics
    /// If it is another domain's command.
    pub async fn publish<C: Command>(&self, tenant: &str, id: Uuid, command: &C) -> Result<(), PublishError> {
        assert_eq!(C::DOMAIN, self.domain, "{} is another domain's command", C::NAME);
        store(&self.bus, &Caused::of(tenant, id, command), &TraceParent::start()).await
    }

    /// Waits until this is the only task of that name among all replicas of the worker, as long as what is returned
    /// lives. `None` if the worker stops before. Held by the database session: a replica that dies lets go of it.
    ///
    /// # Errors
    /// The database's.
    pub async fn alone(&self, name: &str) -> Result<Option<Alone>, sqlx::Error> {
        let mut session = self.db.acquire().await?.detach();
        let lock = format!("omnibus.{}.{name}", self.domain);
        loop {
            let taken: bool = sqlx::query_scalar("select pg_try_advisory_lock(hashtextextended($1, 0))")
                .bind(&lock)
                .fetch_one(&mut session)
                .await?;
            if taken {
                return Ok(Some(Alone { _session: session }));
            }
            if !self.pause(LOOK).await {
                return Ok(None);
            }
        }
    }

    /// Waits. `false` if the worker is to stop.
    pub async fn pause(&self, time: Duration) -> bool {
        self.stop.run_until_cancelled(tokio::time::sleep(time)).await.is_some()
    }

    /// What a domain that keeps a record reads: every stream of commands, and the events of the others. Of all replicas one
    /// reads.
    ///
    /// # Errors
    /// If a consumer is missing or not as this build expects it, or there is no second connection.
    pub async fn readers(&self, catalogue: &Catalogue) -> Result<Vec<Reader>, RunError> {
        let topology = Topology::of(catalogue, &omnibus_bus::Settings::default());
        let (only, ear) = (Arc::new(Only::default()), Arc::new(Ear::beside(&self.bus).await?));
        let mut readers = Vec::new();
        for spec in topology.logs(self.domain) {
            readers.push(Reader::open(self, only.clone(), ear.clone(), spec).await?);
        }
        Ok(readers)
    }

    /// One of the object stores that the domain owns or reads.
    ///
    /// # Errors
    /// If it is missing (`omnibus bus apply`) or the bus does not answer.
    pub async fn objects(&self, bucket: &str) -> anyhow::Result<ObjectStore> {
        let store = self.bus.jetstream().get_object_store(bucket).await;
        store.map_err(|error| anyhow::anyhow!("the object store {bucket}: {error}"))
    }
}

/// The lock of a task that runs alone.
#[derive(Debug)]
pub struct Alone {
    _session: sqlx::PgConnection,
}

impl Alone {
    /// Is the session, and with it the lock, still there? To be asked before each round of work.
    ///
    /// # Errors
    /// The database's: then the lock may be another's.
    pub async fn still(&mut self) -> Result<(), sqlx::Error> {
        sqlx::query("select 1").execute(&mut self._session).await.map(drop)
    }
}

/// Stores a command on the bus. Without `Nats-Msg-Id`: the server would drop by id alone, whoever wrote it; the inbox
/// tells repetitions apart.
pub(crate) async fn store(bus: &Bus, command: &Caused, trace: &TraceParent) -> Result<(), PublishError> {
    let (id, source) = (command.id.to_string(), format!("omnibus/{}", command.domain));
    let headers = Envelope {
        id: &id,
        kind: &command.kind,
        source: &source,
        time: clock::now(),
        tenant: &command.tenant,
        actor: Some(command.domain),
        correlation: &id,
        causation: None,
        trace,
        encoding: Encoding::MessagePack,
    }
    .headers();
    if !*bus.connected().borrow() {
        return Err(PublishError::Away("no connection".into()));
    }
    bus.publish(&command.subject, headers, command.body.clone().into()).await.map(drop)
}

/// A task as it is registered: its name, and how it starts.
pub(crate) type Start = Arc<dyn Fn(Desk) -> Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>> + Send + Sync>;

/// Runs every task until the worker stops. A task that returns before is done; one that fails starts again.
pub(crate) fn run(tasks: &[(&'static str, Start)], desk: &Desk) -> JoinSet<()> {
    let mut running = JoinSet::new();
    for (name, start) in tasks.iter().cloned() {
        let desk = desk.clone();
        running.spawn(async move {
            loop {
                let mut task = AbortOnDropHandle::new(tokio::spawn(start(desk.clone())));
                let ended = match tokio::time::timeout(WELL, &mut task).await {
                    Ok(ended) => ended,
                    Err(_) => {
                        desk.health.well(name);
                        task.await
                    }
                };
                let why = match ended {
                    Ok(Ok(())) => return desk.health.well(name),
                    Ok(Err(error)) => error.to_string(),
                    Err(_) => "it panicked".to_owned(),
                };
                if desk.stop.is_cancelled() {
                    return;
                }
                tracing::error!(domain = desk.domain, task = name, error = why, "a task failed; it starts again");
                desk.health.ill(name, why);
                if !desk.pause(PAUSE).await {
                    return;
                }
            }
        });
    }
    running
}
