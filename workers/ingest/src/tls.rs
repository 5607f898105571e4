//! TLS 1.2 and 1.3, nothing older.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum_server::tls_rustls::RustlsConfig;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use crate::certificates::{ByName, Certificates};
use crate::settings::Settings;

/// Why TLS can't be spoken.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file.
    #[error("can't read {path}: {error}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: String,
    },
    /// The two don't belong together, or are of an unknown kind.
    #[error("TLS_CERT_FILE and TLS_KEY_FILE can't be used: {0}")]
    Unusable(rustls::Error),
}

/// How to speak TLS: with tenants' certificates by name, with the door's own for every other name. `None` without any
/// certificate.
pub(crate) fn of(settings: &Settings, hosts: Option<Certificates>) -> Result<Option<RustlsConfig>, TlsError> {
    let own = own(settings)?;
    if own.is_none() && hosts.is_none() {
        return Ok(None);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(TlsError::Unusable)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(ByName { hosts, own }));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Some(RustlsConfig::from_config(Arc::new(config))))
}

/// The door's own certificate, if it has one.
fn own(settings: &Settings) -> Result<Option<Arc<CertifiedKey>>, TlsError> {
    let (Some(cert), Some(key)) = (&settings.tls_cert_file, &settings.tls_key_file) else { return Ok(None) };
    let unreadable = |path: &Path, error: rustls::pki_types::pem::Error| TlsError::File {
        path: path.to_owned(),
        error: error.to_string(),
    };
    let chain = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unreadable(cert, error))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(key, error))?;
    let own = CertifiedKey::from_der(chain, key, &rustls::crypto::ring::default_provider());
    own.map(|own| Some(Arc::new(own))).map_err(TlsError::Unusable)
}
