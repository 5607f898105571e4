//! Tenants' hosts over TLS: each by its name (SNI) with its own certificate, as the white-label worker hands it out. A host
//! without an entry in the bucket is not served: nobody asks for a certificate by connecting.

use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use chrono::{DateTime, Utc};
use omnibus_runtime::seal::Seal;
use omnibus_runtime::{Bus, Health, clock};
use omnibus_schemas::brander::{CERTIFICATES, HostCertificate};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_util::sync::CancellationToken;

use crate::mirror::{Mirror, Of};

/// The part of [`Health`] that this module speaks for.
pub(crate) const PART: &str = "ingest.certificates";

/// A host's certificate, ready for use.
struct Served {
    key: Arc<CertifiedKey>,
    until: DateTime<Utc>,
}

/// The certificates of tenants' hosts. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Certificates(Mirror<String, Served>);

impl Certificates {
    /// Opens keys with this seal.
    pub(crate) fn new(seal: Seal) -> Self {
        Certificates(Mirror::new(Of {
            bucket: CERTIFICATES,
            part: PART,
            what: "certificates of tenants' hosts",
            key: |host| Some(host.to_owned()),
            value: Box::new(move |host, entry| match read(&seal, host, entry) {
                Ok(served) => Some(served),
                Err(error) => {
                    tracing::error!(host, error = format!("{error:#}"), "a host's certificate can't be used");
                    None
                }
            }),
        }))
    }

    /// Follows the bucket until `stop`.
    pub(crate) async fn follow(&self, bus: Bus, health: Health, stop: CancellationToken) {
        self.0.follow(bus, health, stop).await;
    }

    /// The certificate to serve a host with, while it is good. `host` in lower case.
    pub(crate) fn of(&self, host: &str) -> Option<Arc<CertifiedKey>> {
        let served = self.0.get(host.trim_end_matches('.')).ok()??;
        (served.until > clock::now()).then(|| served.key.clone())
    }
}

fn read(seal: &Seal, host: &str, entry: &[u8]) -> anyhow::Result<Served> {
    let HostCertificate { tenant, chain, sealed_key, until, .. } = serde_json::from_slice(entry)?;
    let chain = CertificateDer::pem_slice_iter(chain.as_bytes()).collect::<Result<Vec<_>, _>>()?;
    let key = seal.open(&BASE64_STANDARD.decode(sealed_key)?, &format!("{tenant}/{host}"))?;
    let key = PrivatePkcs8KeyDer::from(key);
    let key = CertifiedKey::from_der(chain, key.into(), &rustls::crypto::ring::default_provider())?;
    Ok(Served { key: Arc::new(key), until })
}

/// Which certificate a connection gets.
#[derive(Debug)]
pub(crate) struct ByName {
    /// Of hosts that are tenants'.
    pub(crate) hosts: Option<Certificates>,
    /// For every other name, and for who gives none.
    pub(crate) own: Option<Arc<CertifiedKey>>,
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(str::to_ascii_lowercase);
        let theirs = name.and_then(|name| self.hosts.as_ref()?.of(&name));
        theirs.or_else(|| self.own.clone())
    }
}
