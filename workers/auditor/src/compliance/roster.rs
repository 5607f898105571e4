//! The API keys, copied from their bucket into a table, so that a verdict about them can be reached inside a transaction.
//! Of each key its id, tenant, scopes and times; neither the key nor its hash.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use futures_util::TryStreamExt;
use omnibus_bus::BUCKET_KEYS;
use omnibus_runtime::Desk;
use serde::Deserialize;
use uuid::Uuid;

/// What the door keeps of a key, as far as it is of interest here.
#[derive(Deserialize)]
struct Key {
    id: Uuid,
    tenant: String,
    scopes: Vec<String>,
    created_at: DateTime<Utc>,
    #[serde(default)]
    expires_at: Option<DateTime<Utc>>,
}

/// Makes the table what the bucket is.
pub(super) async fn copy(desk: &Desk, now: DateTime<Utc>) -> anyhow::Result<()> {
    let store = desk.bus.jetstream().get_key_value(BUCKET_KEYS).await?;
    let mut keys: BTreeMap<Uuid, Key> = BTreeMap::new();
    let names: Vec<String> = store.keys().await?.try_collect().await?;
    for name in names {
        // A key that was revoked a moment ago is gone.
        let Some(value) = store.get(name).await? else { continue };
        let Ok(key) = serde_json::from_slice::<Key>(&value) else {
            tracing::warn!("a key's record can't be read; it is left out of the review of keys");
            continue;
        };
        keys.insert(key.id, key);
    }
    let keys: Vec<Key> = keys.into_values().collect();
    let mut transaction = desk.db.begin().await?;
    sqlx::query(
        "delete from auditor.keys k where not exists (
             select from unnest($1::text[], $2::uuid[]) as x(tenant, key_id)
             where x.tenant = k.tenant and x.key_id = k.key_id)",
    )
    .bind(keys.iter().map(|key| key.tenant.as_str()).collect::<Vec<_>>())
    .bind(keys.iter().map(|key| key.id).collect::<Vec<_>>())
    .execute(&mut *transaction)
    .await?;
    for key in keys {
        sqlx::query(
            "insert into auditor.keys (tenant, key_id, scopes, created_at, expires_at) values ($1, $2, $3, $4, $5)
             on conflict (tenant, key_id) do update set scopes = excluded.scopes, expires_at = excluded.expires_at
             where (auditor.keys.scopes, auditor.keys.expires_at) is distinct from (excluded.scopes, excluded.expires_at)",
        )
        .bind(key.tenant)
        .bind(key.id)
        .bind(key.scopes)
        .bind(key.created_at)
        .bind(key.expires_at)
        .execute(&mut *transaction)
        .await?;
    }
    sqlx::query(
        "insert into auditor.keys_read (read_at) values ($1) on conflict (only_row) do update set read_at = excluded.read_at",
    )
    .bind(now)
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(())
}
