//! A TCP proxy between a worker and a server, on which lines are cut, slowed down or made mute.

use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;

/// Where the proxy leads to.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    Port(u16),
    Socket(PathBuf),
}

/// How the line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line {
    Open,
    /// Each piece takes this much longer, in both directions.
    Slow(Duration),
    /// What is sent does not arrive, and nobody is told.
    Mute,
    /// Every connection is cut, and none is taken.
    Cut,
}

/// Ends with the last clone's drop of its sender.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) port: u16,
    line: watch::Sender<Line>,
}

impl Proxy {
    pub(crate) async fn to(target: Target) -> anyhow::Result<Self> {
        Self::on(TcpListener::bind("127.0.0.1:0").await?, target)
    }

    pub(crate) fn on(listener: TcpListener, target: Target) -> anyhow::Result<Self> {
        let port = listener.local_addr()?.port();
        let (line, follow) = watch::channel(Line::Open);
        tokio::spawn(accept(listener, target, follow));
        Ok(Proxy { port, line })
    }

    pub(crate) fn set(&self, line: Line) {
        self.line.send_replace(line);
    }

    /// Cuts what is connected; whoever connects again is let through.
    pub(crate) async fn cut_once(&self) {
        self.set(Line::Cut);
        tokio::time::sleep(Duration::from_millis(20)).await;
        self.set(Line::Open);
    }
}

async fn accept(listener: TcpListener, target: Target, mut line: watch::Receiver<Line>) {
    loop {
        let taken = tokio::select! {
            taken = listener.accept() => taken,
            changed = line.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
        };
        let Ok((near, _)) = taken else { continue };
        if *line.borrow() == Line::Cut {
            continue;
        }
        let (target, line) = (target.clone(), line.clone());
        tokio::spawn(async move {
            let _ = near.set_nodelay(true);
            // A server that is away: the near side finds its connection closed.
            match target {
                Target::Port(port) => {
                    if let Ok(far) = TcpStream::connect(("127.0.0.1", port)).await {
                        let _ = far.set_nodelay(true);
                        both(near.into_split(), far.into_split(), line).await;
                    }
                }
                Target::Socket(path) => {
                    if let Ok(far) = UnixStream::connect(path).await {
                        both(near.into_split(), far.into_split(), line).await;
                    }
                }
            }
        });
    }
}

async fn both<A, B, C, D>(near: (A, B), far: (C, D), mut line: watch::Receiver<Line>)
where
    A: AsyncRead + Unpin,
    B: AsyncWrite + Unpin,
    C: AsyncRead + Unpin,
    D: AsyncWrite + Unpin,
{
    let (there, back) = (line.clone(), line.clone());
    tokio::select! {
        () = carry(near.0, far.1, there) => {}
        () = carry(far.0, near.1, back) => {}
        // `Err`: the proxy is gone.
        _ = line.wait_for(|line| *line == Line::Cut) => {}
    }
}

async fn carry(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, mut line: watch::Receiver<Line>) {
    let mut piece = vec![0; 16 * 1024];
    loop {
        let Ok(read @ 1..) = from.read(&mut piece).await else { return };
        let now = *line.borrow_and_update();
        match now {
            Line::Slow(by) => tokio::time::sleep(by).await,
            // What was said meanwhile arrives late, if the connection lives so long.
            Line::Mute => {
                if line.wait_for(|line| *line != Line::Mute).await.is_err() {
                    return;
                }
            }
            Line::Open | Line::Cut => {}
        }
        if to.write_all(&piece[..read]).await.is_err() {
            return;
        }
    }
}
