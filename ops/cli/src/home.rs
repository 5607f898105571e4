//! The folder that `omnibus up` keeps everything in, and where the other commands find their way by.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, ensure};

/// A folder, `.omnibus` by default.
#[derive(Debug, Clone)]
pub(crate) struct Home(PathBuf);

impl FromStr for Home {
    type Err = io::Error;

    fn from_str(path: &str) -> Result<Self, io::Error> {
        std::path::absolute(path).map(Home)
    }
}

impl Home {
    /// The folder.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Makes the folder if it is not there.
    pub(crate) fn make(&self) -> anyhow::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o755).create(&self.0).with_context(|| {
            format!("can't make the folder {}; --home or OMNIBUS_HOME names another", self.0.display())
        })
    }

    /// Seeds of the bus users, `<user>.nk`.
    pub(crate) fn credentials(&self) -> PathBuf {
        self.0.join("creds")
    }

    /// One user's seed.
    pub(crate) fn seed(&self, user: &str) -> PathBuf {
        self.credentials().join(format!("{user}.nk"))
    }

    /// nats-server's data.
    pub(crate) fn nats(&self) -> PathBuf {
        self.0.join("nats")
    }

    /// PostgreSQL's data.
    pub(crate) fn postgres(&self) -> PathBuf {
        self.0.join("postgres")
    }

    /// Where mails land without an SMTP server.
    pub(crate) fn mail(&self) -> PathBuf {
        self.0.join("mail")
    }

    /// One line: where NATS listens.
    pub(crate) fn nats_url(&self) -> PathBuf {
        self.0.join("nats.url")
    }

    /// One line: where PostgreSQL is.
    pub(crate) fn database_url(&self) -> PathBuf {
        self.0.join("database.url")
    }

    /// One line: where the HTTP door is.
    pub(crate) fn http_url(&self) -> PathBuf {
        self.0.join("http.url")
    }

    /// The API key made at the first start.
    pub(crate) fn demo_key(&self) -> PathBuf {
        self.0.join("demo-key")
    }

    /// The secret that signs browser tokens, if none was given.
    pub(crate) fn websocket_secret(&self) -> PathBuf {
        self.0.join("websocket-secret")
    }
}

/// Writes one line to a file that only its owner can read, in place of what was there.
pub(crate) fn write_private(path: &Path, line: &str) -> anyhow::Result<()> {
    let new = path.with_extension(format!("new-{}", std::process::id()));
    let write = || -> io::Result<()> {
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        writeln!(file, "{line}")?;
        fs::rename(&new, path)
    };
    write().with_context(|| format!("can't write {}", path.display()))
}

/// The first line of a file; `None` if there is no such file.
pub(crate) fn read_line(path: &Path) -> anyhow::Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(text.lines().next().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("can't read {}", path.display())),
    }
}

/// As [`read_line`], for a secret: refused if others can read it too.
pub(crate) fn read_secret(path: &Path) -> anyhow::Result<Option<String>> {
    if let Ok(is) = fs::metadata(path) {
        let mode = is.permissions().mode() & 0o777;
        ensure!(mode & 0o077 == 0, "{}: mode {mode:04o} lets others read it; chmod 0600", path.display());
    }
    read_line(path)
}
