//! What the texter knows and nobody else does: one secret, from which a key is derived for each use.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use uuid::Uuid;

/// Sealed codes begin like this; no code that somebody types does.
const SEALED: &str = "sealed.";

/// The derived keys.
pub struct Secret {
    codes: LessSafeKey,
    hashes: hmac::Key,
    likenesses: hmac::Key,
    proofs: hmac::Key,
    nonces: hmac::Key,
    seal: LessSafeKey,
}

/// Not for logs.
impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

/// Parts with their lengths before them, so that no two lists look alike.
fn joined(parts: &[&[u8]]) -> Vec<u8> {
    let mut all = Vec::new();
    for part in parts {
        all.extend_from_slice(&(part.len() as u64).to_be_bytes());
        all.extend_from_slice(part);
    }
    all
}

fn about(check: &[&str]) -> Vec<u8> {
    let parts: Vec<&[u8]> = check.iter().map(|part| part.as_bytes()).collect();
    joined(&parts)
}

impl Secret {
    /// Shortest secret, in bytes.
    pub const MIN: usize = 32;

    /// From the configured secret.
    pub fn new(secret: &[u8]) -> Self {
        let root = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let derived = |label: &str| hmac::sign(&root, format!("omnibus texter {label}").as_bytes());
        let key = |label: &str| hmac::Key::new(hmac::HMAC_SHA256, derived(label).as_ref());
        let cipher = |label: &str| {
            let key = UnboundKey::new(&AES_256_GCM, derived(label).as_ref());
            LessSafeKey::new(key.expect("SHA-256 has the cipher's key size"))
        };
        Secret {
            codes: cipher("codes"),
            hashes: key("hashes"),
            likenesses: key("likenesses"),
            proofs: key("proofs"),
            nonces: key("nonces"),
            seal: cipher("seal"),
        }
    }

    /// A fresh secret from the system's generator.
    pub fn generate() -> anyhow::Result<Vec<u8>> {
        Ok(random::<32>()?.to_vec())
    }

    /// A code from the system's secure generator: each is as likely as any other.
    pub fn draw_code(digits: u32) -> anyhow::Result<String> {
        let many = 10u64.pow(digits.min(18));
        // The last, incomplete run of numbers is left out: else low codes would be likelier.
        let fair = u64::MAX - u64::MAX % many;
        loop {
            let number = u64::from_be_bytes(random()?);
            if number < fair {
                return Ok(format!("{:0width$}", number % many, width = digits as usize));
            }
        }
    }

    /// A code as it is kept until its text has left: only this secret opens it, for what it is bound to.
    pub fn seal_code(&self, bound: &Bound<'_>, code: &str) -> anyhow::Result<String> {
        closed(&self.codes, random()?, &bound.said(""), code)
    }

    /// The reverse. `None` if it was sealed with another secret or for something else.
    pub fn open_code(&self, bound: &Bound<'_>, sealed: &str) -> Option<String> {
        opened(&self.codes, &bound.said(""), sealed)
    }

    /// What is stored of a code.
    pub fn code_hash(&self, bound: &Bound<'_>, code: &str) -> Vec<u8> {
        hmac::sign(&self.hashes, &bound.said(code)).as_ref().to_vec()
    }

    /// Is this the code? Takes as long whatever is typed.
    pub fn is_code(&self, bound: &Bound<'_>, typed: &str, hash: &[u8]) -> bool {
        hmac::verify(&self.hashes, &bound.said(typed), hash).is_ok()
    }

    /// Tells texts apart without keeping them.
    pub fn likeness(&self, recipient: &str, text: &str) -> Vec<u8> {
        hmac::sign(&self.likenesses, &joined(&[recipient.as_bytes(), text.as_bytes()])).as_ref().to_vec()
    }

    /// A webhook's proof that it was it who wrote a command.
    pub fn proof(&self, parts: &[&str]) -> String {
        let parts: Vec<&[u8]> = parts.iter().map(|part| part.as_bytes()).collect();
        URL_SAFE_NO_PAD.encode(hmac::sign(&self.proofs, &joined(&parts)))
    }

    /// Is it?
    pub fn is_proof(&self, parts: &[&str], proof: &str) -> bool {
        let parts: Vec<&[u8]> = parts.iter().map(|part| part.as_bytes()).collect();
        let Ok(tag) = URL_SAFE_NO_PAD.decode(proof) else { return false };
        hmac::verify(&self.proofs, &joined(&parts), &tag).is_ok()
    }

    /// A code that only this secret opens, for this check: its tenant and its other fields. The same each time, so that a
    /// repeated request is the same command: the nonce is derived from what is sealed, and so is never used for two.
    pub fn seal(&self, check: &[&str], code: &str) -> anyhow::Result<String> {
        let about = about(check);
        let tag = hmac::sign(&self.nonces, &joined(&[b"nonce", &about, code.as_bytes()]));
        let nonce = tag.as_ref()[..NONCE_LEN].try_into().expect("a tag has 32 bytes");
        Ok(format!("{SEALED}{}", closed(&self.seal, nonce, &about, code)?))
    }

    /// What was typed.
    pub fn open(&self, check: &[&str], code: &str) -> Typed {
        let Some(sealed) = code.strip_prefix(SEALED) else { return Typed::Unsealed };
        opened(&self.seal, &about(check), sealed).map_or(Typed::Nonsense, Typed::Code)
    }
}

/// What stands in a check where the code is to be.
#[derive(Clone, PartialEq, Eq)]
pub enum Typed {
    /// What somebody typed, and nobody else has read.
    Code(String),
    /// A seal that is broken, or another check's.
    Nonsense,
    /// No seal: anybody may have read it.
    Unsealed,
}

/// What somebody typed is not for logs.
impl std::fmt::Debug for Typed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Typed::Code(_) => "Code",
            Typed::Nonsense => "Nonsense",
            Typed::Unsealed => "Unsealed",
        })
    }
}

fn random<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| anyhow::anyhow!("the system gives no random bytes"))?;
    Ok(bytes)
}

fn closed(key: &LessSafeKey, nonce: [u8; NONCE_LEN], about: &[u8], text: &str) -> anyhow::Result<String> {
    let mut text = text.as_bytes().to_vec();
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(about), &mut text)
        .map_err(|_| anyhow::anyhow!("the code can't be sealed"))?;
    Ok(URL_SAFE_NO_PAD.encode([&nonce[..], &text].concat()))
}

fn opened(key: &LessSafeKey, about: &[u8], sealed: &str) -> Option<String> {
    let bytes = URL_SAFE_NO_PAD.decode(sealed).ok()?;
    let (nonce, text) = bytes.split_at_checked(NONCE_LEN)?;
    let mut text = text.to_vec();
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let opened = key.open_in_place(nonce, Aad::from(about), &mut text).ok()?;
    String::from_utf8(opened.to_vec()).ok()
}

/// What a code is bound to: it is good for nothing else.
#[derive(Debug, Clone, Copy)]
pub struct Bound<'a> {
    /// Whose.
    pub tenant: &'a str,
    /// Sent to.
    pub recipient: &'a str,
    /// For.
    pub purpose: &'a str,
    /// In which verification.
    pub verification: Uuid,
}

impl Bound<'_> {
    fn said(&self, code: &str) -> Vec<u8> {
        joined(&[
            self.tenant.as_bytes(),
            self.recipient.as_bytes(),
            self.purpose.as_bytes(),
            self.verification.as_bytes(),
            code.as_bytes(),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret() -> Secret {
        Secret::new(b"a secret of the tests")
    }

    #[test]
    fn every_digit_is_as_likely_in_every_place() {
        let mut seen = [[0u32; 10]; 6];
        for _ in 0..20_000 {
            for (place, digit) in Secret::draw_code(6).unwrap().bytes().enumerate() {
                seen[place][usize::from(digit - b'0')] += 1;
            }
        }
        // 2000 each; ten standard deviations are 424: by chance, not once in 10^20 runs.
        assert!(seen.iter().flatten().all(|n| n.abs_diff(2000) < 424), "{seen:?}");
        for digits in 4..=10 {
            let code = Secret::draw_code(digits).unwrap();
            assert!(code.len() == digits as usize && code.bytes().all(|b| b.is_ascii_digit()), "{code}");
        }
    }

    #[test]
    fn a_kept_code_opens_for_what_it_is_bound_to_and_with_this_secret_alone() {
        let bound = Bound { tenant: "acme", recipient: "+14155552671", purpose: "login", verification: Uuid::nil() };
        let sealed = secret().seal_code(&bound, "123456").unwrap();
        assert!(!sealed.contains("123456"));
        assert_ne!(
            secret().seal_code(&bound, "123456").unwrap(),
            sealed,
            "two that are alike would tell of each other"
        );
        assert_eq!(secret().open_code(&bound, &sealed).as_deref(), Some("123456"));
        assert_eq!(Secret::new(b"another secret, longer").open_code(&bound, &sealed), None);
        assert_eq!(secret().open_code(&Bound { tenant: "globex", ..bound }, &sealed), None);
        assert_eq!(secret().open_code(&Bound { verification: Uuid::from_u128(1), ..bound }, &sealed), None);
        assert_eq!(secret().open_code(&bound, ""), None);
    }

    #[test]
    fn a_code_is_bound_to_tenant_recipient_purpose_and_verification() {
        let bound = Bound { tenant: "acme", recipient: "+14155552671", purpose: "login", verification: Uuid::nil() };
        let hash = secret().code_hash(&bound, "123456");
        assert!(secret().is_code(&bound, "123456", &hash));
        assert!(!secret().is_code(&bound, "123457", &hash));
        assert!(!secret().is_code(&bound, "", &hash));
        for other in [
            Bound { tenant: "globex", ..bound },
            Bound { recipient: "+14155552672", ..bound },
            Bound { purpose: "payout", ..bound },
            Bound { verification: Uuid::from_u128(1), ..bound },
        ] {
            assert!(!secret().is_code(&other, "123456", &hash), "{other:?}");
        }
    }

    #[test]
    fn a_seal_opens_for_its_tenant_and_for_nobody_else() {
        let sealed = secret().seal(&["acme", "login"], "123456").unwrap();
        assert!(!sealed.contains("123456"));
        assert_eq!(secret().seal(&["acme", "login"], "123456").unwrap(), sealed);
        assert_ne!(secret().seal(&["acme", "login"], "123457").unwrap(), sealed);
        assert_eq!(secret().open(&["acme", "login"], &sealed), Typed::Code("123456".into()));
        assert_eq!(secret().open(&["globex", "login"], &sealed), Typed::Nonsense);
        assert_eq!(secret().open(&["acme", "payout"], &sealed), Typed::Nonsense);
        assert_ne!(secret().seal(&["acme", "payout"], "123456").unwrap(), sealed);
        assert_eq!(secret().open(&["acme", "login"], &format!("{sealed}x")), Typed::Nonsense);
        assert_eq!(secret().open(&["acme", "login"], "sealed.AAAA"), Typed::Nonsense);
        assert_eq!(secret().open(&["acme", "login"], "123456"), Typed::Unsealed);
    }

    #[test]
    fn a_proof_is_for_what_it_was_given_for() {
        let proof = secret().proof(&["a", "bc"]);
        assert!(secret().is_proof(&["a", "bc"], &proof));
        assert!(!secret().is_proof(&["ab", "c"], &proof));
        assert!(!secret().is_proof(&["a", "bc"], ""));
    }
}
