//! How a folder differs from what would be generated into it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fmt, fs, io};

/// What is wrong with one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
    /// It should be there.
    Missing,
    /// It says something else.
    Stale,
    /// Nothing generates it any more.
    Left,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Difference::Missing => "missing",
            Difference::Stale => "differs",
            Difference::Left => "no longer generated",
        })
    }
}

/// Every file below `root` (the `schemas` folder) that is not as `files` has it. Below `json/` nothing else may stand.
pub fn differences(root: &Path, files: &BTreeMap<PathBuf, String>) -> io::Result<BTreeMap<PathBuf, Difference>> {
    let mut differences = BTreeMap::new();
    for (path, text) in files {
        match fs::read(root.join(path)) {
            Ok(bytes) if bytes == text.as_bytes() => {}
            Ok(_) => drop(differences.insert(path.clone(), Difference::Stale)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                differences.insert(path.clone(), Difference::Missing);
            }
            Err(error) => return Err(error),
        }
    }
    let mut present = Vec::new();
    list(&root.join("json"), &mut present)?;
    for path in present {
        let below = path.strip_prefix(root).expect("it was listed below the root").to_owned();
        if !files.contains_key(&below) {
            differences.insert(below, Difference::Left);
        }
    }
    Ok(differences)
}

fn list(folder: &Path, into: &mut Vec<PathBuf>) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => list(&entry.path(), into)?,
            false => into.push(entry.path()),
        }
    }
    Ok(())
}
