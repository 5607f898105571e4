//! What each program of the house holds while it has nothing to do.
//!
//! They are the real programs, from the folder that this one lies in: this one holds the whole house, and to be each of
//! them in turn would tell of more code than theirs.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use omnibus_runtime::local::Postgres;
use omnibus_runtime::testing::{Scenery, Stage, free_port};
use omnibus_schemas::Catalogue;
use tokio::process::{Child, Command};

use crate::cpu;
use crate::figures::Table;

/// The most that one is to hold, in MiB.
const GOAL: f64 = 30.0;
/// How long a program may take to be ready.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long all of them idle before they are looked at.
const IDLE: Duration = Duration::from_secs(10);

pub(crate) async fn run(postgres: &Postgres) -> anyhow::Result<Table> {
    let catalogue = Catalogue::omnibus();
    let scenery = Scenery { deaf: true, ..Scenery::default() };
    let stage = Stage::set(catalogue.clone(), omnibus_bus::Settings::default(), postgres, scenery).await;
    let folder = tempfile::tempdir()?;
    let mut migrate = command("omnibus", folder.path())?;
    let migrated = migrate.arg("migrate").env("DATABASE_URL", &stage.database_url).status().await?;
    ensure!(migrated.success(), "the tables could not be made");

    let mut programs = Vec::new();
    for name in ["ingest", "fanout"].into_iter().chain(catalogue.domains().iter().map(|domain| domain.name)) {
        programs.push(Program::start(name, &stage, folder.path())?);
    }
    for program in &mut programs {
        program.ready().await?;
    }
    tokio::time::sleep(IDLE).await;
    let row = |program: &Program| {
        let id = program.child.id().with_context(|| format!("{} has ended", program.name))?;
        let mib = cpu::resident_of(id);
        anyhow::Ok(vec![program.name.to_owned(), format!("{mib:.1}"), format!("{:.2}", mib / GOAL)])
    };
    Ok(Table {
        title: format!("Memory of each program after {} s without work (goal {GOAL} MiB)", IDLE.as_secs()),
        columns: vec!["program", "MiB resident", "of the goal"],
        rows: programs.iter().map(row).collect::<anyhow::Result<_>>()?,
    })
}

/// A program at work. It is killed with this.
struct Program {
    name: &'static str,
    address: String,
    child: Child,
}

impl Program {
    fn start(name: &'static str, stage: &Stage, folder: &Path) -> anyhow::Result<Self> {
        let address = format!("127.0.0.1:{}", free_port());
        let child = command(name, folder)?
            .env("NATS_URL", stage.nats_url())
            .env("NATS_NKEY_FILE", stage.seed_file(name))
            .env("DATABASE_URL", &stage.database_url)
            .env("LOG", "warn")
            // A worker's, and each door's own name for it.
            .envs(["HEALTH_ADDR", "HTTP_LISTEN", "FANOUT_LISTEN"].map(|variable| (variable, &address)))
            .spawn()?;
        Ok(Program { name, address, child })
    }

    async fn ready(&mut self) -> anyhow::Result<()> {
        let (name, began, page) = (self.name, Instant::now(), format!("http://{}/readyz", self.address));
        while !reqwest::get(&page).await.is_ok_and(|answer| answer.status().is_success()) {
            if let Some(status) = self.child.try_wait()? {
                bail!("{name} has ended: {status}");
            }
            ensure!(began.elapsed() < PATIENCE, "{name} does not become ready");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }
}

/// One of the house's programs, with nothing of this process's environment.
fn command(name: &str, folder: &Path) -> anyhow::Result<Command> {
    let path = std::env::current_exe()?.with_file_name(name);
    ensure!(path.exists(), "{} is not there: `cargo build --release` makes it", path.display());
    let mut command = Command::new(path);
    // A developer's .env is not for this one.
    command.env_clear().current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
    Ok(command)
}
