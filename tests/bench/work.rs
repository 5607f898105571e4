//! Commands a second, beside bare loops that write the same rows and publish the same event. The backlog is there before
//! the clock starts, and the clock is the same for all: from the lane's first delivery to its last acknowledgement.

use std::time::{Duration, Instant};

use async_nats::jetstream::consumer::PullConsumer;
use omnibus_bus::Settings;
use omnibus_runtime::local::Postgres;
use omnibus_runtime::settings::WorkSettings;
use omnibus_runtime::testing::{Scenery, Stage};
use omnibus_schemas::{Encoding, body, subject};
use sqlx::postgres::PgPoolOptions;

use crate::bare::{self, Commit};
use crate::cpu::Cpu;
use crate::goods::{self, Ship, Store, Taking, thing};

/// Who does the work.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Contestant {
    /// async-nats alone, publishing.
    Publish,
    /// async-nats and sqlx alone.
    Bare(Commit),
    /// An ordinary handler, in batches of at most this many.
    Handle(u32),
    /// A handler that takes many, in batches of at most this many.
    Many(u32),
    /// An effect whose call takes this long.
    Effect(Duration),
}

impl Contestant {
    pub(crate) fn name(self) -> String {
        match self {
            Contestant::Publish => "bare: publish with ids, window of 1024".into(),
            Contestant::Bare(Commit::Not) => "bare: consume and acknowledge".into(),
            Contestant::Bare(Commit::Each(n)) => format!("bare: one transaction a message, {n} at once"),
            Contestant::Bare(Commit::Batch(n)) => format!("bare: one transaction for {n}"),
            Contestant::Handle(n) => format!("Omnibus: Handle, batch {n}"),
            Contestant::Many(n) => format!("Omnibus: HandleMany, batch {n}"),
            Contestant::Effect(call) => {
                format!("Omnibus: Effect, call of {} ms, {} in flight", call.as_millis(), in_flight(call))
            }
        }
    }

    pub(crate) fn is_ours(self) -> bool {
        match self {
            Contestant::Publish | Contestant::Bare(_) => false,
            Contestant::Handle(_) | Contestant::Many(_) | Contestant::Effect(_) => true,
        }
    }

    fn lane(self) -> &'static str {
        match self {
            Contestant::Effect(_) => "calls",
            _ => "default",
        }
    }
}

/// What one run took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    pub(crate) commands: usize,
    pub(crate) took: Duration,
    pub(crate) cpu: Cpu,
}

impl Run {
    pub(crate) fn rate(self) -> f64 {
        self.commands as f64 / self.took.as_secs_f64()
    }
}

/// Calls in flight at once, where calls take time; more, where what is measured is what surrounds them.
pub(crate) fn in_flight(call: Duration) -> u32 {
    if call.is_zero() { 512 } else { 64 }
}

/// On a fresh bus and database.
pub(crate) async fn once(
    postgres: &Postgres,
    commands: usize,
    sync_always: bool,
    contestant: Contestant,
) -> anyhow::Result<Run> {
    let scenery = Scenery { sync_always, deaf: true, ..Scenery::default() };
    let limits = Settings { max_ack_pending: 10_000, ..Settings::default() };
    let stage = Stage::set(goods::catalogue(), limits, postgres, scenery).await;
    let bus = stage.connect("goods").await;
    if matches!(contestant, Contestant::Publish) {
        let (began, cpu) = (Instant::now(), account(&stage, postgres).await);
        let body = |n| body::encode(Encoding::MessagePack, &Store { thing: thing(n) });
        bare::publish(&stage.operator, commands, body).await.map_err(|error| anyhow::anyhow!(error))?;
        return Ok(Run { commands, took: began.elapsed(), cpu: account(&stage, postgres).await.since(cpu) });
    }
    match contestant {
        Contestant::Effect(_) => stage.backlog("acme", commands, |n| Ship { thing: thing(n) }).await,
        _ => stage.backlog("acme", commands, |n| Store { thing: thing(n) }).await,
    }
    // A limit that is looked at for each command and never reached.
    let settings = |batch| WorkSettings { batch, tenant_rate: Some(1_000_000.0), ..WorkSettings::defaults() };
    let worker = |taking, call| goods::worker(taking, call);
    let job = match contestant {
        Contestant::Publish => unreachable!("measured above"),
        Contestant::Bare(commit) => {
            let db = PgPoolOptions::new().max_connections(64).min_connections(8).connect(&stage.database_url).await?;
            for statement in bare::TABLES {
                sqlx::query(statement).execute(&db).await?;
            }
            let loops = async move {
                let consumed = tokio::spawn(async move { bare::consume(&bus, &db, commands, commit).await });
                consumed.await?.map_err(|error| anyhow::anyhow!(error))
            };
            return timed(&stage, postgres, commands, contestant.lane(), loops).await.map(|(run, ())| run);
        }
        Contestant::Handle(batch) => (worker(Taking::OneByOne, Duration::ZERO), settings(batch)),
        Contestant::Many(batch) => (worker(Taking::Many, Duration::ZERO), settings(batch)),
        Contestant::Effect(call) => {
            (worker(Taking::OneByOne, call), WorkSettings { in_flight: in_flight(call), ..settings(256) })
        }
    };
    let (worker, settings) = job;
    // Tables first, off the clock.
    if let Some(migrations) = worker.migrations() {
        migrations.apply(&stage.db).await?;
    }
    let start = async { Ok(stage.run_with(worker, settings).await) };
    let (run, running) = timed(&stage, postgres, commands, contestant.lane(), start).await?;
    running.stop().await;
    let rows: i64 = sqlx::query_scalar("select count(*) from goods.stored").fetch_one(&stage.db).await?;
    let done: i64 =
        sqlx::query_scalar("select count(*) from bus.inbox where outcome = 'succeeded'").fetch_one(&stage.db).await?;
    anyhow::ensure!(rows as usize == commands && done == rows, "{rows} rows and {done} done for {commands} commands");
    Ok(run)
}

async fn account(stage: &Stage, postgres: &Postgres) -> Cpu {
    Cpu::now(stage.nats.lock().await.pid(), postgres.pid())
}

/// From the lane's first delivery to its last acknowledgement. `work` is what takes them, or starts those who do: they
/// begin at once, so that the clock has to run before.
pub(crate) async fn timed<T>(
    stage: &Stage,
    postgres: &Postgres,
    commands: usize,
    lane: &str,
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<(Run, T)> {
    let js = stage.operator.jetstream();
    let mut consumer: PullConsumer =
        js.get_consumer_from_stream(subject::lane_consumer("goods", lane), subject::command_stream("goods")).await?;
    let clock = async {
        while consumer.info().await?.delivered.consumer_sequence == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let (began, before) = (Instant::now(), account(stage, postgres).await);
        let took = loop {
            let info = consumer.info().await?;
            if info.num_pending == 0 && info.num_ack_pending == 0 {
                break began.elapsed();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        Ok(Run { commands, took, cpu: account(stage, postgres).await.since(before) })
    };
    tokio::try_join!(clock, work)
}
