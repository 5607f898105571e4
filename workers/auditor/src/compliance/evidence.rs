//! Evidence that people file and take back, and the lists of it.

mod file_evidence;
mod withdraw_evidence;

use chrono::{DateTime, Utc};
use omnibus_runtime::{Answer, Ask, AskError};
use omnibus_schemas::Token;
use omnibus_schemas::auditor::{EvidenceFile, EvidenceItem, EvidenceItems};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

use crate::Auditor;
use crate::cursor::Page;
use crate::store::count;

/// A control's name as a row has it.
pub(super) fn token(name: &str) -> anyhow::Result<Token> {
    name.parse().map_err(|_| anyhow::anyhow!("a control's name is a token"))
}

fn item(row: &PgRow) -> anyhow::Result<EvidenceItem> {
    Ok(EvidenceItem {
        evidence_id: row.try_get("evidence_id")?,
        control: token(row.try_get("control")?)?,
        title: row.try_get("title")?,
        sha256: row.try_get("sha256")?,
        place: row.try_get("place")?,
        entry: row.try_get::<Option<i64>, _>("entry")?.map(count),
        by: row.try_get("filed_by")?,
        filed_at: row.try_get("filed_at")?,
        effective_from: row.try_get("effective_from")?,
        expires_at: row.try_get("expires_at")?,
        withdrawn_at: row.try_get("withdrawn_at")?,
    })
}

impl Answer<EvidenceFile> for Auditor {
    async fn answer(&self, ask: &mut Ask<'_>, query: EvidenceFile) -> Result<EvidenceItems, AskError> {
        let page = Page::of(query.after.as_deref(), query.limit)?;
        let rows = sqlx::query(
            "select * from auditor.evidence where tenant = $1 and ($2::text is null or control = $2)
                 and ($3::timestamptz is null or (filed_at, evidence_id) < ($3, $4))
             order by filed_at desc, evidence_id desc limit $5",
        )
        .bind(ask.tenant)
        .bind(query.control.as_ref().map(Token::as_str))
        .bind(page.at)
        .bind(page.id)
        .bind(page.rows())
        .fetch_all(&mut *ask.db)
        .await?;
        let mut items = rows.iter().map(item).collect::<anyhow::Result<Vec<_>>>().map_err(AskError::Failed)?;
        let next = page.cut(&mut items, |item| (item.filed_at, item.evidence_id));
        Ok(EvidenceItems { items, next })
    }
}

/// What is in force, newest first, a few for each control.
pub(super) async fn in_force(
    db: &mut PgConnection,
    tenant: &str,
    now: DateTime<Utc>,
) -> anyhow::Result<Vec<EvidenceItem>> {
    let rows = sqlx::query(
        "select * from (
             select *, row_number() over (partition by control order by filed_at desc, evidence_id desc) as n
             from auditor.evidence
             where tenant = $1 and withdrawn_at is null and effective_from <= $2 and expires_at > $2) e
         where n <= 20 order by filed_at desc, evidence_id desc",
    )
    .bind(tenant)
    .bind(now)
    .fetch_all(db)
    .await?;
    rows.iter().map(item).collect()
}
