//! Private keys, as they lie in the database: sealed with AES-256-GCM under the key of the settings, and bound to what
//! they belong to, so that a row that was moved to another tenant's or host's place can't be opened there.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};

/// Seals and opens.
pub(crate) struct Seal {
    key: LessSafeKey,
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seal")
    }
}

impl Seal {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, key).expect("32 bytes are the cipher's key length");
        Seal { key: LessSafeKey::new(key) }
    }

    pub(crate) fn close(&self, secret: &[u8], belongs_to: &str) -> anyhow::Result<Vec<u8>> {
        let mut nonce = [0_u8; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(|_| anyhow::anyhow!("the machine has no randomness"))?;
        let mut text = secret.to_vec();
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(belongs_to), &mut text)
            .map_err(|_| anyhow::anyhow!("a private key can't be sealed"))?;
        Ok([nonce.as_slice(), &text].concat())
    }

    pub(crate) fn open(&self, sealed: &[u8], belongs_to: &str) -> anyhow::Result<Vec<u8>> {
        let wrong = || {
            anyhow::anyhow!("a private key can't be opened: it was sealed with another CERTIFICATE_KEY, or for another")
        };
        let (nonce, text) = sealed.split_at_checked(NONCE_LEN).ok_or_else(wrong)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| wrong())?;
        let mut text = text.to_vec();
        let open = self.key.open_in_place(nonce, Aad::from(belongs_to), &mut text).map_err(|_| wrong())?;
        Ok(open.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_is_opened_by_the_same_key_for_the_same_owner_alone() {
        let seal = Seal::new(&[7; 32]);
        let sealed = seal.close(b"secret", "acme/a.com").unwrap();
        assert!(!sealed.windows(6).any(|bytes| bytes == b"secret"));
        assert_eq!(seal.open(&sealed, "acme/a.com").unwrap(), b"secret");
        assert!(seal.open(&sealed, "globex/a.com").is_err());
        assert!(Seal::new(&[8; 32]).open(&sealed, "acme/a.com").is_err());
        assert!(seal.open(&sealed[..10], "acme/a.com").is_err());
        assert_ne!(seal.close(b"secret", "acme/a.com").unwrap(), sealed, "no two are alike");
    }
}
