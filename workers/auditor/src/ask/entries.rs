//! Entries as they are.

use omnibus_runtime::{Answer, Ask, AskError};
use omnibus_schemas::auditor::{EntryPage, LogEntries, LogEntry};
use sqlx::PgConnection;

use super::index;
use crate::Auditor;
use crate::store::count;

/// Entries `from` and on, in order, up to `to` (not among them).
pub(super) async fn between(
    db: &mut PgConnection,
    tenant: &str,
    from: i64,
    to: i64,
    limit: i64,
) -> Result<Vec<LogEntry>, sqlx::Error> {
    let rows: Vec<(i64, String)> = sqlx::query_as(
        "select idx, leaf from auditor.entries where tenant = $1 and idx >= $2 and idx < $3 order by idx limit $4",
    )
    .bind(tenant)
    .bind(from)
    .bind(to)
    .bind(limit)
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|(index, leaf)| LogEntry { index: count(index), leaf }).collect())
}

impl Answer<LogEntries> for Auditor {
    async fn answer(&self, ask: &mut Ask<'_>, query: LogEntries) -> Result<EntryPage, AskError> {
        let limit = query.limit as usize;
        let from = index(query.from)?;
        let mut entries = between(ask.db, ask.tenant, from, i64::MAX, i64::from(query.limit) + 1).await?;
        let next = entries.get(limit).map(|entry| entry.index);
        entries.truncate(limit);
        Ok(EntryPage { entries, next })
    }
}
