//! A house of its own: `omnibus up` as a child process, on free ports, in a temporary folder.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

/// Far longer than a busy machine takes for anything.
const PATIENCE: Duration = Duration::from_secs(180);

/// What a developer may have set for himself.
const NOT_OURS: &[&str] = &[
    "ATTEMPTS",
    "BACKOFF_CAP_SECONDS",
    "BACKOFF_SECONDS",
    "CLICOLOR_FORCE",
    "DATABASE_URL",
    "FROM_EMAIL",
    "HTTP_LISTEN",
    "LOG",
    "MAIL_DIR",
    "NATS_NKEY_FILE",
    "NATS_PORT",
    "NATS_URL",
    "NO_COLOR",
    "OMNIBUS_TENANT",
    "SMTP_HOST",
    "TENANTS",
    "TIMEOUT_SECONDS",
    "WEBSOCKET_SECRET",
];

/// The program, told where its folder is.
pub(crate) fn omnibus(home: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_omnibus"));
    for name in NOT_OURS {
        command.env_remove(name);
    }
    command.args(args).arg("--home").arg(home).stdin(Stdio::null());
    command
}

/// A finished run.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) status: ExitStatus,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Run {
    pub(crate) fn of(mut command: Command) -> Self {
        let output = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Run { status: output.status, out: text(output.stdout), err: text(output.stderr) }
    }

    /// Its output, if it went well.
    #[track_caller]
    pub(crate) fn well(self) -> String {
        assert!(self.status.success(), "{self:?}");
        self.out
    }

    /// What it complained of, if it failed with status 1.
    #[track_caller]
    pub(crate) fn failed(self) -> String {
        assert_eq!(self.status.code(), Some(1), "{self:?}");
        self.err
    }
}

/// A folder that PostgreSQL's user can reach too, when the tests run as root.
pub(crate) fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

/// A running house.
pub(crate) struct Stack {
    up: Child,
    home: PathBuf,
    /// What it said until it was up.
    pub(crate) said: String,
    _folder: Option<TempDir>,
}

impl Stack {
    /// The one that tests share which disturb nobody. It ends with the last that uses it.
    pub(crate) fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Stack>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let folder = folder();
            let mut stack = Stack::start(&folder.path().join("home"), &[]);
            stack._folder = Some(folder);
            let stack = Arc::new(stack);
            *shared = Arc::downgrade(&stack);
            stack
        })
    }

    /// One of the caller's own.
    pub(crate) fn start(home: &Path, env: &[(&str, &str)]) -> Self {
        let mut command = omnibus(home, &["up", "--http-listen", "127.0.0.1:0", "--nats-port", "0"]);
        command.envs(env.iter().copied()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut up = command.spawn().unwrap();
        let mut out = BufReader::new(up.stdout.take().unwrap());
        let mut said = String::new();
        while !said.contains("Ctrl-C ends it.") {
            if out.read_line(&mut said).unwrap() == 0 {
                let mut err = String::new();
                up.stderr.take().unwrap().read_to_string(&mut err).unwrap();
                panic!("it did not come up: {said}\n{err}");
            }
        }
        Stack { up, home: home.to_owned(), said, _folder: None }
    }

    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    /// Runs the program against this house.
    pub(crate) fn run(&self, args: &[&str]) -> Run {
        Run::of(omnibus(&self.home, args))
    }

    /// Runs it for a program: its output as JSON.
    #[track_caller]
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let out = self.run(&[args, &["--output", "json"]].concat()).well();
        serde_json::from_str(&out).unwrap()
    }

    /// `status`, once all workers have told of themselves: one that a busy machine makes late is called away.
    #[track_caller]
    pub(crate) fn status(&self) -> Value {
        let begun = Instant::now();
        loop {
            let status = self.json(&["status"]);
            let all_there = status["away"].as_array().is_some_and(Vec::is_empty) && status["held"].is_number();
            if all_there || begun.elapsed() > PATIENCE {
                return status;
            }
        }
    }

    pub(crate) fn line(&self, file: &str) -> String {
        std::fs::read_to_string(self.home.join(file)).unwrap().trim().to_owned()
    }

    /// As the operator, without the program.
    pub(crate) async fn operator(&self) -> async_nats::jetstream::Context {
        let seed = self.line("creds/operator.nk");
        let options = async_nats::ConnectOptions::with_nkey(seed).custom_inbox_prefix("_INBOX_operator");
        async_nats::jetstream::new(options.connect(self.line("nats.url")).await.unwrap())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.up.id().try_into().unwrap()), signal).unwrap();
    }

    /// How it ended, and what it said on standard error.
    pub(crate) fn ended(&mut self) -> (ExitStatus, String) {
        let mut err = String::new();
        let mut stderr = self.up.stderr.take().unwrap();
        stderr.read_to_string(&mut err).unwrap();
        (self.up.wait().unwrap(), err)
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if self.up.try_wait().unwrap().is_none() {
            self.signal(Signal::SIGINT);
            // It bounds its own ending.
            let _ = self.up.wait();
        }
    }
}
