//! A door as a process of its own: to be killed, stopped and asked how it is.

use std::net::SocketAddr;
use std::process::ExitStatus;
use std::time::Duration;

use omnibus_runtime::testing::free_port;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::scene::{PATIENCE, Place, SECRET, Scene};

pub(crate) struct Process {
    address: SocketAddr,
    child: Child,
}

impl Place for Process {
    fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Process {
    /// As `kill -9` does.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Says that it is to stop, as `kill` and whatever runs it do.
    pub(crate) async fn terminate(&self) {
        let kill = format!("kill -TERM {}", self.child.id().unwrap());
        assert!(Command::new("sh").args(["-c", &kill]).status().await.unwrap().success());
    }

    /// How it has ended by itself.
    pub(crate) async fn ended(mut self) -> ExitStatus {
        tokio::time::timeout(PATIENCE, self.child.wait()).await.expect("it ends in time").unwrap()
    }

    /// Waits until Prometheus gets this line: what was written to a socket is counted a moment after the client has it.
    pub(crate) async fn tells(&self, line: &str) {
        let metrics = async || get(self.address, "/metrics").await.unwrap();
        let told = async {
            while !metrics().await.lines().any(|there| there == line) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let told = tokio::time::timeout(PATIENCE, told).await;
        assert!(told.is_ok(), "{line} is not in {}", metrics().await);
    }
}

impl<P> Scene<P> {
    /// A door that can be killed, with other settings from its environment.
    pub(crate) async fn process(&self, environment: &[(&str, &str)]) -> Process {
        let given: Option<SocketAddr> =
            environment.iter().find(|(name, _)| *name == "FANOUT_LISTEN").map(|(_, given)| given.parse().unwrap());
        // A port may be taken between its being found free and being used: then others are tried.
        for _ in 0..5 {
            let address: SocketAddr = given.unwrap_or_else(|| ([127, 0, 0, 1], free_port()).into());
            if let Some(process) = self.process_at(address, environment).await {
                return process;
            }
        }
        panic!("the door does not start");
    }

    async fn process_at(&self, address: SocketAddr, environment: &[(&str, &str)]) -> Option<Process> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_fanout"))
            .env_clear()
            .env("FANOUT_LISTEN", address.to_string())
            .env("NATS_URL", self.stage.nats_url())
            .env("NATS_NKEY_FILE", self.stage.seed_file("fanout"))
            .env("WEBSOCKET_SECRET", SECRET)
            .envs(environment.iter().copied())
            .current_dir(std::env::temp_dir())
            .stdout(std::process::Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let ready = async {
            loop {
                // One that found its port taken has ended: what answers there is another.
                if child.try_wait().unwrap().is_some() {
                    break false;
                }
                if get(address, "/readyz").await.is_some_and(|answer| answer.starts_with("HTTP/1.1 200")) {
                    break true;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let ready = tokio::time::timeout(PATIENCE, ready).await.expect("the door becomes ready");
        ready.then_some(Process { address, child })
    }
}

/// The whole of an answer, with its head; nothing if nobody is there.
async fn get(address: SocketAddr, path: &str) -> Option<String> {
    let mut socket = TcpStream::connect(address).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.ok()?;
    Some(answer)
}
