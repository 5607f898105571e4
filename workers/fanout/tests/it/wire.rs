//! A node's own way to the bus, which can be cut while everybody else goes on.

use std::net::SocketAddr;

use omnibus_runtime::bus::{Bus, BusSettings};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use crate::scene::{Node, Scene};

pub(crate) struct Wire {
    address: SocketAddr,
    is_cut: watch::Sender<bool>,
    lines: TaskTracker,
}

impl Wire {
    pub(crate) async fn to(nats_url: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (is_cut, follow) = watch::channel(false);
        let lines = TaskTracker::new();
        let tracked = lines.clone();
        let target = nats_url.trim_start_matches("nats://").to_owned();
        tokio::spawn(async move {
            while let Ok((mut from, _)) = listener.accept().await {
                let (target, mut cut) = (target.clone(), follow.clone());
                tracked.spawn(async move {
                    let Ok(mut to) = TcpStream::connect(target).await else { return };
                    let cut = async { drop(cut.wait_for(|cut| *cut).await) };
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut from, &mut to) => {}
                        () = cut => {}
                    }
                });
            }
        });
        Wire { address, is_cut, lines }
    }

    /// The bus's address by this wire.
    pub(crate) fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    /// Nothing passes any more; returns when all that was connected knows it.
    pub(crate) async fn cut(&self) {
        self.is_cut.send_replace(true);
        self.lines.close();
        self.lines.wait().await;
        self.lines.reopen();
    }

    /// Who connects again is let through.
    pub(crate) fn mend(&self) {
        self.is_cut.send_replace(false);
    }
}

impl Scene {
    /// A door that reaches the bus by this wire.
    pub(crate) async fn node_on(&self, wire: &Wire) -> Node {
        let settings = BusSettings {
            nats_url: wire.url().into(),
            nats_nkey_file: Some(self.stage.seed_file("fanout")),
            nats_ca_file: None,
        };
        self.node_by(Bus::connect(&settings, "fanout").await.unwrap(), |_| ()).await
    }
}
