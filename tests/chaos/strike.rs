//! The faults themselves.

use std::time::Duration;

use async_nats::jetstream::stream::Config;
use omnibus_schemas::subject;
use omnibus_tests::proxy::{Line, Proxy};

use crate::house::{BEAT, House};
use crate::plan::{Fault, Kind};

impl House {
    /// Breaks something, and puts it right again as far as its owner would.
    ///
    /// # Errors
    /// If what was to be put right does not come back.
    pub(crate) async fn strike(&self, fault: Fault) -> anyhow::Result<()> {
        let Fault { kind, lasts, pick, .. } = fault;
        let worker = (pick % 2) as usize;
        match kind {
            Kind::KillWorker => self.kill_worker(worker).await,
            // Longer than a lease and an acknowledgement's wait, now and then.
            Kind::FreezeWorker => self.freeze_worker(worker, lasts + BEAT / 2).await,
            Kind::RollOut => self.roll_out(worker).await,
            Kind::ClockJump => {
                let jumps = [-86_400 * 40, -3600, -61, 61, 3600, 86_400 * 40];
                let jump: i64 = jumps[(pick % jumps.len() as u64) as usize];
                std::fs::write(self.clock(), jump.to_string())?;
                tokio::time::sleep(lasts).await;
                std::fs::write(self.clock(), "0")?;
            }
            Kind::KillNats => {
                let mut nats = self.stage.nats.lock().await;
                nats.kill9().await;
                tokio::time::sleep(lasts).await;
                nats.restart().await?;
            }
            Kind::RestartNats => self.stage.nats.lock().await.restart().await?,
            Kind::FreezeNats => {
                let nats = self.stage.nats.lock().await;
                freeze(nats.pid(), lasts).await;
            }
            Kind::CutNats => self.each_line(|line| line.set(Line::Cut), Duration::from_millis(20)).await,
            Kind::SlowNats => {
                let by = Duration::from_millis(5 + pick % 400);
                self.each_line(|line| line.set(Line::Slow(by)), lasts).await;
            }
            Kind::MuteNats => self.each_line(|line| line.set(Line::Mute), lasts).await,
            Kind::KillPostgres => {
                let mut postgres = self.postgres.lock().await;
                postgres.kill9().await;
                tokio::time::sleep(lasts).await;
                postgres.restart().await?;
            }
            Kind::RestartPostgres => self.postgres.lock().await.restart().await?,
            Kind::CutPostgres => self.postgres_line.cut_once().await,
            Kind::SlowPostgres => self.postgres_for(Line::Slow(Duration::from_millis(5 + pick % 200)), lasts).await,
            Kind::MutePostgres => self.postgres_for(Line::Mute, lasts).await,
            Kind::CommandsFull => self.full(&subject::command_stream("shop"), lasts).await?,
            Kind::LettersFull => self.full("DLQ", lasts).await?,
            Kind::DeleteConsumer => {
                let lane = ["default", "calls"][worker];
                let js = self.stage.operator.jetstream();
                let name = subject::lane_consumer("shop", lane);
                // A bus that is away just now has nothing deleted.
                if js.delete_consumer_from_stream(name, subject::command_stream("shop")).await.is_ok() {
                    tokio::time::sleep(lasts / 4).await;
                    self.provision().await?;
                }
            }
            Kind::DiskFull => {
                if let Some(disk) = &self.disk {
                    disk.fill();
                    tokio::time::sleep(lasts).await;
                    disk.clear();
                    // A server that could not write has switched its streams off; its operator restarts it.
                    self.stage.nats.lock().await.restart().await?;
                }
            }
            Kind::KillLeader => self.kill_leader(lasts).await?,
            Kind::Partition => {
                if let Some(routes) = &self.routes {
                    routes.part((pick % 3) as usize, Line::Cut);
                    tokio::time::sleep(lasts).await;
                    routes.part((pick % 3) as usize, Line::Open);
                }
            }
        }
        Ok(())
    }

    async fn each_line(&self, set: impl Fn(&Proxy), lasts: Duration) {
        self.nats_lines.iter().for_each(set);
        tokio::time::sleep(lasts).await;
        self.nats_lines.iter().for_each(|line| line.set(Line::Open));
    }

    async fn postgres_for(&self, line: Line, lasts: Duration) {
        self.postgres_line.set(line);
        tokio::time::sleep(lasts).await;
        self.postgres_line.set(Line::Open);
    }

    /// The stream's limit is where it stands now, for a while.
    async fn full(&self, name: &str, lasts: Duration) -> anyhow::Result<()> {
        let js = self.stage.operator.jetstream();
        let Ok(mut stream) = js.get_stream(name).await else { return Ok(()) };
        let Ok(info) = stream.info().await else { return Ok(()) };
        // Without a limit of messages, whatever stands there now: another such fault may be under way.
        let (usual, messages) = (Config { max_messages: -1, ..info.config.clone() }, info.state.messages);
        let limit = i64::try_from(messages)?.max(1);
        // A bus that is away just now can't be changed.
        if js.update_stream(Config { max_messages: limit, ..usual.clone() }).await.is_err() {
            return Ok(());
        }
        tokio::time::sleep(lasts).await;
        let mut tries = 0;
        while let Err(error) = js.update_stream(usual.clone()).await {
            tries += 1;
            anyhow::ensure!(tries < 120, "the stream's limit can't be lifted: {error}");
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        Ok(())
    }

    async fn kill_leader(&self, lasts: Duration) -> anyhow::Result<()> {
        let js = self.stage.operator.jetstream();
        let leader = match js.get_stream(subject::command_stream("shop")).await {
            Ok(stream) => stream.cached_info().cluster.as_ref().and_then(|cluster| cluster.leader.clone()),
            Err(_) => None,
        };
        let leader: usize = leader.and_then(|name| name.strip_prefix("node-")?.parse().ok()).unwrap_or(0);
        let node = match leader {
            0 => &self.stage.nats,
            n => self.stage.others.get(n - 1).unwrap_or(&self.stage.nats),
        };
        let mut node = node.lock().await;
        node.kill9().await;
        tokio::time::sleep(lasts).await;
        Ok(node.restart().await?)
    }
}

async fn freeze(pid: Option<u32>, lasts: Duration) {
    use nix::sys::signal::{Signal, kill};
    let Some(pid) = pid.and_then(|pid| i32::try_from(pid).ok()).map(nix::unistd::Pid::from_raw) else { return };
    if kill(pid, Signal::SIGSTOP).is_ok() {
        tokio::time::sleep(lasts).await;
        let _ = kill(pid, Signal::SIGCONT);
    }
}
