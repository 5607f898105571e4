//! Those who listen: all in this process, and the same for every server.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

use anyhow::ensure;
use futures_util::SinkExt;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::Message;
use tokio_util::task::AbortOnDropHandle;

use super::server::{Kind, Server, Socket};

/// Sockets that are opened at the same time.
const AT_ONCE: usize = 64;
/// Bytes of a message.
const SIZE: usize = 256;

/// Makes all times as long as one another, written down.
const BASE: u64 = 100_000_000_000_000;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// A message that says when it was made, in nanoseconds.
pub(super) fn message() -> String {
    let text = format!(r#"{{"t":{}"#, u128::from(BASE) + START.elapsed().as_nanos());
    format!("{text},\"x\":\"{}\"}}", "x".repeat(SIZE - text.len() - 8))
}

/// When the message in this line was made.
fn made(line: &str) -> Option<Duration> {
    // Inside a chat message it stands in a text, its quotes escaped.
    let at = line.find(r#""t":"#).map(|at| at + 4).or_else(|| line.find(r#"\"t\":"#).map(|at| at + 6))?;
    let nanos: u64 = line.get(at..at + 15)?.parse().ok()?;
    Some(Duration::from_nanos(nanos.checked_sub(BASE)?))
}

pub(super) struct Swarm {
    shared: Arc<Shared>,
    tasks: Vec<AbortOnDropHandle<()>>,
}

#[derive(Default)]
struct Shared {
    heard: AtomicUsize,
    goal: AtomicUsize,
    alive: AtomicUsize,
    reached: Notify,
    times: Mutex<Vec<Duration>>,
}

impl Swarm {
    pub(super) async fn gather(server: &Server, crowd: usize) -> anyhow::Result<Self> {
        let shared = Arc::new(Shared { goal: AtomicUsize::new(usize::MAX), ..Shared::default() });
        let sockets: Vec<Socket> = stream::iter(0..crowd)
            .map(|n| async move { server.open(&format!("u{n}")).await })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        shared.alive.store(crowd, Ordering::SeqCst);
        let listen = |socket| AbortOnDropHandle::new(tokio::spawn(listen(server.kind, socket, shared.clone())));
        Ok(Swarm { tasks: sockets.into_iter().map(listen).collect(), shared })
    }

    /// Waits until so many messages were taken in since the last call.
    pub(super) async fn heard(&mut self, count: usize, patience: Duration) -> anyhow::Result<()> {
        self.shared.goal.store(count, Ordering::SeqCst);
        let began = Instant::now();
        while self.shared.heard.load(Ordering::SeqCst) < count {
            let _ = tokio::time::timeout(Duration::from_millis(200), self.shared.reached.notified()).await;
            let heard = self.shared.heard.load(Ordering::SeqCst);
            ensure!(
                began.elapsed() < patience,
                "{heard} of {count}, {} of {} are there",
                self.alive(),
                self.tasks.len()
            );
        }
        let heard = self.shared.heard.swap(0, Ordering::SeqCst);
        ensure!(heard == count, "{heard} messages were heard, {count} were said");
        Ok(())
    }

    /// How long each message took, since the last call.
    pub(super) fn times(&self) -> Vec<Duration> {
        std::mem::take(&mut self.shared.times.lock().expect("no panic happens under this lock"))
    }

    pub(super) fn alive(&self) -> usize {
        self.shared.alive.load(Ordering::SeqCst)
    }
}

/// Takes in whatever comes to a socket of Omnibus, and answers its pings.
pub(super) async fn take_in(mut socket: Socket) {
    while let Some(Ok(frame)) = socket.next().await {
        let is_ping = frame.to_text().is_ok_and(|text| text.lines().any(|line| line == "{}"));
        if is_ping && socket.send(Message::text("{}")).await.is_err() {
            break;
        }
    }
}

async fn listen(kind: Kind, mut socket: Socket, shared: Arc<Shared>) {
    while let Some(Ok(frame)) = socket.next().await {
        let Message::Text(text) = frame else { continue };
        let now = START.elapsed();
        let (mut count, mut ping) = (0, false);
        let mut times = Vec::new();
        for line in text.lines() {
            match made(line) {
                Some(made) => {
                    count += 1;
                    times.push(now.saturating_sub(made));
                }
                None => ping |= line == "{}" || line == "2",
            }
        }
        if ping {
            let pong = if kind == Kind::SocketIo { "3" } else { "{}" };
            if socket.send(Message::text(pong)).await.is_err() {
                break;
            }
        }
        if count > 0 {
            shared.times.lock().expect("no panic happens under this lock").extend(times);
            let heard = shared.heard.fetch_add(count, Ordering::SeqCst) + count;
            if heard >= shared.goal.load(Ordering::SeqCst) {
                shared.reached.notify_one();
            }
        }
    }
    shared.alive.fetch_sub(1, Ordering::SeqCst);
}
