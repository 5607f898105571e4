//! What is handed out and comes back: a value and its signature (HMAC-SHA-256), as text that fits an address. Whoever holds it
//! can read it; nobody makes or changes one without the key.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::hmac;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What signs, and knows what it has signed.
#[derive(Debug, Clone)]
pub struct Signer(hmac::Key);

impl Signer {
    /// By this key, of any length.
    pub fn new(key: &[u8]) -> Self {
        Signer(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// The value, signed.
    ///
    /// # Panics
    /// If it can't be written as JSON.
    pub fn write(&self, value: &impl Serialize) -> String {
        let body = serde_json::to_vec(value).expect("it has string keys and no failing serializers");
        let sign = BASE64_URL_SAFE_NO_PAD.encode(hmac::sign(&self.0, &body));
        format!("{}.{sign}", BASE64_URL_SAFE_NO_PAD.encode(body))
    }

    /// The value; `None` if this key did not sign it.
    pub fn read<T: DeserializeOwned>(&self, text: &str) -> Option<T> {
        let (body, sign) = text.split_once('.')?;
        let body = BASE64_URL_SAFE_NO_PAD.decode(body).ok()?;
        let sign = BASE64_URL_SAFE_NO_PAD.decode(sign).ok()?;
        hmac::verify(&self.0, &body, &sign).ok()?;
        serde_json::from_slice(&body).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_gives_what_was_signed_and_nothing_else() {
        let (ours, others) = (Signer::new(&[1; 32]), Signer::new(&[2; 32]));
        let given = ("acme".to_owned(), 7_u32);
        let link = ours.write(&given);
        let read = |signer: &Signer, link: &str| signer.read::<(String, u32)>(link);
        assert_eq!(read(&ours, &link), Some(given));
        assert_eq!(read(&others, &link), None);
        let (body, sign) = link.split_once('.').unwrap();
        let other = ours.write(&("globex", 7));
        let (other, _) = other.split_once('.').unwrap();
        for forged in
            ["", ".", body, &format!("{other}.{sign}"), &format!("{body}."), &format!("{body}.{}", &sign[1..])]
        {
            assert_eq!(read(&ours, forged), None, "{forged}");
        }
    }
}
