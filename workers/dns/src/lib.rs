#![doc = include_str!("../README.md")]

#[cfg(feature = "testing")]
pub mod testing;

use std::net::SocketAddr;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{RData, RecordType};

/// Asks the machine's servers, or those it was given. Keeps nothing: a proof that was just made must be seen.
#[derive(Clone)]
pub struct Dns {
    resolver: TokioResolver,
}

impl std::fmt::Debug for Dns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Dns")
    }
}

/// Nobody gave an answer that means anything.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("DNS gave no answer: {0}")]
pub struct Unanswered(String);

impl Dns {
    /// Without servers, those of the machine. Asks nobody yet.
    pub fn new(servers: &[SocketAddr]) -> Result<Self, NetError> {
        let mut builder = match servers {
            [] => TokioResolver::builder_tokio()?,
            servers => {
                let servers = servers.iter().map(|address| {
                    let mut server = NameServerConfig::udp_and_tcp(address.ip());
                    server.connections.iter_mut().for_each(|way: &mut ConnectionConfig| way.port = address.port());
                    server
                });
                let config = ResolverConfig::from_parts(None, vec![], servers.collect());
                TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
            }
        };
        let options = builder.options_mut();
        options.cache_size = 0;
        options.attempts = 2;
        options.timeout = Duration::from_secs(3);
        options.use_hosts_file = ResolveHosts::Never;
        options.try_tcp_on_error = true;
        Ok(Dns { resolver: builder.build()? })
    }

    /// The texts that stand at a name, none if DNS says that there are none.
    pub async fn texts(&self, name: &str) -> Result<Vec<String>, Unanswered> {
        // With the dot at its end, no search list is tried.
        let name = format!("{}.", name.trim_end_matches('.'));
        match self.resolver.lookup(name, RecordType::TXT).await {
            Ok(found) => Ok(found
                .answers()
                .iter()
                .filter_map(|record| match &record.data {
                    RData::TXT(text) => Some(String::from_utf8_lossy(&text.txt_data.concat()).into_owned()),
                    _ => None,
                })
                .collect()),
            Err(NetError::Dns(DnsError::NoRecordsFound(none))) => match (none.response_code, none.soa.is_some()) {
                (ResponseCode::NXDomain, _) | (ResponseCode::NoError, true) => Ok(vec![]),
                // Without the zone's own word, emptiness is a referral or a server that knows nothing.
                (code, _) => Err(Unanswered(format!("{code} without an answer"))),
            },
            Err(error) => Err(Unanswered(error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use testing::Names;

    #[tokio::test]
    async fn what_is_not_there_is_told_from_what_nobody_answers() {
        let mut names = Names::start("shop.example").await;
        let dns = Dns::new(&[names.address]).unwrap();
        assert_eq!(dns.texts("_omnibus.shop.example").await, Ok(vec![]));
        names.write("_omnibus.shop.example", "one").await;
        names.write("_omnibus.shop.example", "two").await;
        let mut found = dns.texts("_omnibus.shop.example").await.unwrap();
        found.sort();
        assert_eq!(found, ["one", "two"]);
        // A name without a text, though with something else, is the zone's own word as well.
        names.point("www.shop.example").await;
        assert_eq!(dns.texts("www.shop.example").await, Ok(vec![]));
        // A zone that the server does not answer for.
        dns.texts("_omnibus.other.example").await.unwrap_err();
        names.wipe("_omnibus.shop.example").await;
        assert_eq!(dns.texts("_omnibus.shop.example").await, Ok(vec![]));
        names.fall_silent().await;
        dns.texts("_omnibus.shop.example").await.unwrap_err();
    }
}
