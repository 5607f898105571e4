//! Golden payloads: what was once written must be understood for ever.
//!
//! `golden/<domain>/<name>.v<version>.<case>.json`, and beside it the same as `.msgpack`. They are only ever added:
//! [`missing`] tells what a folder lacks, and nothing here changes a file that stands.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::Catalogue;
use crate::body::{self, Encoding, Fault};

/// The case that the contract's own example makes.
const EXAMPLE: &str = "example";

/// What a golden file's name says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct GoldenName {
    /// The domain.
    pub domain: String,
    /// The command or event.
    pub name: String,
    /// The version it was written in.
    pub version: u16,
    /// What is particular about it: `example`, `every_field`.
    pub case: String,
}

impl GoldenName {
    /// Reads `mailer/send_email.v1.example.json`.
    pub fn parse(path: &Path) -> Option<(Self, Encoding)> {
        let domain = path.parent()?.to_str()?.to_owned();
        let mut parts = path.file_name()?.to_str()?.split('.');
        let (name, version, case, end) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let encoding = match end {
            "json" => Encoding::Json,
            "msgpack" => Encoding::MessagePack,
            _ => return None,
        };
        let version = version.strip_prefix('v')?.parse().ok()?;
        let golden = GoldenName { domain, name: name.to_owned(), version, case: case.to_owned() };
        parts.next().is_none().then_some((golden, encoding))
    }

    /// The path below `golden/`.
    pub fn path(&self, encoding: Encoding) -> PathBuf {
        let end = match encoding {
            Encoding::Json => "json",
            Encoding::MessagePack => "msgpack",
        };
        [&self.domain, &format!("{}.v{}.{}.{end}", self.name, self.version, self.case)].iter().collect()
    }
}

/// The payload in each encoding that stands in the folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Golden {
    /// JSON text.
    pub json: Option<Vec<u8>>,
    /// MessagePack.
    pub msgpack: Option<Vec<u8>>,
}

/// Why a folder of golden payloads can't be read.
#[derive(Debug, thiserror::Error)]
pub enum GoldenError {
    /// The file system's words.
    #[error("{}: {error}", path.display())]
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// What happened.
        error: io::Error,
    },
    /// A file that no rule covers, and that would therefore be checked by nobody.
    #[error("{}: not named <domain>/<name>.v<version>.<case>.json or .msgpack", .0.display())]
    Name(PathBuf),
    /// A JSON payload that can't be read, so that its MessagePack can't be written.
    #[error("{}: {fault}", path.display())]
    Payload {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        fault: Fault,
    },
}

/// All golden payloads below `folder`; none if it does not exist.
pub fn of_folder(folder: &Path) -> Result<BTreeMap<GoldenName, Golden>, GoldenError> {
    let mut found: BTreeMap<GoldenName, Golden> = BTreeMap::new();
    for domain in entries(folder)? {
        for path in entries(&domain)? {
            let below = path.strip_prefix(folder).expect("entries stand below the folder that was listed");
            let (name, encoding) = GoldenName::parse(below).ok_or_else(|| GoldenError::Name(path.clone()))?;
            let bytes = std::fs::read(&path).map_err(|error| GoldenError::Io { path, error })?;
            let golden = found.entry(name).or_default();
            match encoding {
                Encoding::Json => golden.json = Some(bytes),
                Encoding::MessagePack => golden.msgpack = Some(bytes),
            }
        }
    }
    Ok(found)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, GoldenError> {
    let failed = |error| GoldenError::Io { path: folder.to_owned(), error };
    match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(vec![]),
        Err(error) => Err(failed(error)),
        Ok(list) => list.map(|entry| entry.map(|entry| entry.path()).map_err(failed)).collect(),
    }
}

/// What is to be added to a folder that holds `present`, by path below `golden/`: the example of every contract of
/// today's version that has none, and the MessagePack of every JSON that stands alone.
pub fn missing(
    catalogue: &Catalogue,
    present: &BTreeMap<GoldenName, Golden>,
) -> Result<BTreeMap<PathBuf, Vec<u8>>, GoldenError> {
    let mut all = present.clone();
    let commands = catalogue.commands().map(|c| (c.domain, c.name, c.version, (c.example)()));
    let events = catalogue.events().map(|e| (e.domain, e.name, e.version, (e.example)()));
    for (domain, name, version, example) in commands.chain(events) {
        let name = GoldenName { domain: domain.into(), name: name.into(), version, case: EXAMPLE.into() };
        all.entry(name).or_insert_with(|| Golden { json: Some(super::pretty(&example).into_bytes()), msgpack: None });
    }
    let mut add = BTreeMap::new();
    for (name, golden) in &all {
        let path = name.path(Encoding::Json);
        let Some(json) = &golden.json else { continue };
        if present.get(name).is_none_or(|there| there.json.is_none()) {
            add.insert(path.clone(), json.clone());
        }
        if golden.msgpack.is_none() {
            let payload: Value =
                body::to_json(Encoding::Json, json).map_err(|fault| GoldenError::Payload { path, fault })?;
            add.insert(name.path(Encoding::MessagePack), body::encode(Encoding::MessagePack, &payload));
        }
    }
    Ok(add)
}
