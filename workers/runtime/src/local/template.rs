//! A fresh data folder: by `initdb`, or quicker, by copying one that `initdb` made.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::account::{Account, copy_tree, digest, publish};
use super::process::{tail_from, unique};
use super::{LocalError, Result, afterlife, io_error};

/// Fills `data`, which is not there yet. It appears whole or not at all.
pub(super) fn initdb(account: Account, pg_bin: &Path, data: &Path, sync: bool) -> Result<()> {
    let new = data.with_file_name(format!("new-{}", unique()));
    let log = data.with_file_name("initdb.log");
    account.private_dir(&new)?;
    let output = File::create(&log).map_err(io_error("open", &log))?;
    let errors = output.try_clone().map_err(io_error("open", &log))?;
    let program = pg_bin.join("initdb");
    let mut command = account.command(&program);
    command.arg("--pgdata").arg(&new).args(["--username", super::postgres::USER]);
    // Only the socket in a private folder is listened to; if ever a port is, nobody comes in by it.
    command.args(["--auth-local", "trust", "--auth-host", "reject", "--encoding", "UTF8"]);
    // Sorting by bytes is the same everywhere, and upper and lower case know all letters.
    command.args(["--locale", "C", "--lc-ctype", if cfg!(target_os = "macos") { "UTF-8" } else { "C.UTF-8" }]);
    if !sync {
        command.arg("--no-sync");
    }
    let status = environment(&mut command)
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .status()
        .map_err(io_error("start", &program))?;
    if !status.success() {
        let _ = fs::remove_dir_all(&new);
        return Err(LocalError::Ended { program: "initdb", status: status.to_string(), tail: tail_from(&log, 0), log });
    }
    publish(&new, data)
}

/// As [`initdb`] without sync, from a template that the first process of this user and version makes.
pub(super) fn copy(account: Account, pg_bin: &Path, pg_major: u32, data: &Path) -> Result<()> {
    let template = template(account, pg_bin, pg_major)?;
    let copied = copy_tree(&template, data, &|path, is_link| if is_link { Ok(()) } else { account.own(path) });
    if copied.is_err() {
        // Perhaps a cleaner of temporary files was at the template.
        let _ = fs::remove_dir_all(data);
        let _ = fs::remove_dir_all(&template);
        return initdb(account, pg_bin, data, false);
    }
    Ok(())
}

fn template(account: Account, pg_bin: &Path, pg_major: u32) -> Result<PathBuf> {
    let name = format!("omnibus-pg-template-{pg_major}-{}-{}", digest(pg_bin), account.uid());
    let folder = account.temp_dir()?.join(name);
    // It is configuration that will be run: believed only from the user it is run as.
    let trusted = |folder: &Path| {
        fs::symlink_metadata(folder).is_ok_and(|is| is.is_dir() && is.uid() == account.uid() && is.mode() & 0o077 == 0)
    };
    if !trusted(&folder) {
        let making = folder.with_file_name(format!("omnibus-pg-making-{}", unique()));
        account.private_dir(&making)?;
        afterlife::remove(&making);
        let made =
            initdb(account, pg_bin, &making.join("data"), false).and_then(|()| publish(&making.join("data"), &folder));
        let _ = fs::remove_dir_all(&making);
        afterlife::keep(&making);
        made?;
        if !trusted(&folder) {
            let source =
                std::io::Error::other("belongs to another user; remove it, or set TMPDIR to a folder of yours");
            return Err(LocalError::Io { action: "use", path: folder, source });
        }
    }
    Ok(folder)
}

/// What the caller has set for other servers (`PGHOST`, `PGOPTIONS`, ..) is not for this one.
pub(super) fn environment(command: &mut std::process::Command) -> &mut std::process::Command {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PG") {
            command.env_remove(name);
        }
    }
    command.env("LC_ALL", "C")
}
