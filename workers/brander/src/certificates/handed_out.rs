//! Hands certificates to the doors: the bucket [`CERTIFICATES`] has one entry for each host that serves and has a good
//! certificate, and none for any other. The tables are the truth. One replica makes the bucket like them: host by host as the
//! database tells of changes, and all of it from time to time, so that no word that went missing lasts.
//!
//! The keys stay sealed on their way; doors have the key that opens them from their own settings.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::kv::{Operation, Store};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::TryStreamExt;
use omnibus_runtime::{Desk, clock};
use omnibus_schemas::brander::{CERTIFICATES, HostCertificate};
use sqlx::{PgPool, Row};
use tokio::sync::broadcast::error::RecvError;

use crate::Brander;

/// The longest that the bucket may differ from the tables, should the database's word not come through.
const AFRESH: Duration = Duration::from_secs(60);

/// Writes that met another writer's, before the trouble is told.
const TRIES: u32 = 16;

pub(crate) async fn keep(brander: Arc<Brander>, desk: Desk) -> anyhow::Result<()> {
    let Some(mut alone) = desk.alone("certificates").await? else { return Ok(()) };
    let store = brander.bucket(CERTIFICATES).await?;
    let mut told = brander.told.subscribe();
    let mut known = HashMap::new();
    loop {
        alone.still().await?;
        all(&desk.db, &store, &mut known).await?;
        let afresh = tokio::time::sleep(AFRESH);
        tokio::pin!(afresh);
        loop {
            let host = tokio::select! {
                host = told.recv() => host,
                () = &mut afresh => break,
                () = desk.stop.cancelled() => return Ok(()),
            };
            match host {
                Ok(host) => drop(agree(&desk.db, &store, &host).await?),
                Err(RecvError::Lagged(_)) => break,
                Err(RecvError::Closed) => return Ok(()),
            }
        }
    }
}

/// Every host. `known` is what was written when the bucket was last looked at: what has not changed since is not read again.
async fn all(db: &PgPool, store: &Store, known: &mut HashMap<String, DateTime<Utc>>) -> anyhow::Result<()> {
    let standing: Vec<String> = store.keys().await?.try_collect().await?;
    let wanted: HashMap<String, DateTime<Utc>> = sqlx::query_as::<_, (String, DateTime<Utc>)>(
        "select c.host, c.issued_at from brander.certificates c join brander.domains d using (tenant, host)
         where d.status in ('verified', 'failing') and c.until > $1",
    )
    .bind(clock::now())
    .fetch_all(db)
    .await?
    .into_iter()
    .collect();
    for host in standing.iter().filter(|host| !wanted.contains_key(*host)) {
        agree(db, store, host).await?;
    }
    known.retain(|host, _| standing.contains(host));
    for (host, issued_at) in wanted {
        if known.get(&host) != Some(&issued_at)
            && let Some(written) = agree(db, store, &host).await?
        {
            known.insert(host, written);
        }
    }
    Ok(())
}

/// Makes one host's entry what the tables say. The entry's revision is read before the tables and guards the write: whoever
/// wrote in between had read them later, perhaps. Gives back when the certificate that stands there now was made.
async fn agree(db: &PgPool, store: &Store, host: &str) -> anyhow::Result<Option<DateTime<Utc>>> {
    let mut last = None;
    for _ in 0..TRIES {
        let entry = store.entry(host).await?;
        let guard = entry.as_ref().map_or(0, |entry| entry.revision);
        let standing = entry.filter(|entry| entry.operation == Operation::Put).map(|entry| entry.value);
        let Some(certificate) = good(db, host).await? else {
            if standing.is_none() {
                return Ok(None);
            }
            match store.delete_expect_revision(host, Some(guard)).await {
                Ok(()) => return Ok(None),
                Err(error) => last = Some(anyhow::Error::from(error)),
            }
            continue;
        };
        let value = Bytes::from(serde_json::to_vec(&certificate)?);
        if standing.as_ref() == Some(&value) {
            return Ok(Some(certificate.issued_at));
        }
        match store.update(host, value, guard).await {
            Ok(_) => return Ok(Some(certificate.issued_at)),
            Err(error) => last = Some(error.into()),
        }
    }
    Err(last.unwrap_or_else(|| anyhow::anyhow!("never tried")))
}

/// The certificate to serve a host with, if it serves at all. A host serves one tenant at a time.
async fn good(db: &PgPool, host: &str) -> anyhow::Result<Option<HostCertificate>> {
    let row = sqlx::query(
        "select c.tenant, c.chain, c.sealed_key, c.until, c.issued_at
         from brander.certificates c join brander.domains d using (tenant, host)
         where c.host = $1 and d.status in ('verified', 'failing') and c.until > $2",
    )
    .bind(host)
    .bind(clock::now())
    .fetch_optional(db)
    .await?;
    let read = |row: sqlx::postgres::PgRow| -> Result<HostCertificate, sqlx::Error> {
        Ok(HostCertificate {
            tenant: row.try_get("tenant")?,
            chain: row.try_get("chain")?,
            sealed_key: BASE64_STANDARD.encode(row.try_get::<Vec<u8>, _>("sealed_key")?),
            until: row.try_get("until")?,
            issued_at: row.try_get("issued_at")?,
        })
    };
    Ok(row.map(read).transpose()?)
}
