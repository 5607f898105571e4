//! Asking DNS for a proof. "It is not there" and "nobody answered" are two things, and only the first one counts.

use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{RData, RecordType};

use crate::Settings;
use crate::domains::record_name;

/// Asks the machine's servers, or those of the settings. Keeps nothing: a proof that was just made must be seen.
#[derive(Clone)]
pub(crate) struct Dns {
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
pub(crate) struct Unanswered(String);

impl Dns {
    pub(crate) fn new(settings: &Settings) -> anyhow::Result<Self> {
        let mut builder = match settings.dns_servers.as_slice() {
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

    /// The texts that stand at a host's record, none if DNS says that there are none.
    pub(crate) async fn texts(&self, host: &str) -> Result<Vec<String>, Unanswered> {
        // With the dot at its end, no search list is tried.
        let name = format!("{}.", record_name(host));
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
