//! A worker as a process of its own, to be killed.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use async_nats::HeaderMap;
use bytes::Bytes;
use omnibus_schemas::platform::CommandPage;
use omnibus_schemas::{Query, subject};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::{PATIENCE, Stage};
use crate::bus::Bus;

/// One life of a worker as a process. Dropped, it is killed.
#[derive(Debug)]
pub struct Life {
    child: Child,
    domain: String,
    operator: Bus,
    lines: Lines<BufReader<ChildStdout>>,
    _stdin: ChildStdin,
}

impl Life {
    /// How a stage is set up for processes that are killed: what they had in flight comes again after a second, and not
    /// after thirty.
    pub fn limits() -> omnibus_bus::Settings {
        omnibus_bus::Settings { ack_wait: Duration::from_secs(1), ..omnibus_bus::Settings::default() }
    }

    /// Starts a domain's worker on a stage, `program` with whatever it needs besides. At `point`, if there is one, it stands
    /// still and says so.
    ///
    /// # Panics
    /// If it can't be started.
    pub fn begin(mut program: Command, stage: &Stage, domain: &str, point: Option<&str>) -> Self {
        let begun = program
            .env("NATS_URL", stage.nats_url())
            .env("NATS_NKEY_FILE", stage.seed_file(domain))
            .env("DATABASE_URL", &stage.database_url)
            .env("REPUBLISH_AFTER_SECONDS", "2")
            .env("LOG_FORMAT", "json")
            .envs(point.map(|point| ("OMNIBUS_FAILPOINT", point)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn();
        let mut child = begun.expect("the worker's program can be started");
        let lines = BufReader::new(child.stdout.take().expect("standard output is a pipe")).lines();
        let stdin = child.stdin.take().expect("standard input is a pipe");
        Life { child, domain: domain.to_owned(), operator: stage.operator.clone(), lines, _stdin: stdin }
    }

    /// Waits until it ends by itself, and says how.
    ///
    /// # Panics
    /// If it does not end in time.
    pub async fn ended(mut self) -> ExitStatus {
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        ended.expect("the process ends in time").expect("it is our child")
    }

    /// Waits until it stands at the point (`name`, or `name:3` for the third time), and kills it there (`kill -9`).
    /// It is to be the only one of its domain.
    ///
    /// # Panics
    /// If it does not get there in time.
    pub async fn killed_at(mut self, point: &str) {
        let line = tokio::time::timeout(PATIENCE, self.lines.next_line()).await;
        let line = line.unwrap_or_else(|_| panic!("{point} is not reached")).expect("the process writes text");
        let name = point.split(':').next().unwrap_or_default();
        assert_eq!(line.as_deref(), Some(format!("failpoint {name}").as_str()));
        self.child.kill().await.expect("it is our child");
        let forgotten = tokio::time::timeout(PATIENCE, self.forgotten());
        forgotten.await.expect("nats-server notices in time that the connection has ended");
    }

    /// Waits until nats-server knows that it is dead: a question that it gives to the dead is lost.
    async fn forgotten(&self) {
        let subject = subject::query(&self.domain, CommandPage::NAME);
        let glance = Duration::from_millis(100);
        while !matches!(self.operator.ask(subject.clone(), HeaderMap::new(), Bytes::new(), glance).await, Ok(None)) {
            tokio::time::sleep(glance / 10).await;
        }
    }
}
