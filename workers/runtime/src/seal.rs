//! Secrets that lie where others can read: sealed with AES-256-GCM, and bound to what they belong to, so that one that
//! was moved to another's place can't be opened there. One worker seals, another may open; they share the key by
//! configuration.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};

/// Seals and opens with one key.
pub struct Seal {
    key: LessSafeKey,
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seal")
    }
}

/// Why something can't be sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The key's text.
    #[error("must be 32 bytes in base64, as `openssl rand -base64 32` makes them")]
    Key,
    /// The operating system gave no random bytes.
    #[error("nothing can be sealed: the machine has no randomness")]
    Randomness,
    /// What was sealed.
    #[error("a secret can't be opened: it was sealed with another key, or for another")]
    Wrong,
}

impl Seal {
    /// From a key as settings have it.
    ///
    /// # Errors
    /// If it is not 32 bytes in base64.
    pub fn of_text(text: &str) -> Result<Self, SealError> {
        let bytes = BASE64_STANDARD.decode(text.trim()).map_err(|_| SealError::Key)?;
        let key: [u8; 32] = bytes.try_into().map_err(|_| SealError::Key)?;
        Ok(Seal::new(&key))
    }

    /// From the key itself.
    pub fn new(key: &[u8; 32]) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, key).expect("32 bytes are the cipher's key length");
        Seal { key: LessSafeKey::new(key) }
    }

    /// Seals. No two results are alike.
    ///
    /// # Errors
    /// If the machine has no randomness.
    pub fn close(&self, secret: &[u8], belongs_to: &str) -> Result<Vec<u8>, SealError> {
        let mut nonce = [0_u8; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(|_| SealError::Randomness)?;
        let mut text = secret.to_vec();
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(belongs_to), &mut text)
            .map_err(|_| SealError::Wrong)?;
        Ok([nonce.as_slice(), &text].concat())
    }

    /// Opens what [`Seal::close`] sealed for the same owner.
    ///
    /// # Errors
    /// If it was sealed with another key, for another owner, or changed since.
    pub fn open(&self, sealed: &[u8], belongs_to: &str) -> Result<Vec<u8>, SealError> {
        let (nonce, text) = sealed.split_at_checked(NONCE_LEN).ok_or(SealError::Wrong)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::Wrong)?;
        let mut text = text.to_vec();
        let open = self.key.open_in_place(nonce, Aad::from(belongs_to), &mut text).map_err(|_| SealError::Wrong)?;
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
    #[test]
    fn a_key_is_thirty_two_bytes_in_base64_and_is_not_printed() {
        let key = BASE64_STANDARD.encode([7; 32]);
        let sealed = Seal::new(&[7; 32]).close(b"secret", "x").unwrap();
        assert_eq!(Seal::of_text(&format!(" {key}\n")).unwrap().open(&sealed, "x").unwrap(), b"secret");
        assert!(!format!("{:?}", Seal::of_text(&key).unwrap()).contains(&key));
        for bad in ["", "c2hvcnQ=", "no base64!"] {
            assert_eq!(Seal::of_text(bad).unwrap_err(), SealError::Key, "{bad}");
        }
    }
}
