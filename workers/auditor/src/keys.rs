//! What is derived from the one secret: the key that signs, the key that wraps people's keys, their pseudonyms, and the key
//! that signs links.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::OnceLock;

use anyhow::{Context, anyhow};
use omnibus_runtime::signed::Signer;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::Ed25519KeyPair;
use secrecy::{ExposeSecret, SecretString};

use crate::number;
use crate::settings::Settings;
use crate::tree::Hash;

/// A person's name in a tenant's log, which tells nothing to those who lack the secret.
pub(crate) type Pseudonym = [u8; 16];

/// The secret, known when it is first needed.
#[derive(Debug)]
pub(crate) struct Keys {
    given: Option<SecretString>,
    file: PathBuf,
    derived: OnceLock<Derived>,
}

#[derive(Debug)]
struct Derived {
    pair: Ed25519KeyPair,
    wrap: LessSafeKey,
    pepper: hmac::Key,
    links: Signer,
}

impl Keys {
    pub(crate) fn new(settings: &Settings) -> Self {
        Keys {
            given: settings.audit_secret.clone(),
            file: settings.audit_secret_file.clone(),
            derived: OnceLock::new(),
        }
    }

    fn derived(&self) -> anyhow::Result<&Derived> {
        if let Some(derived) = self.derived.get() {
            return Ok(derived);
        }
        let secret = match &self.given {
            Some(secret) => secret.clone(),
            None => self.kept().with_context(|| format!("the secret in {}", self.file.display()))?,
        };
        let root = hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes());
        let of = |purpose: &str| hmac::sign(&root, purpose.as_bytes());
        let derived = Derived {
            pair: Ed25519KeyPair::from_seed_unchecked(of("omnibus audit sign").as_ref())
                .map_err(|_| anyhow!("the signing key can't be derived"))?,
            wrap: aead(of("omnibus audit wrap").as_ref()),
            pepper: hmac::Key::new(hmac::HMAC_SHA256, of("omnibus audit pseudonyms").as_ref()),
            links: Signer::new(of("omnibus audit links").as_ref()),
        };
        Ok(self.derived.get_or_init(|| derived))
    }

    /// What signs checkpoints and tombstones.
    pub(crate) fn pair(&self) -> anyhow::Result<&Ed25519KeyPair> {
        Ok(&self.derived()?.pair)
    }

    /// What signs links to files of evidence.
    pub(crate) fn links(&self) -> anyhow::Result<&Signer> {
        Ok(&self.derived()?.links)
    }

    /// A person's pseudonym. Case and outer blanks do not count, nor how a telephone number is written; `country` is the one
    /// inside which it may be dialled as it stands.
    pub(crate) fn pseudonym(&self, tenant: &str, subject: &str, country: Option<&str>) -> anyhow::Result<Pseudonym> {
        let text = format!("{tenant}\0{}", number::one_name(subject, country).to_lowercase());
        let tag = hmac::sign(&self.derived()?.pepper, text.as_bytes());
        Ok(tag.as_ref()[..16].try_into().expect("the digest has more bytes"))
    }

    /// A person's key as it is stored.
    pub(crate) fn wrap(&self, key: &[u8; 32], owner: &[u8]) -> anyhow::Result<Vec<u8>> {
        seal_with(&self.derived()?.wrap, key, owner)
    }

    /// The reverse.
    pub(crate) fn unwrap(&self, wrapped: &[u8], owner: &[u8]) -> anyhow::Result<[u8; 32]> {
        let plain = open_with(&self.derived()?.wrap, wrapped, owner).context("is AUDIT_SECRET another than it was?")?;
        plain.try_into().map_err(|_| anyhow!("a person's key has not 32 bytes"))
    }

    /// The secret in the file, made if there is none: who makes the file first has made the secret.
    fn kept(&self) -> anyhow::Result<SecretString> {
        if let Some(folder) = self.file.parent() {
            std::fs::create_dir_all(folder)?;
        }
        // Replicas share the folder, and each may be the first process of its container: a process's number is no name.
        let beside = self.file.with_extension(format!("new-{}", hex(&chance::<8>()?)));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(hex(&chance::<32>()?).as_bytes())?;
        file.sync_all()?;
        // A link fails where a rename would overwrite.
        let _ = std::fs::hard_link(&beside, &self.file);
        std::fs::remove_file(&beside)?;
        Ok(std::fs::read_to_string(&self.file)?.trim().to_owned().into())
    }
}

/// Random bytes.
pub(crate) fn chance<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| anyhow!("there are no random bytes"))?;
    Ok(bytes)
}

fn aead(key: &[u8]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("the key has 32 bytes"))
}

/// AES-256-GCM: a random nonce, then the sealed bytes. `about` is bound to them and not among them.
pub(crate) fn seal(key: &[u8; 32], plain: &[u8], about: &[u8]) -> anyhow::Result<Vec<u8>> {
    seal_with(&aead(key), plain, about)
}

/// The reverse.
pub(crate) fn open(key: &[u8; 32], sealed: &[u8], about: &[u8]) -> anyhow::Result<Vec<u8>> {
    open_with(&aead(key), sealed, about)
}

fn seal_with(key: &LessSafeKey, plain: &[u8], about: &[u8]) -> anyhow::Result<Vec<u8>> {
    let nonce = chance::<12>()?;
    let mut bytes = plain.to_vec();
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(about), &mut bytes)
        .map_err(|_| anyhow!("too much to seal"))?;
    Ok([nonce.as_slice(), &bytes].concat())
}

fn open_with(key: &LessSafeKey, sealed: &[u8], about: &[u8]) -> anyhow::Result<Vec<u8>> {
    let (nonce, bytes) = sealed.split_at_checked(12).context("what is sealed is too short")?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| anyhow!("a nonce has 12 bytes"))?;
    let mut bytes = bytes.to_vec();
    let plain = key.open_in_place(nonce, Aad::from(about), &mut bytes);
    Ok(plain.map_err(|_| anyhow!("what is sealed can't be opened"))?.to_vec())
}

/// Something that only this person's key and this message together give.
pub(crate) fn share(key: &[u8; 32], message: &[u8]) -> Hash {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message);
    tag.as_ref().try_into().expect("HMAC-SHA-256 has 32 bytes")
}

/// Lower case.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_that_begin_at_once_make_one_secret() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("new/secret");
        let secrets: Vec<String> = std::thread::scope(|scope| {
            let begin = || {
                let keys = Keys { given: None, file: file.clone(), derived: OnceLock::new() };
                scope.spawn(move || keys.kept().unwrap().expose_secret().to_owned())
            };
            let began: Vec<_> = (0..16).map(|_| begin()).collect();
            began.into_iter().map(|replica| replica.join().unwrap()).collect()
        });
        assert_eq!(secrets[0].len(), 64);
        assert!(secrets.iter().all(|secret| *secret == secrets[0]), "{secrets:?}");
        let left = std::fs::read_dir(file.parent().unwrap()).unwrap().count();
        assert_eq!(left, 1, "the secret alone");
    }
}
