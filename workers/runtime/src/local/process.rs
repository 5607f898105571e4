//! One child process: started, watched, signalled, and gone when dropped.

use std::collections::HashMap;
use std::fs::{self, File, TryLockError};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{LocalError, Result, afterlife, io_error};

/// How long to wait between two looks at something that gives no notice.
pub(super) const GLANCE: Duration = Duration::from_millis(5);

/// A child, ended with `farewell` when it is dropped or this process dies.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    farewell: Signal,
}

impl Process {
    /// Starts it in a process group of its own (Ctrl-C at the terminal is for the parent, which stops its children in
    /// order), with its output appended to `log`.
    pub(super) fn start(mut command: Command, log: &Path, farewell: Signal) -> Result<Self> {
        let output = File::options().create(true).append(true).open(log).map_err(io_error("open", log))?;
        let errors = output.try_clone().map_err(io_error("open", log))?;
        let program = command.get_program().to_owned();
        let child = command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .process_group(0)
            .spawn()
            .map_err(io_error("start", Path::new(&program)))?;
        afterlife::end(child.id(), farewell);
        Ok(Process { child, farewell })
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.try_wait().ok().flatten();
        if status.is_some() {
            afterlife::forget(self.pid());
        }
        status
    }

    /// Sends a signal, unless it has ended.
    pub(super) fn signal(&mut self, signal: Signal) {
        if self.ended().is_none() {
            // It can only have ended in between, which is what `ended` will say next.
            let _ = kill(to_pid(self.pid()), signal);
        }
    }

    /// True if it ended in time.
    pub(super) async fn wait(&mut self, patience: Duration) -> bool {
        let start = Instant::now();
        while self.ended().is_none() {
            if start.elapsed() > patience {
                return false;
            }
            tokio::time::sleep(GLANCE).await;
        }
        true
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(self.farewell);
        let _ = self.child.wait();
        afterlife::forget(self.pid());
    }
}

fn to_pid(pid: u32) -> Pid {
    Pid::from_raw(pid.try_into().expect("a pid fits the type the kernel gives it in"))
}

/// Whether a process that is not our child still runs. A zombie that nobody collects does not.
pub(super) fn runs(pid: u32) -> bool {
    if let Some((state, _)) = linux_stat(pid) {
        return !matches!(state, 'Z' | 'X');
    }
    // As no signal is sent, EPERM means that it is there.
    !Path::new("/proc/self/stat").exists() && kill(to_pid(pid), None) != Err(Errno::ESRCH)
}

/// State and parent, from `/proc/<pid>/stat`. The name in brackets may hold anything, so count from its end.
fn linux_stat(pid: u32) -> Option<(char, u32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat[stat.rfind(')')? + 1..].split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

/// Everything that descends from `pid`.
fn descendants(pid: u32) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    if let Some(entries) = fs::read_dir("/proc").ok().filter(|_| linux_stat(std::process::id()).is_some()) {
        let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        for (child, (_, parent)) in pids.filter_map(|pid| Some((pid, linux_stat(pid)?))) {
            children.entry(parent).or_default().push(child);
        }
    } else if let Ok(output) = Command::new("ps").args(["-A", "-o", "pid=,ppid="]).output() {
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let mut numbers = line.split_whitespace().filter_map(|word| word.parse::<u32>().ok());
            if let (Some(child), Some(parent)) = (numbers.next(), numbers.next()) {
                children.entry(parent).or_default().push(child);
            }
        }
    }
    let mut found = Vec::new();
    let mut next = vec![pid];
    while let Some(parent) = next.pop() {
        let born = children.remove(&parent).unwrap_or_default();
        next.extend(&born);
        found.extend(born);
    }
    found
}

/// `kill -9` of a process and all that descends from it; returns when they are gone.
///
/// It is stopped first, so that it can't have more children between the count and the kill.
pub(super) async fn kill_family(pid: u32, patience: Duration) -> bool {
    let _ = kill(to_pid(pid), Signal::SIGSTOP);
    let children = descendants(pid);
    for member in std::iter::once(&pid).chain(&children) {
        let _ = kill(to_pid(*member), Signal::SIGKILL);
    }
    let start = Instant::now();
    while children.iter().any(|child| runs(*child)) {
        if start.elapsed() > patience {
            return false;
        }
        tokio::time::sleep(GLANCE).await;
    }
    true
}

/// Ends the server that an earlier owner of `folder`, itself killed, left running.
///
/// The pid may by now be anybody's, so its command line must name the folder. The caller holds the folder's lock, so no
/// living owner loses its server.
pub(super) async fn end_orphan(pid: u32, folder: &Path, signal: Signal) {
    if !runs(pid) || !command_line(pid).is_some_and(|line| line.contains(&*folder.to_string_lossy())) {
        return;
    }
    tracing::info!(pid, folder = %folder.display(), "ending a server that an earlier run left behind");
    let _ = kill(to_pid(pid), signal);
    let start = Instant::now();
    while runs(pid) {
        if start.elapsed() > Duration::from_secs(10) {
            kill_family(pid, Duration::from_secs(5)).await;
            return;
        }
        tokio::time::sleep(GLANCE).await;
    }
}

fn command_line(pid: u32) -> Option<String> {
    if let Ok(arguments) = fs::read(format!("/proc/{pid}/cmdline")) {
        return Some(String::from_utf8_lossy(&arguments).replace('\0', " "));
    }
    let output = Command::new("ps").args(["-p", &pid.to_string(), "-o", "command="]).output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A claim on a folder.
#[derive(Debug)]
pub(super) struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing the file is not enough: a process that is just being started holds a copy until it has become another
        // program. Unlocking counts for all copies.
        let _ = self.0.unlock();
    }
}

/// Claims a folder until what is returned is dropped or the process dies.
pub(super) fn lock(path: &Path) -> Result<Lock> {
    let file = File::options().create(true).append(true).open(path).map_err(io_error("open", path))?;
    match file.try_lock() {
        Ok(()) => Ok(Lock(file)),
        Err(TryLockError::WouldBlock) => Err(LocalError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => Err(LocalError::Io { action: "lock", path: path.to_owned(), source }),
    }
}

/// The end of a log, for an error message: at most 12 lines, and none before byte `start`.
pub(super) fn tail_from(log: &Path, start: u64) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = File::open(log)?;
        let from = file.metadata()?.len().saturating_sub(4096).max(start);
        file.seek(SeekFrom::Start(from))?;
        let mut end = Vec::new();
        file.read_to_end(&mut end)?;
        Ok(String::from_utf8_lossy(&end).into_owned())
    };
    let text = read().unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(12)..].join("\n")
}

/// The pid in the first line of a pid file.
pub(super) fn pid_in(file: &Path) -> Option<u32> {
    fs::read_to_string(file).ok()?.lines().next()?.trim().parse().ok()
}

/// A name that no other folder of this machine has, without asking the clock or `rand`.
pub(super) fn unique() -> String {
    use std::hash::{BuildHasher, Hasher};
    let chance = std::collections::hash_map::RandomState::new().build_hasher().finish();
    format!("{}-{chance:016x}", std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_ends_though_a_process_that_is_being_started_still_holds_a_copy() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let claim = lock(&path).unwrap();
        // What a fork has until it becomes another program.
        let _copy = claim.0.try_clone().unwrap();
        assert!(matches!(lock(&path), Err(LocalError::InUse { .. })));
        drop(claim);
        lock(&path).unwrap();
    }
}
