//! Where the programs are.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// Oldest nats-server that has everything the bus uses (message schedules, atomic batches).
const NATS_AT_LEAST: (u32, u32) = (2, 14);
/// Oldest PostgreSQL that is tested.
const POSTGRES_AT_LEAST: u32 = 15;

/// The programs that a machine must have. All paths are resolved: no links, absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binaries {
    /// nats-server >= 2.14.
    pub nats_server: PathBuf,
    /// The folder with `postgres` and `initdb`, >= 15.
    pub pg_bin: PathBuf,
    /// Major version of that PostgreSQL.
    pub pg_major: u32,
}

/// A program is not there, or too old.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} was not found{seen}; `ops/up` and `ops/test` fetch it, or set {variable}")]
pub struct MissingBinary {
    what: String,
    variable: &'static str,
    seen: String,
}

/// Where to look, so that tests can say it.
#[derive(Debug, Default)]
struct Places {
    /// `OMNIBUS_NATS_SERVER`: the program.
    nats_server: Option<PathBuf>,
    /// `OMNIBUS_PG_BIN`: the folder.
    pg_bin: Option<PathBuf>,
    /// `.omnibus/bin`, where the ops scripts put links.
    home_bin: Option<PathBuf>,
    /// `PATH`.
    path: Vec<PathBuf>,
    /// Folders of distributions that keep PostgreSQL off the `PATH`.
    system: Vec<PathBuf>,
}

impl Binaries {
    /// Looks, in this order: `OMNIBUS_NATS_SERVER` and `OMNIBUS_PG_BIN`; `.omnibus/bin` in the current folder or one
    /// above it (`OMNIBUS_HOME` names another `.omnibus`); `PATH`; the folders of Debian and Homebrew, newest first.
    ///
    /// A program that an environment variable names must serve; elsewhere one that is too old is passed over.
    /// What was found is remembered for the life of this process.
    pub fn find() -> Result<Self, MissingBinary> {
        static FOUND: Mutex<Option<Binaries>> = Mutex::new(None);
        let mut found = FOUND.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(binaries) = &*found {
            return Ok(binaries.clone());
        }
        let binaries = Self::find_in(&Places::of_this_machine())?;
        Ok(found.insert(binaries).clone())
    }

    fn find_in(places: &Places) -> Result<Self, MissingBinary> {
        let nats_server = find_nats(places)?;
        let (pg_bin, pg_major) = find_postgres(places)?;
        Ok(Binaries { nats_server, pg_bin, pg_major })
    }
}

impl Places {
    fn of_this_machine() -> Self {
        let variable = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let home = variable("OMNIBUS_HOME").or_else(|| {
            let here = env::current_dir().ok()?;
            here.ancestors().map(|folder| folder.join(".omnibus")).find(|folder| folder.join("bin").is_dir())
        });
        let mut system = Vec::new();
        for (folder, prefix) in
            [("/usr/lib/postgresql", ""), ("/opt/homebrew/opt", "postgresql"), ("/usr/local/opt", "postgresql")]
        {
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
            system.extend(
                entries
                    .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
                    .map(|entry| entry.path().join("bin")),
            );
        }
        Places {
            nats_server: variable("OMNIBUS_NATS_SERVER"),
            pg_bin: variable("OMNIBUS_PG_BIN"),
            home_bin: home.map(|home| home.join("bin")),
            path: env::var_os("PATH").map(|path| env::split_paths(&path).collect()).unwrap_or_default(),
            system,
        }
    }
}

fn find_nats(places: &Places) -> Result<PathBuf, MissingBinary> {
    let (major, minor) = NATS_AT_LEAST;
    let missing =
        |seen| MissingBinary { what: format!("nats-server >= {major}.{minor}"), variable: "OMNIBUS_NATS_SERVER", seen };
    let candidates = match &places.nats_server {
        Some(program) => vec![program.clone()],
        None => places.home_bin.iter().chain(&places.path).map(|folder| folder.join("nats-server")).collect(),
    };
    let mut seen = String::new();
    for candidate in candidates {
        let Ok(program) = candidate.canonicalize() else { continue };
        match version(&program) {
            Some(version) if version >= NATS_AT_LEAST => return Ok(program),
            Some((major, minor)) => seen = format!(" ({} is {major}.{minor})", program.display()),
            None => seen = format!(" ({} does not run)", program.display()),
        }
    }
    Err(missing(seen))
}

fn find_postgres(places: &Places) -> Result<(PathBuf, u32), MissingBinary> {
    let mut seen = String::new();
    let mut look = |folder: &Path| -> Option<(PathBuf, u32)> {
        // Through the link: initdb and the share folder stand beside the real program.
        let program = folder.join("postgres").canonicalize().ok()?;
        let bin = program.parent()?.to_owned();
        if !bin.join("initdb").exists() {
            seen = format!(" ({} has no initdb beside it)", program.display());
            return None;
        }
        match version(&program) {
            Some((major, _)) if major >= POSTGRES_AT_LEAST => return Some((bin, major)),
            Some((major, minor)) => seen = format!(" ({} is {major}.{minor})", program.display()),
            None => seen = format!(" ({} does not run)", program.display()),
        }
        None
    };
    let found = match &places.pg_bin {
        Some(folder) => look(folder),
        None => places
            .home_bin
            .iter()
            .chain(&places.path)
            .find_map(|folder| look(folder))
            .or_else(|| places.system.iter().filter_map(|folder| look(folder)).max_by_key(|(_, major)| *major)),
    };
    found.ok_or_else(|| MissingBinary {
        what: format!("PostgreSQL >= {POSTGRES_AT_LEAST} (the programs postgres and initdb)"),
        variable: "OMNIBUS_PG_BIN",
        seen,
    })
}

/// Major and minor as `--version` prints them: `nats-server: v2.15.1`, `postgres (PostgreSQL) 15.14 (Debian ..)`,
/// `postgres (PostgreSQL) 19beta1`.
fn version(program: &Path) -> Option<(u32, u32)> {
    let output = Command::new(program).arg("--version").output().ok().filter(|output| output.status.success())?;
    parse_version(&String::from_utf8_lossy(&output.stdout))
}

fn parse_version(line: &str) -> Option<(u32, u32)> {
    line.split_whitespace().find_map(|word| {
        let word = word.strip_prefix('v').unwrap_or(word);
        let number = |text: &str| text.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok();
        let major = number(word)?;
        Some((major, word.split('.').nth(1).and_then(number).unwrap_or(0)))
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A program that prints `version` when asked.
    fn program(folder: &Path, name: &str, version: &str) {
        std::fs::create_dir_all(folder).unwrap();
        let path = folder.join(name);
        std::fs::write(&path, format!("#!/bin/sh\necho '{version}'\n")).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn postgres(folder: &Path, version: &str) {
        program(folder, "postgres", &format!("postgres (PostgreSQL) {version}"));
        program(folder, "initdb", "initdb");
    }

    #[test]
    fn versions_are_read_as_the_programs_print_them() {
        for (line, expected) in [
            ("nats-server: v2.15.1", Some((2, 15))),
            ("postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)", Some((15, 14))),
            ("postgres (PostgreSQL) 19beta1", Some((19, 0))),
            ("no number", None),
        ] {
            assert_eq!(parse_version(line), expected, "{line}");
        }
    }

    #[test]
    fn a_program_that_is_too_old_is_passed_over_for_a_later_place() {
        let root = tempfile::tempdir().unwrap();
        let (old, new) = (root.path().join("old"), root.path().canonicalize().unwrap().join("new"));
        program(&old, "nats-server", "nats-server: v2.9.10");
        postgres(&old, "13.4");
        program(&new, "nats-server", "nats-server: v2.14.0");
        postgres(&new, "16.1");
        let found = Binaries::find_in(&Places { path: vec![old, new.clone()], ..Places::default() }).unwrap();
        assert_eq!(found, Binaries { nats_server: new.join("nats-server"), pg_bin: new, pg_major: 16 });
    }

    #[test]
    fn of_the_systems_folders_the_newest_postgres_serves() {
        let root = tempfile::tempdir().unwrap();
        let folders: Vec<_> = ["9", "15", "17", "16"].iter().map(|v| root.path().join(v).join("bin")).collect();
        for (folder, version) in folders.iter().zip(["9.6.2", "15.2", "17.0", "16.9"]) {
            postgres(folder, version);
        }
        let (_, major) = find_postgres(&Places { system: folders, ..Places::default() }).unwrap();
        assert_eq!(major, 17);
    }

    #[test]
    fn a_named_program_that_does_not_serve_is_an_error_that_says_so() {
        let root = tempfile::tempdir().unwrap();
        program(root.path(), "nats-server", "nats-server: v2.9.10");
        let places = Places { nats_server: Some(root.path().join("nats-server")), ..Places::default() };
        let error = find_nats(&places).unwrap_err().to_string();
        assert!(error.starts_with("nats-server >= 2.14 was not found ("), "{error}");
        assert!(error.contains("is 2.9)") && error.contains("ops/up"), "{error}");
    }

    #[test]
    fn a_link_leads_to_the_folder_that_has_initdb() {
        let root = tempfile::tempdir().unwrap();
        let (real, links) = (root.path().canonicalize().unwrap().join("real"), root.path().join("links"));
        postgres(&real, "15.2");
        std::fs::create_dir(&links).unwrap();
        std::os::unix::fs::symlink(real.join("postgres"), links.join("postgres")).unwrap();
        let places = Places { home_bin: Some(links), ..Places::default() };
        assert_eq!(find_postgres(&places).unwrap(), (real, 15));
    }
}
