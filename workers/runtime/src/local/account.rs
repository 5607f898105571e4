//! Whom PostgreSQL runs as when we are root.
//!
//! PostgreSQL refuses root. It then runs as `postgres`, or as `nobody` where that user is not known, and so needs a data
//! folder and programs that this user can reach: not under root's home, for one.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::unistd::{User, geteuid};
use sha2::{Digest, Sha256};

use super::process::unique;
use super::{LocalError, Result, io_error};

/// Where root keeps what the other user must reach.
const ROOTS_PLACE: &str = "/var/lib/omnibus";

/// The user that PostgreSQL runs as.
#[derive(Clone, Copy, Debug)]
pub(super) enum Account {
    /// The user of this process.
    Own,
    /// Another, since we are root.
    Other { uid: u32, gid: u32 },
}

impl Account {
    pub(super) fn for_postgres() -> Result<Self> {
        if !geteuid().is_root() {
            return Ok(Account::Own);
        }
        let known = |name| User::from_name(name).ok().flatten().filter(|user| !user.uid.is_root());
        let user = known("postgres").or_else(|| known("nobody")).ok_or(LocalError::NoAccount)?;
        Ok(Account::Other { uid: user.uid.as_raw(), gid: user.gid.as_raw() })
    }

    /// Its number.
    pub(super) fn uid(self) -> u32 {
        match self {
            Account::Own => geteuid().as_raw(),
            Account::Other { uid, .. } => uid,
        }
    }

    /// A command that will run as this user, from `/`, which everybody can reach.
    pub(super) fn command(self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir("/");
        if let Account::Other { uid, gid } = self {
            // As root, std also drops the supplementary groups.
            command.uid(uid).gid(gid);
        }
        command
    }

    /// Hands a file or folder to this user.
    pub(super) fn own(self, path: &Path) -> Result<()> {
        match self {
            Account::Own => Ok(()),
            Account::Other { uid, gid } => chown(path, Some(uid), Some(gid)).map_err(io_error("chown", path)),
        }
    }

    /// Makes sure that the folder is there, belongs to this user and is closed to all others.
    pub(super) fn private_dir(self, path: &Path) -> Result<()> {
        match fs::DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => self.own(path),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                let is = fs::symlink_metadata(path).map_err(io_error("open", path))?;
                if is.is_dir() && is.uid() == self.uid() && is.mode() & 0o077 == 0 {
                    return Ok(());
                }
                let source =
                    std::io::Error::other("exists, but is not a folder of mode 0700 that PostgreSQL's user owns");
                Err(LocalError::Io { action: "use", path: path.to_owned(), source })
            }
            Err(error) => Err(io_error("create", path)(error)),
        }
    }

    /// `dir` if this user can reach it, else a folder of its own: `/var/lib/omnibus/<eight digits of the path's hash>`.
    /// Either is there afterwards, and private; the latter says in the file `for` whose it is.
    pub(super) fn reachable_dir(self, dir: &Path) -> Result<PathBuf> {
        let parent = dir.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(parent).map_err(io_error("create", parent))?;
        // On macOS the temporary folder is a link, and command lines are compared by path.
        let parent = parent.canonicalize().map_err(io_error("open", parent))?;
        let dir = dir.file_name().map_or_else(|| parent.clone(), |name| parent.join(name));
        if self.reaches(&parent) {
            self.private_dir(&dir)?;
            return Ok(dir);
        }
        let place = roots_place()?.join(digest(&dir));
        self.private_dir(&place)?;
        let marker = place.join("for");
        fs::write(&marker, dir.as_os_str().as_encoded_bytes()).map_err(io_error("write", &marker))?;
        Ok(place)
    }

    /// The temporary folder, or root's place if this user can't reach it.
    pub(super) fn temp_dir(self) -> Result<PathBuf> {
        let temporary = std::env::temp_dir();
        if self.reaches(&temporary) { Ok(temporary) } else { roots_place() }
    }

    /// `pg_bin` if this user can run what is in it, else a copy of the installation (the folder above) that it can.
    pub(super) fn runnable(self, pg_bin: &Path) -> Result<PathBuf> {
        if self.runs(&pg_bin.join("postgres")) {
            return Ok(pg_bin.to_owned());
        }
        // Libraries and the share folder stand beside bin, and are found from there.
        let installation = pg_bin.parent().unwrap_or(pg_bin);
        let program = pg_bin.join("initdb");
        let is = fs::metadata(&program).map_err(io_error("open", &program))?;
        let key = format!("{} {} {}", installation.display(), is.len(), is.mtime());
        let copy = roots_place()?.join(format!("postgres-{}", digest(Path::new(&key))));
        if !copy.exists() {
            let new = copy.with_file_name(format!("new-{}", unique()));
            copy_tree(installation, &new, &|_, _| Ok(()))?;
            publish(&new, &copy)?;
        }
        let pg_bin = copy.join(pg_bin.file_name().unwrap_or_default());
        if self.runs(&pg_bin.join("postgres")) && self.runs(&pg_bin.join("initdb")) {
            return Ok(pg_bin);
        }
        let _ = fs::remove_dir_all(&copy);
        let source =
            std::io::Error::other("PostgreSQL's user can't run it, nor a copy; install it where every user may go");
        Err(LocalError::Io { action: "use", path: program, source })
    }

    /// Asks the kernel, as that user: modes, groups and access lists all count.
    fn reaches(self, dir: &Path) -> bool {
        match self {
            Account::Own => true,
            Account::Other { .. } => {
                let mut shell = self.command(Path::new("/bin/sh"));
                shell.args(["-c", r#"cd -- "$1""#, "sh"]).arg(dir);
                shell.stderr(Stdio::null()).status().is_ok_and(|status| status.success())
            }
        }
    }

    fn runs(self, program: &Path) -> bool {
        let mut command = self.command(program);
        let quiet = command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        quiet.status().is_ok_and(|status| status.success())
    }
}

fn roots_place() -> Result<PathBuf> {
    let place = PathBuf::from(ROOTS_PLACE);
    fs::DirBuilder::new().recursive(true).mode(0o755).create(&place).map_err(io_error("create", &place))?;
    Ok(place)
}

/// Eight hex digits.
pub(super) fn digest(path: &Path) -> String {
    Sha256::digest(path.as_os_str().as_encoded_bytes()).iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

/// Gives a finished folder its name. If another process was quicker, its folder is as good, and ours goes.
pub(super) fn publish(new: &Path, name: &Path) -> Result<()> {
    let renamed = fs::rename(new, name);
    if renamed.is_err() {
        let _ = fs::remove_dir_all(new);
        if name.is_dir() {
            return Ok(());
        }
    }
    renamed.map_err(io_error("create", name))
}

/// Copies a folder with its modes and links; `then` sees every path that was made, and whether it is a link.
pub(super) fn copy_tree(from: &Path, to: &Path, then: &dyn Fn(&Path, bool) -> Result<()>) -> Result<()> {
    fs::create_dir(to).map_err(io_error("create", to))?;
    for entry in fs::read_dir(from).map_err(io_error("read", from))? {
        let entry = entry.map_err(io_error("read", from))?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().map_err(io_error("read", &source))?;
        if kind.is_dir() {
            copy_tree(&source, &target, then)?;
        } else if kind.is_symlink() {
            let points = fs::read_link(&source).map_err(io_error("read", &source))?;
            std::os::unix::fs::symlink(points, &target).map_err(io_error("create", &target))?;
            then(&target, true)?;
        } else {
            fs::copy(&source, &target).map_err(io_error("copy", &source))?;
            then(&target, false)?;
        }
    }
    let mode = fs::metadata(from).map_err(io_error("open", from))?.permissions();
    fs::set_permissions(to, mode).map_err(io_error("chmod", to))?;
    then(to, false)
}
