//! Postfix's `smtp-sink`, which takes mails and forgets them.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};

/// A running one. It ends with this.
pub(super) struct Sink {
    pub(super) port: u16,
    _process: Child,
}

impl Sink {
    pub(super) async fn start() -> anyhow::Result<Self> {
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        // As root it wants to be told whom to become.
        let root = nix::unistd::geteuid().is_root();
        let user: &[&str] = if root { &["-u", "nobody"] } else { &[] };
        // Finds or fetches it, and becomes it.
        let mut process = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("bench/mailer/smtp-sink"))
            .args(user)
            .args([&format!("127.0.0.1:{port}"), "1000"])
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()?;
        for _ in 0..6000 {
            if tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
                return Ok(Sink { port, _process: process });
            }
            anyhow::ensure!(process.try_wait()?.is_none(), "smtp-sink ended");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        anyhow::bail!("smtp-sink does not listen")
    }
}
