//! A worker as a process of its own: begun, stopped at a point, resumed, asked to end, killed.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use omnibus_runtime::testing::{PATIENCE, Stage};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

/// One life of a shop's worker. Dropped, it is killed.
#[derive(Debug)]
pub struct Life {
    child: Child,
    stdin: ChildStdin,
    stdout: Lines<BufReader<ChildStdout>>,
    log: PathBuf,
}

impl Life {
    /// Starts `program`, the shop's worker, on a stage. `provider` is its provider's folder, and where it logs to.
    pub fn begin(program: &Path, stage: &Stage, provider: &Path, variables: &[(&str, &str)]) -> Self {
        let log = provider.join(format!("log-{}", omnibus_runtime::clock::new_id()));
        let stderr = std::fs::File::create(&log).expect("the provider's folder is there");
        let mut child = Command::new(program)
            .env("NATS_URL", stage.nats_url())
            .env("NATS_NKEY_FILE", stage.seed_file("shop"))
            .env("DATABASE_URL", &stage.database_url)
            .env("SHOP_PROVIDER", provider)
            .env("LOG_FORMAT", "json")
            .envs(variables.iter().copied())
            // A developer's .env is not for this one.
            .current_dir(provider)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .kill_on_drop(true)
            .spawn()
            .expect("the worker's program can be started");
        let stdin = child.stdin.take().expect("standard input is a pipe");
        let stdout = BufReader::new(child.stdout.take().expect("standard output is a pipe")).lines();
        Life { child, stdin, stdout, log }
    }

    /// Waits until the process stands at the point that `OMNIBUS_FAILPOINT` names.
    pub async fn reached(&mut self) -> String {
        match timeout(PATIENCE, self.stdout.next_line()).await {
            Ok(Ok(Some(line))) => {
                line.strip_prefix("failpoint ").expect("only failpoints are told on standard output").to_owned()
            }
            other => panic!("the point was not reached: {other:?}; the log:\n{}", self.log()),
        }
    }

    /// Lets it go on from there.
    pub async fn resume(&mut self) {
        self.stdin.write_all(b"\n").await.expect("the process reads");
        self.stdin.flush().await.expect("the process reads");
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = self.child.id().and_then(|pid| i32::try_from(pid).ok()) {
            // It may have ended just now.
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// SIGTERM, once it listens to signals; how it ended, if it does in time.
    pub async fn ask_to_end(&mut self, patience: Duration) -> Option<ExitStatus> {
        let asked = async {
            // It says nothing before it listens.
            while self.log().is_empty() && self.ended().is_none() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            self.signal(Signal::SIGTERM);
            self.child.wait().await.ok()
        };
        timeout(patience, asked).await.ok()?
    }

    /// Open files, and resident memory in MiB; Linux tells, elsewhere both are 0.
    pub fn size(&self) -> (usize, u64) {
        let proc = format!("/proc/{}", self.child.id().unwrap_or_default());
        let files = std::fs::read_dir(format!("{proc}/fd")).map_or(0, Iterator::count);
        let status = std::fs::read_to_string(format!("{proc}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0);
        (files, kib / 1024)
    }

    /// `kill -9`; returns when it is gone.
    pub async fn kill9(mut self) {
        self.child.kill().await.expect("it is our child");
    }

    /// Returns when it is at work, or has ended.
    async fn at_work(&mut self) {
        let begun = async {
            while !self.log().contains("\"at work\"") && self.ended().is_none() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        if timeout(PATIENCE, begun).await.is_err() {
            panic!("it does not begin to work; the log:\n{}", self.log());
        }
    }

    /// SIGTERM, once it is at work: before it listens to signals the kernel ends it, which is not what is looked at.
    /// Returns how it ended.
    pub async fn terminate(&mut self) -> ExitStatus {
        self.at_work().await;
        let pid =
            self.child.id().unwrap_or_else(|| panic!("it ended before it was asked to; the log:\n{}", self.log()));
        let pid = Pid::from_raw(pid.try_into().expect("a pid fits the type the kernel gives it in"));
        kill(pid, Signal::SIGTERM).expect("it is our child");
        match timeout(PATIENCE, self.child.wait()).await {
            Ok(status) => status.expect("it is our child"),
            Err(_) => panic!("it does not end; the log:\n{}", self.log()),
        }
    }

    /// SIGSTOP: it stands still, with all that it holds.
    pub fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// SIGCONT: it goes on, and does not know that time has passed.
    pub fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}
