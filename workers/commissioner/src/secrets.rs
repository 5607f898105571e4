//! Secrets that are derived from one key, so that none of them is stored or travels over the bus.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::OnceLock;

use anyhow::Context;
use hmac::{Hmac, Mac};
use rand::TryRngCore;
use rand::rngs::OsRng;
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

use crate::settings::Settings;

/// The key, known when it is first needed.
#[derive(Debug)]
pub(crate) struct Secrets {
    given: Option<SecretString>,
    file: PathBuf,
    key: OnceLock<SecretString>,
}

impl Secrets {
    pub(crate) fn new(settings: &Settings) -> Self {
        Secrets {
            given: settings.partner_secret.clone(),
            file: settings.partner_secret_file.clone(),
            key: OnceLock::new(),
        }
    }

    /// The secret of one purpose: 64 hexadecimal digits.
    pub(crate) fn derive(&self, purpose: &[&str]) -> anyhow::Result<String> {
        Ok(hex(&hmac(self.key()?.as_bytes(), purpose.join("/").as_bytes()).finalize().into_bytes()))
    }

    /// How a shop signs what it reports for a program: the program's first secret, second, ...
    pub(crate) fn webhook(&self, tenant: &str, program: &str, generation: u32) -> anyhow::Result<String> {
        Ok(format!("whsec_{}", self.derive(&["webhook", tenant, program, &generation.to_string()])?))
    }

    fn key(&self) -> anyhow::Result<&str> {
        if let Some(key) = self.key.get() {
            return Ok(key.expose_secret());
        }
        let key = match &self.given {
            Some(key) => key.clone(),
            None => self.kept().with_context(|| format!("the key in {}", self.file.display()))?,
        };
        Ok(self.key.get_or_init(|| key).expose_secret())
    }

    /// The key in the file, made if there is none: who makes the file first has made the key.
    fn kept(&self) -> anyhow::Result<SecretString> {
        let mut chance = [0; 32];
        OsRng.try_fill_bytes(&mut chance).context("the operating system gives no random bytes")?;
        if let Some(folder) = self.file.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let beside = self.file.with_extension(format!("new-{}", std::process::id()));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(hex(&chance).as_bytes())?;
        file.sync_all()?;
        // A link fails where a rename would overwrite.
        let _ = std::fs::hard_link(&beside, &self.file);
        std::fs::remove_file(&beside)?;
        Ok(std::fs::read_to_string(&self.file)?.trim().to_owned().into())
    }
}

fn hmac(key: &[u8], text: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(text);
    mac
}

/// `t=<seconds>,v1=<hex>`: is it `key`'s signature of `<seconds>.<body>`? Compared in constant time. Gives back the time.
pub(crate) fn signed_at(key: &str, header: &str, body: &[u8]) -> Option<i64> {
    let part = |name: &str| header.split(',').find_map(|part| part.trim().strip_prefix(name));
    let time: i64 = part("t=")?.parse().ok()?;
    let mut mac = hmac(key.as_bytes(), format!("{time}.").as_bytes());
    mac.update(body);
    // Several `v1` may stand there while a key is changed.
    let any = header.split(',').filter_map(|part| unhex(part.trim().strip_prefix("v1=")?));
    any.into_iter().any(|given| mac.clone().verify_slice(&given).is_ok()).then_some(time)
}

/// What `signed_at` accepts.
pub fn sign(key: &str, time: i64, body: &[u8]) -> String {
    let mut mac = hmac(key.as_bytes(), format!("{time}.").as_bytes());
    mac.update(body);
    format!("t={time},v1={}", hex(&mac.finalize().into_bytes()))
}

/// Are they the same? Takes as long whichever character differs.
pub(crate) fn same(key: &str, given: &str) -> bool {
    let of = |text: &str| hmac(key.as_bytes(), text.as_bytes());
    of(given).verify_slice(&of(key).finalize().into_bytes()).is_ok()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes whatever is written");
        text
    })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    (0..32).map(|n| u8::from_str_radix(&text[2 * n..2 * n + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_holds_for_its_key_time_and_body_alone() {
        let good = sign("key", 1_790_000_000, b"{}");
        assert_eq!(signed_at("key", &good, b"{}"), Some(1_790_000_000));
        assert_eq!(signed_at("other", &good, b"{}"), None);
        assert_eq!(signed_at("key", &good, b"{ }"), None);
        assert_eq!(signed_at("key", &good.replace("t=179", "t=178"), b"{}"), None);
        for bad in ["", "t=1790000000", "v1=00", "t=x,v1=00", "t=1790000000,v1="] {
            assert_eq!(signed_at("key", bad, b"{}"), None, "{bad}");
        }
    }

    #[test]
    fn a_key_is_made_once_and_kept_to_oneself() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("below/secret");
        let secrets = || Secrets { given: None, file: file.clone(), key: OnceLock::new() };
        let first = secrets().webhook("acme", "main", 1).unwrap();
        assert_eq!(secrets().webhook("acme", "main", 1).unwrap(), first);
        assert_ne!(secrets().webhook("globex", "main", 1).unwrap(), first);
        assert_ne!(secrets().webhook("acme", "main", 2).unwrap(), first);
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
