//! Unsubscribe links. The token says which mail and which of its recipients it is for, and nobody but the mailer can make
//! one: it is signed (HMAC-SHA-256, 128 bits of it) with a key that the database made. No address stands in it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use sqlx::PgConnection;
use tokio::sync::OnceCell;
use uuid::Uuid;

use omnibus_runtime::Cx;

/// Bytes of the signature in a token.
const SIGNATURE: usize = 16;

/// Makes and reads tokens.
#[derive(Debug)]
pub(crate) struct Links {
    door: String,
    key: OnceCell<Key>,
}

#[derive(Clone)]
struct Key(Vec<u8>);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(..)")
    }
}

/// For whom a token is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bearer {
    pub(crate) tenant: String,
    pub(crate) email_id: Uuid,
    pub(crate) recipient: u32,
}

impl Links {
    pub(crate) fn new(door: String) -> Self {
        Links { door, key: OnceCell::new() }
    }

    /// The link for one recipient of one mail: the same on every attempt.
    pub(crate) async fn unsubscribe(
        &self,
        cx: &mut Cx<'_>,
        email_id: Uuid,
        recipient: u32,
    ) -> Result<String, sqlx::Error> {
        let bearer = Bearer { tenant: cx.tenant().to_owned(), email_id, recipient };
        let token = write(&self.key(cx.db()).await?.0, &bearer);
        Ok(format!("{}/unsubscribe/{token}", self.door))
    }

    /// For whom this token is; `None` if the mailer has not made it.
    pub(crate) async fn read(&self, db: &mut PgConnection, token: &str) -> Result<Option<Bearer>, sqlx::Error> {
        Ok(read(&self.key(db).await?.0, token))
    }

    async fn key(&self, db: &mut PgConnection) -> Result<&Key, sqlx::Error> {
        let made = async || sqlx::query_scalar("select secret from mailer.link_key").fetch_one(db).await.map(Key);
        self.key.get_or_try_init(made).await
    }
}

fn signature(key: &[u8], said: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(b"unsubscribe\0");
    mac.update(said);
    mac
}

fn write(key: &[u8], bearer: &Bearer) -> String {
    let mut said = bearer.email_id.as_bytes().to_vec();
    said.extend_from_slice(&bearer.recipient.to_be_bytes());
    said.extend_from_slice(bearer.tenant.as_bytes());
    let signature = signature(key, &said).finalize().into_bytes();
    let mut token = signature[..SIGNATURE].to_vec();
    token.extend(said);
    URL_SAFE_NO_PAD.encode(token)
}

fn read(key: &[u8], token: &str) -> Option<Bearer> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    let (given, said) = bytes.split_at_checked(SIGNATURE)?;
    signature(key, said).verify_truncated_left(given).ok()?;
    let (email_id, rest) = said.split_at_checked(16)?;
    let (recipient, tenant) = rest.split_at_checked(4)?;
    Some(Bearer {
        tenant: String::from_utf8(tenant.to_vec()).ok()?,
        email_id: Uuid::from_slice(email_id).ok()?,
        recipient: u32::from_be_bytes(recipient.try_into().ok()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer() -> Bearer {
        Bearer { tenant: "acme".into(), email_id: Uuid::from_u128(7), recipient: 3 }
    }

    #[test]
    fn a_token_is_read_back_and_no_changed_one_is() {
        let token = write(b"key", &bearer());
        assert_eq!(read(b"key", &token), Some(bearer()));
        assert_eq!(read(b"other key", &token), None);
        let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
        for n in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[n] ^= 1;
            assert_eq!(read(b"key", &URL_SAFE_NO_PAD.encode(&changed)), None, "byte {n}");
            assert_eq!(read(b"key", &URL_SAFE_NO_PAD.encode(&bytes[..n])), None, "cut at {n}");
        }
        assert_eq!(read(b"key", "no token"), None);
    }
}
