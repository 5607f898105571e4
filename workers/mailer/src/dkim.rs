//! Keys that sign mails. They lie in files, as secrets do in containers; they are read once, and never printed.
//!
//! A tenant's mail is signed with the tenant's own key for the sender's domain, and with the installation's for its own
//! domains. Without a key it leaves unsigned.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use anyhow::{Context, bail};
use lettre::message::dkim::{
    DkimCanonicalization, DkimCanonicalizationType, DkimConfig, DkimSigningAlgorithm, DkimSigningKey,
};
use lettre::message::header::HeaderName;

use crate::settings::Senders;

/// What is signed, as far as a mail has it. Both headers of one-click unsubscription are among it: RFC 8058 §4. `Content-Type`
/// is not: to lettre it is the body's, so it would be named as signed and signed as if it were not there, and no signature
/// would be true.
const SIGNED: &[&str] = &[
    "From",
    "To",
    "Cc",
    "Subject",
    "Date",
    "Message-ID",
    "Reply-To",
    "MIME-Version",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
];

/// The folder of keys.
#[derive(Default)]
pub(crate) struct Dkim {
    folder: Option<PathBuf>,
    known: Mutex<HashMap<PathBuf, Option<Arc<DkimConfig>>>>,
}

impl std::fmt::Debug for Dkim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dkim").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Dkim {
    /// A folder that is not there is told at the start: else mails would leave unsigned, and nobody would notice.
    pub(crate) fn new(folder: Option<PathBuf>) -> anyhow::Result<Self> {
        if let Some(missing) = folder.as_ref().filter(|folder| !folder.is_dir()) {
            bail!("DKIM_DIR {} is no folder", missing.display());
        }
        Ok(Dkim { folder, known: Mutex::default() })
    }

    /// The key for mails of this tenant from this domain. A folder that can't be read is an error: a mail that should
    /// be signed must not leave unsigned.
    pub(crate) fn key(&self, tenant: &str, domain: &str, senders: &Senders) -> anyhow::Result<Option<Arc<DkimConfig>>> {
        let Some(folder) = &self.folder else { return Ok(None) };
        let domain = domain.to_ascii_lowercase();
        let own = folder.join(tenant).join(&domain);
        let shared = senders.domain_is_shared(&domain).then(|| folder.join(&domain));
        for place in std::iter::once(own).chain(shared) {
            if let Some(key) = self.in_folder(&place, &domain)? {
                return Ok(Some(key));
            }
        }
        Ok(None)
    }

    fn in_folder(&self, place: &Path, domain: &str) -> anyhow::Result<Option<Arc<DkimConfig>>> {
        let mut known = self.known.lock().expect("no holder of this lock panics");
        if let Some(found) = known.get(place) {
            return Ok(found.clone());
        }
        let found = read(place, domain).with_context(|| format!("the DKIM key in {}", place.display()))?.map(Arc::new);
        known.insert(place.to_owned(), found.clone());
        Ok(found)
    }
}

/// The first key of a folder, by its selector's name.
fn read(place: &Path, domain: &str) -> anyhow::Result<Option<DkimConfig>> {
    let entries = match std::fs::read_dir(place) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let mut files = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()?;
    files.retain(|path| path.extension().is_some_and(|ending| ending == "pem" || ending == "key"));
    files.sort();
    let Some(path) = files.first() else { return Ok(None) };
    let selector = path.file_stem().and_then(|stem| stem.to_str()).context("a selector must be text")?;
    let text = std::fs::read_to_string(path)?;
    let algorithm = match text.contains("-----BEGIN RSA PRIVATE KEY-----") {
        true => DkimSigningAlgorithm::Rsa,
        false if text.contains("-----BEGIN") => bail!("an RSA key must be in PKCS#1 PEM (openssl rsa -traditional)"),
        false => DkimSigningAlgorithm::Ed25519,
    };
    let key = DkimSigningKey::new(text.trim(), algorithm)?;
    let relaxed = DkimCanonicalizationType::Relaxed;
    Ok(Some(DkimConfig::new(
        selector.to_owned(),
        domain.to_owned(),
        key,
        SIGNED.iter().copied().map(HeaderName::new_from_ascii_str).collect(),
        DkimCanonicalization { header: relaxed, body: relaxed },
    )))
}
