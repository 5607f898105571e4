//! API keys: `omk_<tenant>_<64 hex digits>`. The bus keeps their SHA-256 and never the key: who reads the bucket can't
//! call with what he reads, and a look-up by hash tells nothing by its duration.

use std::fmt::Write as _;

use async_nats::jetstream::kv::{self, Operation, Store};
use async_nats::jetstream::{self};
use chrono::{DateTime, Utc};
use futures_util::TryStreamExt;
use omnibus_bus::BUCKET_KEYS;
use omnibus_runtime::clock;
use omnibus_schemas::Tenant;
use rand::TryRngCore;
use rand::rngs::OsRng;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// First letters of every key, so that scanners for leaked secrets know one.
const PREFIX: &str = "omk_";
/// 256 bits of chance.
const CHANCE: usize = 32;

/// A key as its holder has it. Shown once, when it is minted.
#[derive(Debug, Clone)]
pub struct ApiKey(SecretString);

/// SHA-256 of a whole key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyHash([u8; 32]);

/// What the bus knows of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRecord {
    /// Names the key in logs and envelopes without telling it.
    pub id: Uuid,
    /// Whose it is.
    pub tenant: Tenant,
    /// For people: `billing server`.
    pub name: String,
    /// What it may do: scopes, `email:*`, or `*`.
    pub scopes: Vec<String>,
    /// When it was minted.
    pub created_at: DateTime<Utc>,
    /// From when on it is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<DateTime<Utc>>,
}

/// Why the bucket of keys could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// It is not there, or does not answer.
    #[error("the bucket '{BUCKET_KEYS}' can't be opened: {0}; `omnibus bus apply` makes it")]
    Bucket(#[from] jetstream::context::KeyValueError),
    /// A value could not be written.
    #[error("the key could not be stored: {0}")]
    Store(#[from] kv::PutError),
    /// The values could not be listed.
    #[error("the keys could not be listed: {0}")]
    List(String),
    /// There is no key of this id.
    #[error("there is no key {0}")]
    Unknown(Uuid),
    /// A key could not be removed.
    #[error("the key could not be revoked: {0}")]
    Revoke(#[from] kv::DeleteError),
}

impl ApiKey {
    /// The key itself. For the one who shall hold it.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// What the bus may know.
    pub fn hash(&self) -> KeyHash {
        KeyHash::of(self.expose())
    }
}

impl KeyHash {
    /// Of a whole key, as it was sent.
    pub fn of(key: &str) -> Self {
        KeyHash(Sha256::digest(key).into())
    }

    /// From 64 lower-case hex digits, as in the bucket.
    pub fn parse(hex: &str) -> Option<Self> {
        let mut hash = [0; 32];
        if hex.len() != 64 || !hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return None;
        }
        for (byte, digits) in hash.iter_mut().zip(hex.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        }
        Some(KeyHash(hash))
    }
}

impl std::fmt::Display for KeyHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl KeyRecord {
    /// Is it refused by now?
    pub fn has_expired(&self) -> bool {
        self.expires_at.is_some_and(|at| at <= clock::now())
    }
}

/// Does a word look like a key? Then this is the tenant that it names.
pub(crate) fn tenant_in(key: &str) -> Option<&str> {
    let (tenant, chance) = key.strip_prefix(PREFIX)?.rsplit_once('_')?;
    (chance.len() == 2 * CHANCE && tenant.parse::<Tenant>().is_ok()).then_some(tenant)
}

/// Makes a key and its record. Nothing is stored: see [`put`].
///
/// # Panics
/// If the operating system has no chance to give.
pub fn mint(
    tenant: &Tenant,
    name: &str,
    scopes: impl IntoIterator<Item = impl Into<String>>,
    expires_at: Option<DateTime<Utc>>,
) -> (ApiKey, KeyRecord) {
    let mut chance = [0; CHANCE];
    OsRng.try_fill_bytes(&mut chance).expect("the operating system gives random bytes");
    let mut key = format!("{PREFIX}{tenant}_");
    for byte in chance {
        write!(key, "{byte:02x}").expect("a string takes whatever is written");
    }
    let record = KeyRecord {
        id: clock::new_id(),
        tenant: tenant.clone(),
        name: name.to_owned(),
        scopes: scopes.into_iter().map(Into::into).collect(),
        created_at: clock::now(),
        expires_at,
    };
    (ApiKey(key.into()), record)
}

/// Stores a minted key; doors take it from then on. The connection must be the operator's.
pub async fn put(js: &jetstream::Context, key: &ApiKey, record: &KeyRecord) -> Result<(), KeysError> {
    let value = serde_json::to_vec(record).expect("a record is always written");
    js.get_key_value(BUCKET_KEYS).await?.put(key.hash().to_string(), value.into()).await?;
    Ok(())
}

/// All keys that are stored, oldest first.
pub async fn list(js: &jetstream::Context) -> Result<Vec<KeyRecord>, KeysError> {
    let store = js.get_key_value(BUCKET_KEYS).await?;
    let mut records: Vec<_> = stored(&store).await?.into_iter().map(|(_, record)| record).collect();
    records.sort_by_key(|record| (record.created_at, record.id));
    Ok(records)
}

/// Revokes a key: doors refuse it as soon as they hear of it, which is at once.
pub async fn revoke(js: &jetstream::Context, id: Uuid) -> Result<KeyRecord, KeysError> {
    let store = js.get_key_value(BUCKET_KEYS).await?;
    let found = stored(&store).await?.into_iter().find(|(_, record)| record.id == id);
    let (hash, record) = found.ok_or(KeysError::Unknown(id))?;
    store.delete(hash).await?;
    Ok(record)
}

async fn stored(store: &Store) -> Result<Vec<(String, KeyRecord)>, KeysError> {
    let failed = |error: &dyn std::fmt::Display| KeysError::List(error.to_string());
    let names: Vec<String> = store.keys().await.map_err(|e| failed(&e))?.try_collect().await.map_err(|e| failed(&e))?;
    let mut records = Vec::with_capacity(names.len());
    for name in names {
        let Some(entry) = store.entry(&name).await.map_err(|e| failed(&e))? else { continue };
        if entry.operation == Operation::Put
            && let Ok(record) = serde_json::from_slice(&entry.value)
        {
            records.push((name, record));
        }
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minted_key_names_its_tenant_and_hides_in_debug_output() {
        let tenant: Tenant = "a_b-c".parse().unwrap();
        let (key, record) = mint(&tenant, "test", ["*"], None);
        assert_eq!(tenant_in(key.expose()), Some("a_b-c"));
        assert_eq!(record.tenant, tenant);
        assert!(!format!("{key:?}").contains(key.expose()));
        assert_ne!(mint(&tenant, "test", ["*"], None).0.hash(), key.hash());
    }

    #[test]
    fn a_hash_is_read_as_it_was_written() {
        let hash = KeyHash::of("omk_acme_x");
        assert_eq!(KeyHash::parse(&hash.to_string()), Some(hash));
        for bad in ["", "zz", &"A".repeat(64), &"é".repeat(32)] {
            assert_eq!(KeyHash::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_no_key_names_no_tenant() {
        let digits = "0".repeat(2 * CHANCE);
        let (nobodys, shouted, two) =
            (format!("omk__{digits}"), format!("omk_Acme_{digits}"), format!("omk_a.b_{digits}"));
        for bad in ["", "omk_", "omk_acme", "omk_acme_short", "eyJ.x.y", "sk_acme_0", &nobodys, &shouted, &two] {
            assert_eq!(tenant_in(bad), None, "{bad}");
        }
    }
}
