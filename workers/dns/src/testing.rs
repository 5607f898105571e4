//! A real authoritative DNS server for one zone, which the test may change, silence and bring back.
#![expect(clippy::unwrap_used, reason = "a test that can not go on has failed")]

use std::net::SocketAddr;
use std::sync::Arc;

use hickory_proto::rr::rdata::{SOA, TXT};
use hickory_proto::rr::{LowerName, Name, RData, Record, RecordType, RrKey};
use hickory_server::Server;
use hickory_server::store::in_memory::InMemoryZoneHandler;
use hickory_server::zone_handler::{AxfrPolicy, Catalog, ZoneType};
use tokio::net::UdpSocket;

/// The server. For every other zone than its own it refuses, as an authoritative server does.
pub struct Names {
    /// Where it listens: a free port of this machine.
    pub address: SocketAddr,
    origin: Name,
    zone: Arc<InMemoryZoneHandler>,
    server: Option<Server<Catalog>>,
}

fn name(text: &str) -> Name {
    Name::from_ascii(format!("{}.", text.trim_end_matches('.'))).unwrap()
}

impl Names {
    /// Answers for this zone, which is empty.
    pub async fn start(zone: &str) -> Self {
        let origin = name(zone);
        let handler = InMemoryZoneHandler::empty(origin.clone(), ZoneType::Primary, AxfrPolicy::Deny);
        let soa = SOA::new(name(&format!("ns.{zone}")), name(&format!("office.{zone}")), 1, 60, 60, 3600, 1);
        handler.upsert(Record::from_rdata(origin.clone(), 60, RData::SOA(soa)), 1).await;
        let address = "127.0.0.1:0".parse().unwrap();
        let mut names = Names { address, origin, zone: Arc::new(handler), server: None };
        names.speak().await;
        names
    }

    /// Answers, at the same address as before.
    pub async fn speak(&mut self) {
        let mut catalog = Catalog::new();
        catalog.upsert(LowerName::from(self.origin.clone()), vec![self.zone.clone()]);
        let socket = UdpSocket::bind(self.address).await.unwrap();
        self.address = socket.local_addr().unwrap();
        let mut server = Server::new(catalog);
        server.register_socket(socket);
        self.server = Some(server);
    }

    /// Answers nobody.
    pub async fn fall_silent(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.shutdown_gracefully().await.unwrap();
        }
    }

    /// One more text at a name.
    pub async fn write(&self, at: &str, text: &str) {
        let record = Record::from_rdata(name(at), 60, RData::TXT(TXT::new(vec![text.to_owned()])));
        self.zone.upsert(record, 1).await;
    }

    /// A host points at this machine.
    pub async fn point(&self, at: &str) {
        let record = Record::from_rdata(name(at), 60, RData::A(std::net::Ipv4Addr::LOCALHOST.into()));
        self.zone.upsert(record, 1).await;
    }

    /// No texts any more at a name.
    pub async fn wipe(&self, at: &str) {
        self.zone.records_mut().await.remove(&RrKey::new(LowerName::from(name(at)), RecordType::TXT));
    }
}
