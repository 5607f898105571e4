//! Answers. Every statement is bound to the tenant who asks.

mod entries;
mod export_page;
mod lists;
mod personal_fields;
mod policies;
mod proofs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use omnibus_runtime::{Ask, AskError};
use omnibus_schemas::auditor::Head;

use crate::Auditor;
use crate::note::VerifierKey;
use crate::store;
use crate::tree::Hash;

impl Auditor {
    /// The head of the asker's log.
    async fn head(&self, ask: &mut Ask<'_>) -> Result<Head, AskError> {
        let row: Option<(i64, Vec<u8>, String, DateTime<Utc>)> =
            sqlx::query_as("select size, root, checkpoint, signed_at from auditor.heads where tenant = $1")
                .bind(ask.tenant)
                .fetch_optional(&mut *ask.db)
                .await?;
        let (size, root, checkpoint, signed_at) = row.ok_or_else(empty)?;
        let key = VerifierKey::of(&self.settings.origin(ask.tenant), self.keys.pair().map_err(AskError::Failed)?);
        Ok(Head { size: store::count(size), root: STANDARD.encode(root), checkpoint, key: key.to_string(), signed_at })
    }
}

fn empty() -> AskError {
    AskError::NotFound("there is nothing in this log yet".to_owned())
}

fn base64(hashes: &[Hash]) -> Vec<String> {
    hashes.iter().map(|hash| STANDARD.encode(hash)).collect()
}

fn index(n: u64) -> Result<i64, AskError> {
    i64::try_from(n).map_err(|_| AskError::Invalid("no log has so many entries".to_owned()))
}
