//! The ways between the nodes of a cluster: each direction between two of them leads through a proxy of its own, so that
//! a node can be cut off from the others while clients still reach it.

use omnibus_runtime::testing::Node;
use omnibus_tests::proxy::{Line, Proxy, Target};
use tokio::net::TcpListener;

#[derive(Debug)]
pub(crate) struct Routes {
    ports: Vec<u16>,
    /// From, to, through.
    ways: Vec<(usize, usize, Proxy)>,
}

impl Routes {
    pub(crate) async fn between(nodes: usize) -> anyhow::Result<Self> {
        let mut ports = Vec::new();
        while ports.len() < nodes {
            // Free now; nobody else on this machine is given it so soon.
            let port = TcpListener::bind("127.0.0.1:0").await?.local_addr()?.port();
            if !ports.contains(&port) {
                ports.push(port);
            }
        }
        let mut ways = Vec::new();
        for from in 0..nodes {
            for to in (0..nodes).filter(|to| *to != from) {
                ways.push((from, to, Proxy::to(Target::Port(ports[to])).await?));
            }
        }
        Ok(Routes { ports, ways })
    }

    pub(crate) fn nodes(&self) -> Vec<Node> {
        let node = |(n, port): (usize, &u16)| Node {
            listen: format!("127.0.0.1:{port}"),
            routes: self
                .ways
                .iter()
                .filter(|(from, ..)| *from == n)
                .map(|(_, _, proxy)| format!("nats://127.0.0.1:{}", proxy.port))
                .collect(),
        };
        self.ports.iter().enumerate().map(node).collect()
    }

    /// Cuts a node off from the others, or joins it again.
    pub(crate) fn part(&self, node: usize, line: Line) {
        for (from, to, proxy) in &self.ways {
            if *from == node || *to == node {
                proxy.set(line);
            }
        }
    }
}
