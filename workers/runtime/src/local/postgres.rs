//! A private PostgreSQL.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, postgres::PgConnectOptions};
use tokio::sync::OnceCell;

use super::account::{Account, digest};
use super::process::{self, GLANCE, Process};
use super::{Binaries, LocalError, Result, afterlife, io_error, template};

/// The superuser, and the only one there is at first.
pub(super) const USER: &str = "omnibus";
/// A server that is not ready by then is taken for broken. Generous: it recovers from its log first.
const PATIENCE: Duration = Duration::from_secs(120);
/// A socket's whole path has 104 bytes on macOS, 108 on Linux; `/.s.PGSQL.5432.lock` is appended.
const LONGEST_SOCKET_DIR: usize = 80;

/// How to start a [`Postgres`].
#[derive(Clone, Debug)]
pub struct PostgresOptions {
    /// Where data, socket and log live. `None`: a temporary folder, removed when dropped. For root, see
    /// [`Postgres::dir`].
    pub dir: Option<PathBuf>,
    /// Survive a power failure. Without, a `kill -9` of the server still loses nothing that was committed, and it is
    /// several times quicker.
    pub durable: bool,
    /// Connections at once.
    pub max_connections: u16,
    /// Further settings as in `postgresql.conf`; the last of a name wins.
    pub settings: Vec<(String, String)>,
}

impl Default for PostgresOptions {
    /// Temporary, not durable, 300 connections.
    fn default() -> Self {
        PostgresOptions { dir: None, durable: false, max_connections: 300, settings: vec![] }
    }
}

/// A PostgreSQL of our own, ended when dropped.
#[derive(Debug)]
pub struct Postgres {
    process: Option<Process>,
    account: Account,
    program: PathBuf,
    arguments: Vec<String>,
    dir: PathBuf,
    socket: PathBuf,
    temporary: bool,
    /// Claims `dir`.
    _lock: process::Lock,
}

impl Postgres {
    /// Starts one, on fresh data if the folder has none, and returns when it answers.
    pub async fn start(options: PostgresOptions) -> Result<Self> {
        let mut server = tokio::task::spawn_blocking(move || Self::prepare(options))
            .await
            .expect("preparing the data folder does not panic")?;
        server.launch().await?;
        Ok(server)
    }

    /// The one server that all tests of this process share: temporary, not durable, gone with the process.
    pub async fn shared() -> Result<&'static Self> {
        static SHARED: OnceCell<Postgres> = OnceCell::const_new();
        SHARED.get_or_try_init(|| Self::start(PostgresOptions::default())).await
    }

    fn prepare(options: PostgresOptions) -> Result<Self> {
        let binaries = Binaries::find()?;
        let account = Account::for_postgres()?;
        let pg_bin = account.runnable(&binaries.pg_bin)?;
        let temporary = options.dir.is_none();
        let dir = match options.dir {
            Some(dir) => account.reachable_dir(&dir)?,
            None => account.reachable_dir(&account.temp_dir()?.join(format!("omnibus-pg-{}", process::unique())))?,
        };
        if temporary {
            afterlife::remove(&dir);
        }
        let lock = process::lock(&dir.join("lock"))?;
        let mut server = Postgres {
            process: None,
            account,
            program: pg_bin.join("postgres"),
            arguments: vec![],
            socket: socket_dir(account, &dir)?,
            dir,
            temporary,
            _lock: lock,
        };
        server.arguments = server.settings(&options.settings, options.durable, options.max_connections);
        let data = server.dir.join("data");
        match fs::read_to_string(data.join("PG_VERSION")) {
            Ok(found) if found.trim() == binaries.pg_major.to_string() => {}
            Ok(found) => {
                let found = found.trim().to_owned();
                return Err(LocalError::OtherVersion { path: data, found, program: binaries.pg_major });
            }
            Err(_) if options.durable => template::initdb(account, &pg_bin, &data, true)?,
            Err(_) => template::copy(account, &pg_bin, binaries.pg_major, &data)?,
        }
        Ok(server)
    }

    fn settings(&self, more: &[(String, String)], durable: bool, max_connections: u16) -> Vec<String> {
        let socket = self.socket.display().to_string();
        let connections = max_connections.to_string();
        let mut settings = vec![
            ("listen_addresses", ""),
            ("unix_socket_directories", &socket),
            ("unix_socket_permissions", "0700"),
            ("port", "5432"),
            ("max_connections", &connections),
            ("timezone", "UTC"),
            ("log_timezone", "UTC"),
            ("log_checkpoints", "off"),
        ];
        if !durable {
            // Not synchronous_commit: without it, a killed server would lose commits.
            settings.extend([("fsync", "off"), ("full_page_writes", "off")]);
        }
        settings.extend(more.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        settings.into_iter().flat_map(|(name, value)| ["-c".to_owned(), format!("{name}={value}")]).collect()
    }

    async fn launch(&mut self) -> Result<()> {
        let data = self.dir.join("data");
        let pid_file = data.join("postmaster.pid");
        if let Some(orphan) = process::pid_in(&pid_file) {
            process::end_orphan(orphan, &self.dir, Signal::SIGQUIT).await;
            // We hold the lock, so whoever has that pid now is no server of this folder; PostgreSQL would only see
            // that the pid is taken, and refuse.
            let _ = fs::remove_file(&pid_file).and_then(|()| fs::remove_file(self.socket.join(".s.PGSQL.5432.lock")));
        }
        let log = self.log();
        let start = Instant::now();
        loop {
            let start_of_log = fs::metadata(&log).map_or(0, |log| log.len());
            let mut command: Command = self.account.command(&self.program);
            command.arg("-D").arg(&data).args(&self.arguments);
            template::environment(&mut command);
            // SIGQUIT: end at once, but give shared memory back.
            let mut process = Process::start(command, &log, Signal::SIGQUIT)?;
            match self.ready(&mut process, start, start_of_log).await {
                Ok(()) => {
                    self.process = Some(process);
                    return Ok(());
                }
                // Backends of a killed postmaster notice within moments that they are alone, and go.
                Err(LocalError::Ended { tail, .. })
                    if tail.contains("pre-existing shared memory block") && start.elapsed() < PATIENCE =>
                {
                    tokio::time::sleep(10 * GLANCE).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn ready(&self, process: &mut Process, start: Instant, start_of_log: u64) -> Result<()> {
        let options: PgConnectOptions = self.url("postgres").parse()?;
        let options = options.disable_statement_logging();
        loop {
            if let Some(status) = process.ended() {
                let (log, tail) = (self.log(), process::tail_from(&self.log(), start_of_log));
                return Err(LocalError::Ended { program: "postgres", status: status.to_string(), log, tail });
            }
            if let Ok(connection) = PgConnection::connect_with(&options).await {
                let _ = connection.close().await;
                return Ok(());
            }
            if start.elapsed() > PATIENCE {
                let (log, tail) = (self.log(), process::tail_from(&self.log(), start_of_log));
                return Err(LocalError::NotReady { program: "postgres", waited: PATIENCE, log, tail });
            }
            tokio::time::sleep(GLANCE).await;
        }
    }

    /// `postgres://..` of a database on this server, for sqlx, psql and whatever reads libpq's form.
    pub fn url(&self, database: &str) -> String {
        let mut socket = String::new();
        for byte in self.socket.as_os_str().as_encoded_bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => socket.push(char::from(*byte)),
                other => socket.push_str(&format!("%{other:02X}")),
            }
        }
        format!("postgres://{USER}@localhost:5432/{database}?host={socket}&sslmode=disable")
    }

    /// Creates a database unless it is there. `name` is quoted, so it may hold anything but a NUL.
    pub async fn ensure_database(&self, name: &str) -> Result<()> {
        let mut connection = PgConnection::connect(&self.url("postgres")).await?;
        let there = sqlx::query_scalar::<_, bool>("select exists (select from pg_database where datname = $1)");
        if !there.bind(name).fetch_one(&mut connection).await? {
            let statement = format!("create database \"{}\"", name.replace('"', "\"\""));
            sqlx::query(AssertSqlSafe(statement)).execute(&mut connection).await?;
        }
        connection.close().await?;
        Ok(())
    }

    /// The postmaster, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// How it ended by itself, if it has. `None` too after [`stop`](Self::stop) or [`kill9`](Self::kill9).
    pub fn died(&mut self) -> Option<String> {
        self.process.as_mut()?.ended().map(|status| status.to_string())
    }

    /// The folder with `data/` and `postgres.log`: the one asked for, or for root, if PostgreSQL's user can't reach that,
    /// `/var/lib/omnibus/<hash of the one asked for>`.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its log file.
    pub fn log(&self) -> PathBuf {
        self.dir.join("postgres.log")
    }

    /// `kill -9` of the postmaster and every backend; returns when they are gone.
    pub async fn kill9(&mut self) {
        if let Some(mut process) = self.process.take() {
            if process.ended().is_none() {
                process::kill_family(process.pid(), PATIENCE).await;
            }
            process.wait(PATIENCE).await;
        }
    }

    /// Stops it in good order: open transactions are rolled back, all is written.
    pub async fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.signal(Signal::SIGINT);
            // Whoever does not end in time is ended harder by the drop.
            process.wait(Duration::from_secs(30)).await;
        }
    }

    /// Starts it again, on the same data and address, after [`stop`](Self::stop) or [`kill9`](Self::kill9); one that
    /// runs is stopped first.
    pub async fn restart(&mut self) -> Result<()> {
        self.stop().await;
        self.launch().await
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.process = None;
        if !self.socket.starts_with(&self.dir) {
            let _ = fs::remove_dir_all(&self.socket);
        }
        if self.temporary {
            let _ = fs::remove_dir_all(&self.dir);
            afterlife::keep(&self.dir);
        }
    }
}

/// Beside the data, unless the path is too long for a socket.
fn socket_dir(account: Account, dir: &Path) -> Result<PathBuf> {
    let beside = dir.join("socket");
    if beside.as_os_str().len() <= LONGEST_SOCKET_DIR {
        account.private_dir(&beside)?;
        return Ok(beside);
    }
    let temporary = std::env::temp_dir();
    let temporary = temporary.canonicalize().map_err(io_error("open", &temporary))?;
    let short = temporary.join(format!("omnibus-{}-{}", account.uid(), digest(dir)));
    let short = if short.as_os_str().len() <= LONGEST_SOCKET_DIR {
        short
    } else {
        Path::new("/tmp").join(short.file_name().unwrap_or_default())
    };
    account.private_dir(&short)?;
    Ok(short)
}
