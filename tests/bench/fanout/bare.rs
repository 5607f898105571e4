//! The least that the same can cost in Rust: whatever anybody says is sent to everybody. No names, no rights, no memory.

use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

/// Messages that may wait for a client.
const WAITING: usize = 8192;

pub(super) async fn serve(address: SocketAddr) -> anyhow::Result<()> {
    let listener = TcpListener::bind(address).await?;
    let (say, _) = broadcast::channel::<Utf8Bytes>(WAITING);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let say = say.clone();
        let mut hear = say.subscribe();
        tokio::spawn(async move {
            let (mut to, mut from) = tokio_tungstenite::accept_async(stream).await?.split();
            loop {
                tokio::select! {
                    said = hear.recv() => to.send(Message::Text(said?)).await?,
                    frame = from.next() => match frame {
                        Some(Ok(Message::Text(text))) => drop(say.send(text)),
                        Some(Ok(_)) => {}
                        _ => return anyhow::Ok(()),
                    },
                }
            }
        });
    }
}
