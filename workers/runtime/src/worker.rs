//! A worker: its handlers by name, and the loops that feed them.

use std::sync::Arc;
use std::time::Duration;

use omnibus_bus::{BindError, Bound, BusError, Topology};
use omnibus_schemas::platform::{Accounts, CommandPage, HeldCommands, ResolveHeld};
use omnibus_schemas::{Catalogue, Command, Event, Hook, Query, subject};
use sqlx::PgPool;
use tokio::sync::{Mutex, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::bus::{Bus, Refusal};
use crate::calls_many::EffectMany;
use crate::desk::{self, Desk, Start};
use crate::ear::Ear;
use crate::engine::{Engine, database_away};
use crate::gauges;
use crate::handler::{Answer, Effect, Handle, React};
use crate::health::Health;
use crate::lane::{Lane, LaneError, TELLING};
use crate::many::HandleMany;
use crate::migrate::{self, MigrationError, Migrations};
use crate::pages::Pages;
use crate::registry::{Entry, Of, OfEvent, OfHook, Registry};
use crate::settings::WorkSettings;
use crate::sweep;
use crate::trim::Keeps;
use crate::visit::Receive;

/// One domain's worker, ready to run. Made by [`Worker::new`], whose [`Builder`] takes the handlers.
pub struct Worker {
    domain: &'static str,
    registry: Registry,
    migrations: Option<Migrations>,
    tasks: Vec<(&'static str, Start)>,
}

/// Takes a worker's handlers.
pub struct Builder<S> {
    state: Arc<S>,
    worker: Worker,
}

/// What a worker runs on.
pub struct Parts {
    /// The connection, as the worker's own bus user.
    pub bus: Bus,
    /// The database.
    pub db: PgPool,
    /// Every contract there is.
    pub catalogue: Catalogue,
    /// How to work.
    pub settings: WorkSettings,
    /// Where to say what is missing.
    pub health: Health,
    /// Stop taking new work, finish what runs, return.
    pub stop: CancellationToken,
}

/// How long a worker that ends waits for each of its servers once more.
const PARTING: Duration = Duration::from_secs(3);

/// Why a worker can't start, or can't go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Settings that contradict each other.
    #[error("{0}")]
    Settings(String),
    /// A lane that the catalogue does not know.
    #[error("the domain {domain} has no lane '{lane}'; it has: {known}")]
    NoSuchLane {
        /// Whose.
        domain: &'static str,
        /// Which.
        lane: String,
        /// Those there are.
        known: String,
    },
    /// A consumer is missing or not as this build expects it.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The bus user lacks a permission.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The database is not migrated.
    #[error(transparent)]
    Migration(#[from] MigrationError),
    /// A lane could not go on.
    #[error(transparent)]
    Lane(#[from] LaneError),
    /// No second connection.
    #[error(transparent)]
    Connect(#[from] crate::bus::ConnectError),
    /// The bus's words.
    #[error("{0}")]
    Bus(String),
}

impl Worker {
    /// A worker for `domain`, whose handlers share `state`.
    #[expect(clippy::new_ret_no_self, reason = "reads as it should: Worker::new(..).handles::<..>().build()")]
    pub fn new<S>(domain: &'static str, state: S) -> Builder<S> {
        let mut registry = Registry::default();
        registry.command::<ResolveHeld>(Entry::Resolve);
        Builder { state: Arc::new(state), worker: Worker { domain, registry, migrations: None, tasks: Vec::new() } }
    }

    /// The domain.
    pub fn domain(&self) -> &'static str {
        self.domain
    }

    /// Its tables.
    pub fn migrations(&self) -> Option<Migrations> {
        self.migrations
    }

    /// What the catalogue says that nobody here handles: commands, events reacted to, queries.
    pub fn unhandled(&self, catalogue: &Catalogue) -> Vec<String> {
        let Some(domain) = catalogue.domain(self.domain) else {
            return vec![format!("the catalogue has no domain {}", self.domain)];
        };
        let commands = domain.commands.iter().filter(|c| !self.registry.commands.contains_key(c.name));
        let queries = domain.queries.iter().filter(|q| {
            let platform = ["command", "held", "accounts"].contains(&q.name);
            !platform && !self.registry.answers.contains_key(q.name)
        });
        let reacts = domain.reacts.iter().filter(|reacts| !self.registry.reactions.contains_key(reacts));
        let hooks = domain.hooks.iter().filter(|hook| !self.registry.hooks.contains_key(hook.name));
        commands
            .map(|command| format!("command {}.{}", self.domain, command.name))
            .chain(queries.map(|query| format!("query {}.{}", self.domain, query.name)))
            .chain(hooks.map(|hook| format!("hook {}.{}", self.domain, hook.name)))
            .chain(reacts.map(|(domain, event)| format!("event {domain}.{event}")))
            .collect()
    }

    /// Runs until `parts.stop`, or until it can't go on.
    pub async fn run(self, parts: Parts) -> Result<(), RunError> {
        let Parts { bus, db, catalogue, settings, health, stop } = parts;
        settings.check().map_err(RunError::Settings)?;
        let migrations: Vec<_> = std::iter::once(migrate::BUS).chain(self.migrations).collect();
        if !migrated(&db, &migrations, &health, &stop).await? {
            return Ok(());
        }
        health.well("postgres");

        let known = catalogue.domain(self.domain).map(|domain| domain.lanes()).unwrap_or_default();
        if let Some(lane) = settings.lanes.iter().find(|lane| !known.contains(&lane.as_str())) {
            let (domain, lane) = (self.domain, lane.clone());
            return Err(RunError::NoSuchLane { domain, lane, known: known.join(", ") });
        }
        let mine: Vec<_> = known
            .iter()
            .filter(|lane| settings.lanes.is_empty() || settings.lanes.iter().any(|l| l == *lane))
            .collect();

        let mut registry = self.registry;
        let pages =
            Arc::new(Pages { consumers: known.iter().map(|lane| subject::lane_consumer(self.domain, lane)).collect() });
        registry.answer::<CommandPage>(Of::<Pages, CommandPage>::new(pages.clone()));
        registry.answer::<HeldCommands>(Of::<Pages, HeldCommands>::new(pages.clone()));
        registry.answer::<Accounts>(Of::<Pages, Accounts>::new(pages.clone()));

        let engine = Engine::new(self.domain, bus, db, registry, settings, health, stop.clone());
        let topology = Topology::of(&catalogue, &omnibus_bus::Settings::default());
        let mut specs: Vec<_> = Vec::new();
        for lane in mine {
            specs.push((*lane, false, topology.lane(self.domain, lane).expect("the topology has every lane")));
        }
        if let Some(spec) = topology.reacts(self.domain) {
            specs.push(("reacts", true, spec));
        }

        let ear = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            ear = Ear::beside(&engine.bus) => Arc::new(ear?),
        };
        let (mut loops, mut recorders, mut lanes) = (JoinSet::new(), JoinSet::new(), Vec::new());
        let recorded = CancellationToken::new();
        let attempts = engine.registry.most_attempts(engine.settings.attempts);
        let mut shortest = Duration::MAX;
        for (name, reaction, spec) in specs {
            let Some((consumer, bound)) = stop.run_until_cancelled(bind(&engine.bus, spec)).await.transpose()? else {
                return Ok(());
            };
            if let Some(max) = bound.max_deliver.filter(|max| *max < 2 * attempts) {
                return Err(RunError::Settings(format!(
                    "the consumer {} gives up after {max} deliveries, too few for {attempts} attempts and the snoozes \
                     between them: raise its max_deliver to {} at least",
                    spec.durable_name,
                    2 * attempts
                )));
            }
            shortest = shortest.min(bound.ack_wait);
            let calls = !reaction
                && engine.registry.lanes.iter().any(|(command, lane)| {
                    *lane == name && matches!(engine.registry.commands.get(command), Some(Entry::Call(..)))
                });
            let room = match calls {
                // While so many calls are out, others are being prepared and recorded.
                true => 3 * engine.settings.in_flight,
                // Each loop decides one batch and tells of others.
                false => (1 + TELLING as u32) * engine.settings.batch * engine.settings.loops,
            };
            let (finished, results) = mpsc::channel(room as usize);
            let results = Arc::new(Mutex::new(results));
            let lane = Arc::new(Lane {
                engine: engine.clone(),
                stream: spec.stream.clone(),
                consumer: spec.durable_name.clone(),
                name: name.to_owned(),
                reaction,
                permits: Arc::new(Semaphore::new(room as usize)),
                // As many as are being called stay prepared all the same.
                least: if calls { (engine.settings.in_flight / 2).clamp(1, engine.settings.batch) } else { 1 },
                calls: Semaphore::new(engine.settings.in_flight as usize),
                ear: ear.clone(),
                looked: Mutex::default(),
                finished,
            });
            // What a life before this one could not read is still out.
            if let Err(error) = lane.weed(&consumer).await {
                tracing::warn!(domain = self.domain, lane = name, %error, "what is out could not be looked through");
            }
            for _ in 0..engine.settings.loops {
                recorders.spawn(lane.clone().recorder(results.clone(), recorded.clone()));
                loops.spawn(lane.clone().pump(consumer.clone()));
            }
            lanes.push(lane);
        }
        let sweeper = topology.sweeper(self.domain).expect("the topology has a sweeper for every domain");
        let Some((sweeper, _)) = stop.run_until_cancelled(bind(&engine.bus, sweeper)).await.transpose()? else {
            return Ok(());
        };
        let mut side = JoinSet::new();
        side.spawn(engine.clone().heartbeat(shortest));
        side.spawn(engine.clone().sweep(lanes.iter().map(|lane| lane.consumer.clone()).collect()));
        let stream = subject::command_stream(self.domain);
        side.spawn(engine.clone().trimmer(Keeps {
            mine: lanes.iter().map(|lane| lane.consumer.clone()).collect(),
            lanes: known.iter().map(|lane| subject::lane_consumer(self.domain, lane)).collect(),
            all: topology.consumers.iter().filter(|c| c.stream == stream).map(|c| c.durable_name.clone()).collect(),
        }));
        side.spawn(sweep::advisories(engine.clone(), sweeper, lanes.clone()));
        side.spawn(gauges::measure(engine.clone(), lanes.clone()));
        let desk = Desk {
            bus: engine.bus.clone(),
            db: engine.db.clone(),
            stop: stop.clone(),
            health: engine.health.clone(),
            domain: self.domain,
        };
        let mut tasks = desk::run(&self.tasks, &desk);
        let answering = engine.clone();
        let answers = tokio::spawn(async move {
            if let Err(error) = answering.clone().serve_answers().await {
                tracing::error!(domain = answering.domain, %error, "queries are not answered");
                answering.health.ill("queries", error.to_string());
            }
        });
        tracing::info!(domain = self.domain, lanes = lanes.len(), "at work");

        let mut result = Ok(());
        let overdue = async {
            stop.cancelled().await;
            tokio::time::sleep(engine.settings.drain()).await;
        };
        tokio::pin!(overdue);
        loop {
            let ended = tokio::select! {
                ended = loops.join_next() => ended,
                // None of these ends before the loops, unless by a panic: then the worker is to begin anew.
                Some(ended) = recorders.join_next() => Some(ended.map(Ok)),
                Some(ended) = side.join_next() => Some(ended.map(Ok)),
                () = &mut overdue => {
                    tracing::warn!(domain = self.domain, "left a batch that did not finish in time; it will come again");
                    loops.shutdown().await;
                    None
                }
            };
            let Some(ended) = ended else { break };
            match ended {
                Ok(Ok(())) => {}
                Ok(Err(error)) if result.is_ok() => {
                    tracing::error!(domain = self.domain, %error, "a lane can't go on");
                    result = Err(error.into());
                    stop.cancel();
                }
                Ok(Err(_)) => {}
                Err(error) => {
                    stop.cancel();
                    result = Err(RunError::Bus(format!("a part of the worker ended: {error}")));
                }
            }
        }

        // Nothing new comes in; what runs may finish, for a while.
        engine.tasks.close();
        let drained = async {
            engine.tasks.wait().await;
            while tasks.join_next().await.is_some() {}
            recorded.cancel();
            while recorders.join_next().await.is_some() {}
            engine.tasks.wait().await;
        };
        if tokio::time::timeout(engine.settings.drain(), drained).await.is_err() {
            tracing::warn!(domain = self.domain, "left what did not finish in time; it will be taken over");
        }
        tasks.shutdown().await;
        engine.abort.cancel();
        let _ = tokio::time::timeout(PARTING, engine.flush_published()).await;
        answers.abort();
        side.shutdown().await;
        // Acknowledgements stand in the buffers of both connections. One that looks for its server says nothing until
        // it has found it.
        let hearing = ear.now().await;
        let flushed = async { tokio::join!(hearing.bus.client().flush(), engine.bus.client().flush()) };
        let _ = tokio::time::timeout(PARTING, flushed).await;
        tracing::info!(domain = self.domain, "stopped");
        result
    }
}

pub(crate) async fn bind(
    bus: &Bus,
    spec: &omnibus_bus::ConsumerSpec,
) -> Result<(async_nats::jetstream::consumer::PullConsumer, Bound), RunError> {
    let info = format!("$JS.API.CONSUMER.INFO.{}.{}", spec.stream, spec.durable_name);
    let js = bus.jetstream();
    let bound = || async {
        let found = bus.guard(&info, omnibus_bus::verify_consumer(js, spec)).await?;
        let found = match found {
            Ok(found) => found,
            Err(error) => return Ok(Err(error)),
        };
        let consumer = js.get_consumer_from_stream(spec.durable_name.as_str(), spec.stream.as_str());
        let consumer = bus.guard(&info, consumer).await?;
        let unanswered = |reason| BindError::Bus(BusError::Unanswered { call: info.clone(), reason });
        Ok::<_, Refusal>(consumer.map(|consumer| (consumer, found)).map_err(|error| unanswered(error.to_string())))
    };
    // A leader may be in election just now, or the server on its way back.
    let mut tries = 0;
    loop {
        match bound().await? {
            Ok(bound) => return Ok(bound),
            Err(BindError::Bus(error)) if tries < 20 => {
                tries += 1;
                tracing::warn!(consumer = spec.durable_name, %error, "waiting for the consumer");
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Makes sure that the tables are there, waiting for a database that is away. `false` if the worker is to stop instead.
async fn migrated(
    db: &PgPool,
    migrations: &[Migrations],
    health: &Health,
    stop: &CancellationToken,
) -> Result<bool, RunError> {
    for migrations in migrations {
        loop {
            match migrations.check(db).await {
                Ok(()) => break,
                Err(MigrationError::Database(error)) if database_away(&error) => {
                    health.ill("postgres", error.to_string());
                    tokio::select! {
                        () = stop.cancelled() => return Ok(false),
                        () = tokio::time::sleep(Duration::from_millis(500)) => {}
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(true)
}

impl<S: Send + Sync + 'static> Builder<S> {
    /// The worker's own tables.
    #[must_use]
    pub fn migrations(mut self, schema: &'static str, files: &'static [(&'static str, &'static str)]) -> Self {
        self.worker.migrations = Some(Migrations { schema, files });
        self
    }

    /// Registers a state change.
    #[must_use]
    pub fn handles<C: Command>(mut self) -> Self
    where
        S: Handle<C>,
    {
        self.worker.registry.command::<C>(Entry::Decide(Of::<S, C>::new(self.state.clone())));
        self
    }

    /// Registers a state change that takes many commands at once.
    #[must_use]
    pub fn handles_many<C: Command>(mut self) -> Self
    where
        S: HandleMany<C>,
    {
        self.worker.registry.command::<C>(Entry::Many(Of::<S, C>::new(self.state.clone())));
        self
    }

    /// Registers a call that leaves the database.
    #[must_use]
    pub fn effects<C: Command>(mut self) -> Self
    where
        S: Effect<C>,
    {
        self.worker.registry.command::<C>(Entry::Call(Of::<S, C>::new(self.state.clone()), None));
        self
    }

    /// Registers a call that leaves the database, prepared and recorded for many commands at once.
    #[must_use]
    pub fn effects_many<C: Command>(mut self) -> Self
    where
        S: EffectMany<C>,
    {
        let call = Of::<S, C>::new(self.state.clone());
        self.worker.registry.command::<C>(Entry::Call(call.clone(), Some(call)));
        self
    }

    /// Registers a reaction to another worker's event.
    #[must_use]
    pub fn reacts<E: Event>(mut self) -> Self
    where
        S: React<E>,
    {
        self.worker.registry.reaction::<E>(Entry::Decide(OfEvent::<S, E>::new(self.state.clone())));
        self
    }

    /// Registers a query.
    #[must_use]
    pub fn answers<Q: Query>(mut self) -> Self
    where
        S: Answer<Q>,
    {
        self.worker.registry.answer::<Q>(Of::<S, Q>::new(self.state.clone()));
        self
    }

    /// Registers a hook.
    #[must_use]
    pub fn receives<H: Hook>(mut self) -> Self
    where
        S: Receive<H>,
    {
        self.worker.registry.hook::<H>(OfHook::<S, H>::new(self.state.clone()));
        self
    }

    /// Registers a task beside the lanes, see [`Desk`]. It runs in every replica; [`Desk::alone`] makes it one.
    #[must_use]
    pub fn runs<T, F>(mut self, name: &'static str, task: T) -> Self
    where
        T: Fn(Arc<S>, Desk) -> F + Send + Sync + 'static,
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let state = self.state.clone();
        let start: Start = Arc::new(move |desk| Box::pin(task(state.clone(), desk)));
        self.worker.tasks.push((name, start));
        self
    }

    /// The worker.
    #[must_use]
    pub fn build(self) -> Worker {
        self.worker
    }
}
