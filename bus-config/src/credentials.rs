//! nkeys: each user proves itself by signing, so the server's configuration holds public keys and no secret.
//!
//! Seeds lie one per file, `<user>.nk`, mode 0600, in a directory of mode 0700.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nkeys::KeyPair;
use secrecy::{ExposeSecret, SecretString};

use crate::topology::Topology;

/// Why seeds could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The file system said no.
    #[error("{}: {error}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
    /// The file holds something else.
    #[error("{}: not the seed of a user's nkey (one line, beginning with SU)", .0.display())]
    NotASeed(PathBuf),
    /// Others can read the file.
    #[error("{}: mode {mode:04o} lets others read it; chmod 0600", path.display())]
    Open {
        /// Which file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
}

/// The seeds of all users. Can't be printed.
#[derive(Default)]
pub struct Credentials {
    seeds: BTreeMap<String, SecretString>,
}

/// Public nkeys by user, for the server's configuration.
pub type PublicKeys = BTreeMap<String, String>;

impl Credentials {
    /// New seeds for every user of `topology`, in memory.
    pub fn generate(topology: &Topology) -> Self {
        let mut credentials = Credentials::default();
        for user in &topology.users {
            credentials.seeds.insert(user.name.clone(), new_seed());
        }
        credentials
    }

    /// Reads the seeds of every user of `topology` from `directory`, and makes and writes those that are missing.
    /// Existing seeds are never replaced, and those of users that are gone are not read.
    ///
    /// # Errors
    /// If a file can't be read or written, holds no seed, or can be read by others.
    pub fn load_or_generate(directory: &Path, topology: &Topology) -> Result<Self, CredentialsError> {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |error| CredentialsError::File { path, error }
        };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(at(directory))?;
        let mut credentials = Credentials::default();
        for user in &topology.users {
            let path = seed_path(directory, &user.name);
            let seed = if path.exists() {
                read_seed(&path)?
            } else {
                let seed = new_seed();
                write_new(&path, seed.expose_secret()).map_err(at(&path))?;
                seed
            };
            credentials.seeds.insert(user.name.clone(), seed);
        }
        Ok(credentials)
    }

    /// A user's seed, for `ConnectOptions::nkey`.
    pub fn seed(&self, user: &str) -> Option<&SecretString> {
        self.seeds.get(user)
    }

    /// What the server needs to know.
    pub fn public_keys(&self) -> PublicKeys {
        let public = |seed: &SecretString| {
            KeyPair::from_seed(seed.expose_secret()).expect("seeds are checked when they are read").public_key()
        };
        self.seeds.iter().map(|(user, seed)| (user.clone(), public(seed))).collect()
    }
}

/// Reads one seed from a file that only its owner can read.
///
/// # Errors
/// If it can't be read, can be read by others, or is no seed of a user.
pub fn read_seed(path: &Path) -> Result<SecretString, CredentialsError> {
    let at = |error| CredentialsError::File { path: path.to_owned(), error };
    let mode = fs::metadata(path).map_err(at)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(CredentialsError::Open { path: path.to_owned(), mode });
    }
    let seed = fs::read_to_string(path).map_err(at)?;
    let seed = seed.trim();
    match KeyPair::from_seed(seed) {
        Ok(_) if seed.starts_with("SU") => Ok(seed.to_owned().into()),
        _ => Err(CredentialsError::NotASeed(path.to_owned())),
    }
}

fn new_seed() -> SecretString {
    KeyPair::new_user().seed().expect("a new key pair has its seed").into()
}

/// `<directory>/<user>.nk`
fn seed_path(directory: &Path, user: &str) -> PathBuf {
    directory.join(format!("{user}.nk"))
}

/// The mode is set as the file is made: there is no moment in which others could read it.
fn write_new(path: &Path, seed: &str) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    writeln!(file, "{seed}")?;
    file.sync_all()
}
