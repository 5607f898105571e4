//! Private nats-server and PostgreSQL processes, for `omnibus up` and for the test kit.
//!
//! Nothing here is for production, where both are somebody's cluster. What it promises:
//!
//! - **Nobody else gets in.** nats-server listens on 127.0.0.1 with whatever users its configuration names; PostgreSQL
//!   listens on a unix socket in a folder of mode 0700 and on no port.
//! - **Nothing stays behind.** A dropped server is ended. If this process dies without dropping it (`kill -9`, or the
//!   statics of a test binary), a small `sh` ends the servers and removes the temporary folders; see `afterlife`.
//! - **One owner.** A folder is locked while it is served. A server that an earlier, killed owner left running is
//!   recognised by its pid file and its command line, and ended first.
//! - **Root works.** PostgreSQL refuses root, so it then runs as user `postgres` or `nobody`; see `account`.

mod account;
mod afterlife;
mod binaries;
mod nats;
mod postgres;
mod process;
mod template;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use binaries::{Binaries, MissingBinary};
#[cfg(feature = "testing")]
pub(crate) use nats::free_port;
pub use nats::{NatsConfig, NatsOptions, NatsServer, SyncInterval};
pub use postgres::{Postgres, PostgresOptions};

/// Why a server could not be started, stopped or found.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// A program is not there, or too old.
    #[error(transparent)]
    Missing(#[from] MissingBinary),
    /// The file system or the kernel refused.
    #[error("{action} {path}: {source}")]
    Io {
        /// What was tried: `write`, `start`.
        action: &'static str,
        /// Upon what.
        path: PathBuf,
        /// The answer.
        source: io::Error,
    },
    /// Another process serves this folder.
    #[error("{path} is in use by another process; stop that one first, or choose another folder")]
    InUse {
        /// The lock file.
        path: PathBuf,
    },
    /// The server ended instead of becoming ready.
    #[error("{program} did not start ({status}); the end of {log}:\n{tail}")]
    Ended {
        /// `nats-server`, `postgres` or `initdb`.
        program: &'static str,
        /// Its exit status.
        status: String,
        /// Its log file.
        log: PathBuf,
        /// The log's last lines.
        tail: String,
    },
    /// The server runs but does not answer.
    #[error("{program} was not ready after {waited:?}; the end of {log}:\n{tail}")]
    NotReady {
        /// `nats-server` or `postgres`.
        program: &'static str,
        /// How long it was given.
        waited: Duration,
        /// Its log file.
        log: PathBuf,
        /// The log's last lines.
        tail: String,
    },
    /// Started by root, and there is no user to hand PostgreSQL to.
    #[error("PostgreSQL refuses to run as root, and there is no user `postgres` or `nobody` to run it as")]
    NoAccount,
    /// The data was written by another major version.
    #[error(
        "{path} holds data of PostgreSQL {found}, the program found is {program}: set OMNIBUS_PG_BIN to the bin folder of PostgreSQL {found}, or move the data away"
    )]
    OtherVersion {
        /// The data folder.
        path: PathBuf,
        /// Major version of the data.
        found: String,
        /// Major version of the program.
        program: u32,
    },
    /// A statement on the fresh server failed.
    #[error("postgres: {0}")]
    Sql(#[from] sqlx::Error),
}

/// Shorthand of this module.
pub type Result<T> = std::result::Result<T, LocalError>;

/// For `map_err`: names the action and the path.
fn io_error<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> LocalError + 'a {
    move |source| LocalError::Io { action, path: path.to_owned(), source }
}
