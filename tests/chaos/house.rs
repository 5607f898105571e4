//! One round's house: servers of its own, proxies before them, two workers as processes that are begun again when they
//! end, as a supervisor would.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use nix::sys::signal::Signal;
use omnibus_bus::{Settings, Topology};
use omnibus_runtime::local::{Postgres, PostgresOptions};
use omnibus_runtime::testing::{Scenery, Stage};
use omnibus_tests::life::Life;
use omnibus_tests::proxy::{Proxy, Target};
use omnibus_tests::shop;
use tokio::sync::Mutex;

use crate::disk::Disk;
use crate::ends::{End, Ends};
use crate::plan::{Ground, Plan};
use crate::routes::Routes;

/// What is killed in flight comes again after this, and a lease lasts as long.
pub(crate) const BEAT: Duration = Duration::from_secs(2);

pub(crate) struct House {
    pub(crate) stage: Stage,
    pub(crate) limits: Settings,
    pub(crate) postgres: Mutex<Postgres>,
    /// Before each nats-server.
    pub(crate) nats_lines: Vec<Proxy>,
    pub(crate) postgres_line: Proxy,
    pub(crate) provider: tempfile::TempDir,
    pub(crate) disk: Option<Disk>,
    pub(crate) routes: Option<Routes>,
    program: PathBuf,
    nats_url: String,
    database_url: String,
    slots: [Mutex<Slot>; 2],
    ends: Mutex<Ends>,
}

/// A worker's place: who stands in it changes.
pub(crate) struct Slot {
    pub(crate) many: bool,
    life: Option<Life>,
}

/// What a process holds.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Size {
    /// Open files, connections among them.
    pub(crate) files: usize,
    /// Resident, in MiB.
    pub(crate) memory: u64,
}

impl Size {
    /// The larger of each.
    pub(crate) fn most(self, other: Size) -> Size {
        Size { files: self.files.max(other.files), memory: self.memory.max(other.memory) }
    }
}

impl House {
    pub(crate) async fn build(plan: &Plan, program: &Path) -> anyhow::Result<Arc<Self>> {
        // Transactions that wait for each other are found out while their handlers still have time.
        let settings = vec![("deadlock_timeout".to_owned(), "200ms".to_owned())];
        let own = PostgresOptions { max_connections: 60, settings, ..PostgresOptions::default() };
        let postgres = Postgres::start(own).await?;
        let disk = match plan.ground {
            Ground::SmallDisk => Some(Disk::small()?),
            _ => None,
        };
        let cluster = match plan.ground {
            Ground::Cluster => Some(Routes::between(3).await?),
            _ => None,
        };
        let replicas = if cluster.is_some() { 3 } else { 1 };
        let limits = Settings { ack_wait: BEAT, replicas, ..Settings::default() };
        let scenery = Scenery {
            deaf: true,
            nodes: cluster.as_ref().map(Routes::nodes).unwrap_or_default(),
            nats_dir: disk.as_ref().map(|disk| disk.path().join("nats")),
            ..Scenery::default()
        };
        let stage = Stage::set(shop::catalogue(), limits.clone(), &postgres, scenery).await;
        let provider = tempfile::tempdir()?;
        let migrations = shop::worker(provider.path()).migrations().expect("the shop has tables");
        migrations.apply(&stage.db).await?;
        let mut nats_lines = Vec::new();
        for url in stage.nats_url().split(',') {
            let port = url.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).context("a URL with a port")?;
            nats_lines.push(Proxy::to(Target::Port(port)).await?);
        }
        let nats_url =
            nats_lines.iter().map(|line| format!("nats://127.0.0.1:{}", line.port)).collect::<Vec<_>>().join(",");
        let (postgres_line, database_url) = Proxy::to_postgres(&stage.database_url).await?;
        let slots = plan.many.map(|many| Mutex::new(Slot { many, life: None }));
        let house = Arc::new(House {
            stage,
            limits,
            postgres: Mutex::new(postgres),
            nats_lines,
            postgres_line,
            provider,
            disk,
            routes: cluster,
            program: program.to_owned(),
            nats_url,
            database_url,
            slots,
            ends: Mutex::new(Ends::among(&plan.faults)),
        });
        for n in 0..2 {
            house.tend(n).await;
        }
        Ok(house)
    }

    fn begin(&self, many: bool) -> Life {
        let mut variables = vec![
            ("BATCH", "8"),
            ("LEASE_SECONDS", "2"),
            ("REPUBLISH_AFTER_SECONDS", "3"),
            ("DRAIN_SECONDS", "10"),
            ("NATS_URL", self.nats_url.as_str()),
            ("DATABASE_URL", self.database_url.as_str()),
        ];
        let clock = self.clock().display().to_string();
        variables.push(("OMNIBUS_CLOCK", &clock));
        variables.extend(many.then_some(("SHOP_MANY", "true")));
        Life::begin(&self.program, &self.stage, self.provider.path(), &variables)
    }

    /// The file that says by how many seconds the workers' clocks are wrong.
    pub(crate) fn clock(&self) -> PathBuf {
        self.provider.path().join("clock")
    }

    /// Begins a worker where none is.
    pub(crate) async fn tend(&self, n: usize) {
        let mut slot = self.slots[n % 2].lock().await;
        if let Some(life) = &mut slot.life {
            match life.ended() {
                None => return,
                Some(status) => self.ends.lock().await.add(End::ByItself(status), &life.log()),
            }
        }
        slot.life = Some(self.begin(slot.many));
    }

    /// Begins again who has ended, until dropped.
    pub(crate) async fn tend_for_ever(self: Arc<Self>) {
        loop {
            for n in 0..2 {
                self.tend(n).await;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    pub(crate) async fn kill_worker(&self, n: usize) {
        let mut slot = self.slots[n % 2].lock().await;
        if let Some(mut life) = slot.life.take() {
            match life.ended() {
                Some(status) => self.ends.lock().await.add(End::ByItself(status), &life.log()),
                None => life.kill9().await,
            }
        }
    }

    pub(crate) async fn freeze_worker(&self, n: usize, lasts: Duration) {
        // The place is kept: a frozen process is nobody's to begin again.
        let slot = self.slots[n % 2].lock().await;
        if let Some(life) = &slot.life {
            life.signal(Signal::SIGSTOP);
            tokio::time::sleep(lasts).await;
            life.signal(Signal::SIGCONT);
        }
    }

    /// The other kind of worker begins, then the old one is told to end.
    pub(crate) async fn roll_out(&self, n: usize) {
        let old = {
            let mut slot = self.slots[n % 2].lock().await;
            slot.many = !slot.many;
            let new = self.begin(slot.many);
            slot.life.replace(new)
        };
        if let Some(mut old) = old {
            self.tell_to_end(&mut old, Duration::from_secs(40)).await;
        }
    }

    /// SIGTERM; how the worker ends is noted.
    async fn tell_to_end(&self, life: &mut Life, patience: Duration) {
        let end = match life.ended() {
            Some(status) => End::ByItself(status),
            None => life.ask_to_end(patience).await.map_or(End::NotInTime, End::Told),
        };
        self.ends.lock().await.add(end, &life.log());
    }

    /// Puts the bus right, as an operator does who reads in a log that a consumer is gone.
    pub(crate) async fn provision(&self) -> anyhow::Result<()> {
        let topology = Topology::of(self.stage.catalogue(), &self.limits);
        let mut tries = 0;
        loop {
            match omnibus_bus::apply(self.stage.operator.jetstream(), &topology).await {
                Ok(_) => return Ok(()),
                Err(error) if tries >= 60 => return Err(error.into()),
                Err(_) => {
                    tries += 1;
                    tokio::time::sleep(Duration::from_millis(250)).await;
                }
            }
        }
    }

    /// Ends both workers, all being well, and says how much they held and what was not well: too many files, too much
    /// memory.
    pub(crate) async fn close(&self) -> (Size, Vec<String>) {
        let (mut size, mut faults) = (Size::default(), Vec::new());
        for slot in &self.slots {
            let mut slot = slot.lock().await;
            let Some(mut life) = slot.life.take() else { continue };
            let (files, memory) = life.size();
            size = size.most(Size { files, memory });
            if files > 120 {
                faults.push(format!("a worker has {files} open files"));
            }
            if memory > 256 {
                faults.push(format!("a worker has {memory} MiB resident"));
            }
            self.tell_to_end(&mut life, Duration::from_secs(30)).await;
        }
        (size, faults)
    }

    /// How workers have ended, once both are closed.
    pub(crate) async fn ends(&self) -> Ends {
        std::mem::take(&mut *self.ends.lock().await)
    }

    /// Transactions that PostgreSQL has ended because they waited for each other, since it last crashed.
    pub(crate) async fn deadlocks(&self) -> i64 {
        let counted = sqlx::query_scalar("select deadlocks from pg_stat_database where datname = current_database()");
        // Nothing is judged by it.
        counted.fetch_one(&self.stage.db).await.unwrap_or(0)
    }

    /// What the workers' logs say, for a round that failed.
    pub(crate) fn logs(&self) -> String {
        let entries = std::fs::read_dir(self.provider.path()).into_iter().flatten().flatten();
        let logs = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("log-"));
        let texts = logs.map(|entry| {
            let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
            format!("--- {}\n{text}\n", entry.file_name().to_string_lossy())
        });
        texts.collect()
    }
}
