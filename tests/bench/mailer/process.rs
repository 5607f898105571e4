//! The mailer as a process of its own, so that its memory and its turns are its own: this program once more, which its
//! environment tells what it is to be.

use std::process::Stdio;

use anyhow::Context;
use clap::Parser;
use omnibus_runtime::testing::Stage;
use tokio::process::{Child, Command};

use super::POOL;

const ROLE: &str = "OMNIBUS_BENCH_ROLE";

/// Is this process to be the mailer?
pub(crate) fn is_mailer() -> bool {
    std::env::var_os(ROLE).is_some_and(|role| role == "mailer")
}

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    mailer: omnibus_mailer::Settings,
}

/// Settings that lead to a server on this port.
pub(super) fn settings(port: u16) -> omnibus_mailer::Settings {
    let (port, pool) = (port.to_string(), POOL.to_string());
    let host = ["mailer", "--smtp-host", "127.0.0.1", "--smtp-port", &port, "--smtp-tls", "none"];
    Line::parse_from([&host[..], &["--smtp-pool", &pool, "--from-email", "office@example.com"]].concat()).mailer
}

/// A running one. It is killed with this.
pub(super) struct Mailer {
    child: Child,
}

impl Mailer {
    pub(super) async fn start(stage: &Stage, port: u16) -> anyhow::Result<Self> {
        let migrations = omnibus_mailer::worker(settings(port))?.migrations().context("the mailer has tables")?;
        migrations.apply(&stage.db).await?;
        let folder = stage.seed_file("mailer");
        let child = Command::new(std::env::current_exe()?)
            .env(ROLE, "mailer")
            .env("NATS_URL", stage.nats_url())
            .env("NATS_NKEY_FILE", stage.seed_file("mailer"))
            .env("DATABASE_URL", &stage.database_url)
            .env("SMTP_HOST", "127.0.0.1")
            .env("SMTP_PORT", port.to_string())
            .env("SMTP_TLS", "none")
            .env("SMTP_POOL", POOL.to_string())
            .env("FROM_EMAIL", "office@example.com")
            .env("LOG", "warn")
            // A developer's .env is not for this one.
            .current_dir(folder.parent().context("a file stands in a folder")?)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        Ok(Mailer { child })
    }

    /// MiB resident, if the process lives.
    pub(super) fn resident(&self) -> anyhow::Result<f64> {
        let id = self.child.id().context("the mailer ended")?;
        Ok(resident_mib(&id.to_string()))
    }
}

/// MiB resident of a process; `self` is this one.
pub(super) fn resident_mib(process: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let kib =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")).and_then(|rest| rest.split_whitespace().next());
    kib.and_then(|kib| kib.parse::<f64>().ok()).map_or(f64::NAN, |kib| kib / 1024.0)
}
