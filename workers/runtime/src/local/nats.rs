//! A private nats-server.

use std::fs;
use std::hash::{BuildHasher, Hasher};
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::process::{self, GLANCE, Process};
use super::{Binaries, LocalError, Result, afterlife, io_error};

/// A server that is not ready by then is taken for broken. Generous: it recovers its streams first.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often JetStream syncs to disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SyncInterval {
    /// The server's own default, every two minutes: a power failure loses acknowledged messages, a `kill -9` does not.
    #[default]
    Lazy,
    /// Before each acknowledgement.
    Always,
}

/// What the server is told, apart from addresses and folders, which are always ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NatsConfig {
    /// JetStream, and no users: anyone on this machine may connect.
    Open(SyncInterval),
    /// A whole configuration, written to a file of mode 0600 as it is. What it says of `host`, `port`, `http` and
    /// `pid_file` is overridden on the command line; a `store_dir` it must leave out (nats-server refuses two).
    Text(String),
}

/// How to start a [`NatsServer`].
#[derive(Clone, Debug)]
pub struct NatsOptions {
    /// Users, streams' limits and so on.
    pub config: NatsConfig,
    /// Where messages, configuration, log and pid file live. `None`: a temporary folder, removed when dropped.
    pub dir: Option<PathBuf>,
    /// Client port on 127.0.0.1. `None`: a free one, kept over restarts.
    pub port: Option<u16>,
    /// Monitoring port on 127.0.0.1. `None`: a free one.
    pub monitor_port: Option<u16>,
}

impl Default for NatsOptions {
    /// Open, lazy, temporary, on free ports.
    fn default() -> Self {
        NatsOptions { config: NatsConfig::Open(SyncInterval::Lazy), dir: None, port: None, monitor_port: None }
    }
}

/// A nats-server of our own, ended when dropped.
#[derive(Debug)]
pub struct NatsServer {
    process: Option<Process>,
    program: PathBuf,
    port: u16,
    monitor_port: u16,
    dir: PathBuf,
    temporary: bool,
    /// Claims `dir`.
    _lock: process::Lock,
}

impl NatsServer {
    /// Starts one and returns when it accepts clients and JetStream has recovered.
    pub async fn start(options: NatsOptions) -> Result<Self> {
        let program = Binaries::find()?.nats_server;
        let temporary = options.dir.is_none();
        let dir =
            options.dir.unwrap_or_else(|| std::env::temp_dir().join(format!("omnibus-nats-{}", process::unique())));
        if temporary {
            afterlife::remove(&dir);
        }
        let ports = dir.join("ports");
        private_dir(&ports)?;
        // On macOS the temporary folder is a link, and command lines are compared by path.
        let dir = dir.canonicalize().map_err(io_error("open", &dir))?;
        let lock = process::lock(&dir.join("lock"))?;
        if let Some(orphan) = process::pid_in(&dir.join("nats.pid")) {
            process::end_orphan(orphan, &dir, Signal::SIGTERM).await;
        }
        let text = match options.config {
            NatsConfig::Open(SyncInterval::Lazy) => "jetstream {}\n".to_owned(),
            NatsConfig::Open(SyncInterval::Always) => "jetstream { sync_interval: always }\n".to_owned(),
            NatsConfig::Text(text) => text,
        };
        write_private(&dir.join("nats.conf"), &text)?;
        let mut server = NatsServer { process: None, program, port: 0, monitor_port: 0, dir, temporary, _lock: lock };
        let free = options.port.is_none() || options.monitor_port.is_none();
        for attempt in 1.. {
            server.port = options.port.map_or_else(|| free_port(0), Ok)?;
            server.monitor_port = options.monitor_port.map_or_else(|| free_port(server.port), Ok)?;
            match server.launch().await {
                // Another process took the port between our look and the server's bind.
                Err(error) if free && attempt < 10 && is_port_taken(&error) => {}
                other => {
                    other?;
                    break;
                }
            }
        }
        Ok(server)
    }

    async fn launch(&mut self) -> Result<()> {
        let ports = self.dir.join("ports");
        let log = self.log();
        for stale in fs::read_dir(&ports).map_err(io_error("read", &ports))?.flatten() {
            let _ = fs::remove_file(stale.path());
        }
        let mut command = Command::new(&self.program);
        command
            .arg("--config")
            .arg(self.dir.join("nats.conf"))
            .args(["--addr", "127.0.0.1", "--port", &self.port.to_string()])
            .args(["--http_port", &self.monitor_port.to_string()])
            .arg("--store_dir")
            .arg(&self.dir)
            .arg("--pid")
            .arg(self.dir.join("nats.pid"))
            .arg("--ports_file_dir")
            .arg(&ports)
            .current_dir(&self.dir);
        let start_of_log = fs::metadata(&log).map_or(0, |log| log.len());
        let mut process = Process::start(command, &log, Signal::SIGKILL)?;
        let start = Instant::now();
        // The server writes the file once it listens, and JetStream is up before that. Its name holds the pid, so that
        // nobody else who listens on the port is taken for it.
        let ready = ports.join(format!("nats-server_{}.ports", process.pid()));
        while !ready.exists() {
            if let Some(status) = process.ended() {
                let log_text = process::tail_from(&log, start_of_log);
                return Err(LocalError::Ended {
                    program: "nats-server",
                    status: status.to_string(),
                    tail: log_text,
                    log,
                });
            }
            if start.elapsed() > PATIENCE {
                return Err(LocalError::NotReady {
                    program: "nats-server",
                    waited: PATIENCE,
                    tail: process::tail_from(&log, start_of_log),
                    log,
                });
            }
            tokio::time::sleep(GLANCE).await;
        }
        self.process = Some(process);
        Ok(())
    }

    /// `nats://127.0.0.1:<port>`, the same over restarts.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// `http://127.0.0.1:<port>` with `/varz`, `/jsz`, `/healthz`.
    pub fn monitor_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.monitor_port)
    }

    /// The client port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// How it ended by itself, if it has. `None` too after [`stop`](Self::stop) or [`kill9`](Self::kill9).
    pub fn died(&mut self) -> Option<String> {
        self.process.as_mut()?.ended().map(|status| status.to_string())
    }

    /// The folder with `jetstream/`, `nats.conf` and `nats.log`.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its log file.
    pub fn log(&self) -> PathBuf {
        self.dir.join("nats.log")
    }

    /// `kill -9`; returns when it is gone. Messages that were acknowledged are in the kernel's hands and survive.
    pub async fn kill9(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.signal(Signal::SIGKILL);
            process.wait(PATIENCE).await;
        }
    }

    /// Stops it in good order: all is synced.
    pub async fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.signal(Signal::SIGTERM);
            // Whoever does not end in time is killed by the drop.
            process.wait(Duration::from_secs(20)).await;
        }
    }

    /// Starts it again, on the same ports and messages, after [`stop`](Self::stop) or [`kill9`](Self::kill9); one that
    /// runs is stopped first.
    pub async fn restart(&mut self) -> Result<()> {
        self.stop().await;
        for _ in 0..20 {
            match self.launch().await {
                // Somebody's look for a free port, which is over at once.
                Err(error) if is_port_taken(&error) => tokio::time::sleep(10 * GLANCE).await,
                other => return other,
            }
        }
        self.launch().await
    }

    /// Writes another configuration and has the running server read it (`SIGHUP`). What can't be changed so, the server
    /// refuses in its log and goes on as before.
    pub fn reload(&mut self, config: &str) -> Result<()> {
        write_private(&self.dir.join("nats.conf"), config)?;
        if let Some(process) = &mut self.process {
            process.signal(Signal::SIGHUP);
        }
        Ok(())
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.process = None;
        if self.temporary {
            let _ = fs::remove_dir_all(&self.dir);
            afterlife::keep(&self.dir);
        }
    }
}

fn is_port_taken(error: &LocalError) -> bool {
    matches!(error, LocalError::Ended { tail, .. } if tail.contains("address already in use"))
}

fn private_dir(path: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io_error("create", path))
}

/// Configurations hold passwords.
fn write_private(path: &Path, text: &str) -> Result<()> {
    let new = path.with_extension("new");
    let _ = fs::remove_file(&new);
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .and_then(|()| fs::rename(&new, path))
        .map_err(io_error("write", path))
}

/// A port that is free now, below those the kernel hands out by itself.
///
/// From that range, a client that knocks while the server is down could be given the server's own port as its source,
/// connect to itself, and so keep the server from coming back.
pub(crate) fn free_port(but: u16) -> Result<u16> {
    let mut last = None;
    for _ in 0..1000 {
        let chance = std::collections::hash_map::RandomState::new().build_hasher().finish();
        let port = 15_000 + u16::try_from(chance % 17_000).expect("less than 17,000");
        if port == but {
            continue;
        }
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(_) => return Ok(port),
            Err(error) => last = Some(error),
        }
    }
    let source = last.unwrap_or_else(|| std::io::ErrorKind::AddrInUse.into());
    Err(LocalError::Io { action: "find a free port on", path: "127.0.0.1".into(), source })
}
