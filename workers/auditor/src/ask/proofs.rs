//! Heads, and proofs under them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use omnibus_runtime::{Answer, Ask, AskError};
use omnibus_schemas::auditor::{
    Consistency, ConsistencyProof, EntryProof, Head, LogHead, ProvedEntry, Receipt, Receipts,
};

use super::{base64, index};
use crate::Auditor;
use crate::entry;
use crate::store::{self, count};
use crate::tree::{Place, WIDTH};

impl Answer<LogHead> for Auditor {
    async fn answer(&self, ask: &mut Ask<'_>, _: LogHead) -> Result<Head, AskError> {
        self.head(ask).await
    }
}

impl Auditor {
    async fn proved(&self, ask: &mut Ask<'_>, head: &Head, at: u64) -> Result<ProvedEntry, AskError> {
        let leaf: Option<String> =
            sqlx::query_scalar("select leaf from auditor.entries where tenant = $1 and idx = $2")
                .bind(ask.tenant)
                .bind(index(at)?)
                .fetch_optional(&mut *ask.db)
                .await?;
        let place = Place { level: 0, number: at / WIDTH };
        let tile = store::tile(ask.db, ask.tenant, place).await?;
        let leaf_hash = tile.and_then(|tile| tile.get((at % WIDTH) as usize).copied());
        let leaf_hash = leaf_hash.ok_or_else(|| AskError::Failed(anyhow::anyhow!("a tile is missing")))?;
        let path = store::ask(ask.db, ask.tenant, |tiles| tiles.inclusion(at, head.size)).await;
        let path = path.map_err(AskError::Failed)?;
        Ok(ProvedEntry {
            index: at,
            leaf,
            leaf_hash: STANDARD.encode(leaf_hash),
            path: base64(&path),
            head: head.clone(),
        })
    }
}

impl Answer<EntryProof> for Auditor {
    async fn answer(&self, ask: &mut Ask<'_>, query: EntryProof) -> Result<ProvedEntry, AskError> {
        let head = self.head(ask).await?;
        if query.index >= head.size {
            return Err(AskError::NotFound(format!("the log has {} entries, counted from 0", head.size)));
        }
        self.proved(ask, &head, query.index).await
    }
}

impl Answer<ConsistencyProof> for Auditor {
    async fn answer(&self, ask: &mut Ask<'_>, query: ConsistencyProof) -> Result<Consistency, AskError> {
        let head = self.head(ask).await?;
        let (from, to) = (query.from, query.to.unwrap_or(head.size));
        if from > to || to > head.size {
            return Err(AskError::Invalid(format!("from, to: must be in order and at most {}", head.size)));
        }
        let path = store::ask(ask.db, ask.tenant, |tiles| tiles.consistency(from, to)).await;
        Ok(Consistency { from, to, path: base64(&path.map_err(AskError::Failed)?) })
    }
}

impl Answer<Receipt> for Auditor {
    async fn answer(&self, ask: &mut Ask<'_>, query: Receipt) -> Result<Receipts, AskError> {
        let not_found = || AskError::NotFound("the log has no such message (yet)".to_owned());
        let keys = ["command", "event"].map(|kind| entry::key(kind, ask.tenant, &query.message_id));
        // By the key alone, which is the asker's own: asked for the tenant too, the planner may read its whole log.
        let found: Vec<(String, i64)> = sqlx::query_as("select tenant, idx from auditor.entries where key = any($1)")
            .bind(keys.as_slice())
            .fetch_all(&mut *ask.db)
            .await?;
        let own = found.into_iter().filter(|(tenant, _)| tenant == ask.tenant);
        let mut places: Vec<i64> = own.map(|(_, idx)| idx).collect();
        places.sort_unstable();
        if places.is_empty() {
            return Err(not_found());
        }
        let head = self.head(ask).await?;
        let mut entries = Vec::new();
        for place in places {
            entries.push(self.proved(ask, &head, count(place)).await?);
        }
        Ok(Receipts { entries })
    }
}
