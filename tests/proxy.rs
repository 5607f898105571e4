//! A TCP proxy between a worker and a server, on which lines are cut, slowed down or made mute.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;

/// Where the proxy leads to.
#[derive(Debug, Clone)]
pub enum Target {
    /// A port of this machine.
    Port(u16),
    /// A socket in the file system.
    Socket(PathBuf),
}

/// How the line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// Everything arrives.
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
pub struct Proxy {
    /// Where it listens.
    pub port: u16,
    line: watch::Sender<Line>,
}

impl Proxy {
    /// On a free port.
    pub async fn to(target: Target) -> anyhow::Result<Self> {
        Self::on(TcpListener::bind("127.0.0.1:0").await?, target)
    }

    /// Where somebody has bound already.
    pub fn on(listener: TcpListener, target: Target) -> anyhow::Result<Self> {
        let port = listener.local_addr()?.port();
        let (line, follow) = watch::channel(Line::Open);
        tokio::spawn(accept(listener, target, follow));
        Ok(Proxy { port, line })
    }

    /// Before the PostgreSQL of this URL; with the URL that leads through the proxy.
    pub async fn to_postgres(database_url: &str) -> anyhow::Result<(Self, String)> {
        // postgres://omnibus@localhost:5432/name?host=<folder of the socket>&sslmode=disable
        let (address, rest) = database_url.split_once("?host=").context("a socket's folder in the URL")?;
        let folder = rest.split('&').next().unwrap_or_default();
        let proxy = Self::to(Target::Socket(Path::new(folder).join(".s.PGSQL.5432"))).await?;
        let address = address.replace("localhost:5432", &format!("127.0.0.1:{}", proxy.port));
        Ok((proxy, format!("{address}?sslmode=disable")))
    }

    /// From now on the line is like that.
    pub fn set(&self, line: Line) {
        self.line.send_replace(line);
    }

    /// Cuts what is connected; whoever connects again is let through.
    pub async fn cut_once(&self) {
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
