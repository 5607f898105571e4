//! Other people's workers on the same work: take a job of 256 bytes, write it as one row. Each is set up in
//! `tests/bench/peers/<name>/` as its documentation advises, and installed into `.omnibus/peers/<name>` when asked for.
//!
//! `<name>/run install`, `<name>/run enqueue <n>` and `<name>/run work` are programs of their own; what is measured is
//! the table `peer.rows`, from the first row's time to the last's.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use omnibus_runtime::local::{NatsOptions, NatsServer, Postgres};
use omnibus_runtime::testing::{Scenery, Stage};
use sqlx::PgPool;
use tokio::process::{Child, Command};

use crate::figures::{Series, Table, wanted};
use crate::goods;
use crate::work::{self, Contestant};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/bench/peers");
/// A peer that writes nothing for so long has stopped.
const PATIENCE: Duration = Duration::from_secs(180);

pub(crate) struct Peers {
    pub(crate) table: Table,
    pub(crate) bars: Vec<(String, Series)>,
}

struct Peer {
    name: String,
    folder: PathBuf,
    rate: Series,
    /// Why it did not run.
    fault: Option<String>,
}

/// Ours, in the same rounds; a peer is held against the first if it takes jobs one by one, and against the second if in
/// batches.
const OURS: [Contestant; 2] = [Contestant::Handle(256), Contestant::Many(256)];

pub(crate) async fn run(postgres: &Postgres, rounds: usize, jobs: usize, only: Option<&str>) -> anyhow::Result<Peers> {
    let mut peers = Vec::new();
    for entry in std::fs::read_dir(FOLDER)? {
        let folder = entry?.path();
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if folder.join("run").is_file() && wanted(&name, only) {
            peers.push(Peer { name, folder, rate: Series::default(), fault: None });
        }
    }
    peers.sort_by(|a, b| a.name.cmp(&b.name));
    ensure!(!peers.is_empty(), "no peer is called so");
    let mut ours = [Series::default(), Series::default()];
    for round in 0..=rounds {
        for (contestant, rate) in OURS.into_iter().zip(&mut ours) {
            let run = work::once(postgres, jobs, false, contestant).await?;
            if round > 0 {
                rate.push(run.rate());
            }
            progress(&contestant.name(), None);
        }
        for peer in &mut peers {
            if peer.fault.is_some() {
                continue;
            }
            match once(postgres, peer, jobs).await {
                Ok(rate) if round > 0 => peer.rate.push(rate),
                Ok(_) => {}
                Err(error) => peer.fault = Some(format!("{error:#}")),
            }
            progress(&peer.name, peer.fault.as_deref());
        }
    }
    let (ran, not): (Vec<_>, Vec<_>) = peers.into_iter().partition(|peer| peer.fault.is_none());
    let mut bars: Vec<_> = OURS.into_iter().map(Contestant::name).zip(ours.clone()).collect();
    let mut rows: Vec<_> =
        bars.iter().map(|(name, rate)| vec![name.clone(), rate.to_string(), String::new()]).collect();
    rows.extend(ran.iter().map(|peer| {
        let (of, goal, name) = match peer.name.ends_with("-batch") {
            true => (&ours[1], 1.5, "HandleMany"),
            false => (&ours[0], 2.0, "Handle"),
        };
        let times = format!("{:.1} (goal {goal})", of.median() / peer.rate.median());
        vec![peer.name.clone(), peer.rate.to_string(), format!("{name} does {times} times as many")]
    }));
    rows.extend(
        not.into_iter()
            .map(|peer| vec![peer.name, format!("did not run: {}", peer.fault.unwrap_or_default()), String::new()]),
    );
    bars.extend(ran.into_iter().map(|peer| (peer.name, peer.rate)));
    Ok(Peers {
        table: Table {
            title: format!(
                "Other people's workers beside Omnibus, {jobs} jobs waiting, one row each: median (least..most) of \
                 {rounds} rounds. Ours write an inbox row and publish an event too"
            ),
            columns: vec!["", "jobs/s", "ratio"],
            rows,
        },
        bars,
    })
}

#[expect(clippy::print_stderr, reason = "whoever waits wants to see that something happens")]
fn progress(name: &str, fault: Option<&str>) {
    eprintln!("{name}: {}", fault.unwrap_or("measured"));
}

async fn once(postgres: &Postgres, peer: &Peer, jobs: usize) -> anyhow::Result<f64> {
    // For the database of its own; the bus on it has users and permissions that a peer knows nothing of.
    let scenery = Scenery { deaf: true, ..Scenery::default() };
    let stage = Stage::set(goods::catalogue(), omnibus_bus::Settings::default(), postgres, scenery).await;
    let nats = NatsServer::start(NatsOptions::default()).await?;
    sqlx::raw_sql(
        "create schema peer; create table peer.rows (
            id uuid primary key, body text not null, at timestamptz not null default clock_timestamp())",
    )
    .execute(&stage.db)
    .await?;
    let home = home()?.join(&peer.name);
    std::fs::create_dir_all(&home)?;
    let redis_port = free_port()?;
    let command = |arguments: &[&str]| {
        let mut command = Command::new(peer.folder.join("run"));
        command
            .args(arguments)
            .current_dir(&home)
            .env("PEER_HOME", &home)
            .env("PEERS_HOME", home.parent().unwrap_or(&home))
            .env("DATABASE_URL", &stage.database_url)
            .env("NATS_URL", nats.url())
            .env("REDIS_PORT", redis_port.to_string())
            .env("REDIS_URL", format!("redis://127.0.0.1:{redis_port}/0"))
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .process_group(0);
        command
    };
    finished(command(&["install"])).await.context("install")?;
    let redis = Group(command(&["serve"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?);
    finished(command(&["enqueue", &jobs.to_string()])).await.context("enqueue")?;
    let log = home.join("work.log");
    let output = std::fs::File::create(&log)?;
    let mut worker = Group(command(&["work"]).stdout(output.try_clone()?).stderr(output).spawn()?);
    let measured = measured(&stage.db, jobs, &mut worker).await;
    drop((worker, redis));
    measured.with_context(|| format!("see {}", log.display()))
}

async fn finished(mut command: Command) -> anyhow::Result<()> {
    let output = command.output().await?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}", said.lines().last().unwrap_or("it said nothing"));
    Ok(())
}

/// Jobs a second from the first row to the last, by the rows' own times.
async fn measured(db: &PgPool, jobs: usize, worker: &mut Group) -> anyhow::Result<f64> {
    let mut last = (0, Instant::now());
    loop {
        let asked = Instant::now();
        let rows: i64 = sqlx::query_scalar("select count(*) from peer.rows").fetch_one(db).await?;
        let counting = asked.elapsed();
        if rows as usize >= jobs {
            let took = "select extract(epoch from max(at) - min(at))::float8 from peer.rows";
            return Ok(rows as f64 / sqlx::query_scalar::<_, f64>(took).fetch_one(db).await?);
        }
        if rows > last.0 {
            last = (rows, Instant::now());
        }
        ensure!(last.1.elapsed() < PATIENCE, "{rows} of {jobs} rows, and no other for {PATIENCE:?}");
        if let Some(status) = worker.0.try_wait()? {
            anyhow::bail!("its worker ended with {status}, after {rows} rows");
        }
        // Who is measured has nearly all of the database.
        tokio::time::sleep(Duration::from_millis(20).max(counting * 30)).await;
    }
}

/// A process with its children, ended when dropped.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.0.id().and_then(|pid| i32::try_from(pid).ok()) {
            let _ = nix::sys::signal::killpg(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
        }
    }
}

fn home() -> anyhow::Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace's folder")?;
    Ok(root.join(".omnibus/peers"))
}

fn free_port() -> std::io::Result<u16> {
    std::net::TcpListener::bind("127.0.0.1:0")?.local_addr().map(|at| at.port())
}
