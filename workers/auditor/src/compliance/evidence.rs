//! Evidence that people file and take back, and the lists of it.

mod download;
mod file_evidence;
pub(crate) mod keep;
mod upload_evidence;
mod withdraw_evidence;

use chrono::{DateTime, Months, Utc};
use omnibus_runtime::{Answer, Ask, AskError, Fail};
use omnibus_schemas::Token;
use omnibus_schemas::auditor::{EvidenceFile, EvidenceItem, EvidenceItems, EvidenceUpload};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

use super::fault;
use crate::Auditor;
use crate::cursor::Page;
use crate::store::count;

/// Evidence holds for so many months unless it says otherwise, and for twice as many at most.
const HOLDS: Months = Months::new(12);
const AT_MOST: Months = Months::new(24);

/// From when and until when it holds.
fn period(
    now: DateTime<Utc>,
    effective_from: Option<DateTime<Utc>>,
    expires_at: Option<DateTime<Utc>>,
) -> Result<(DateTime<Utc>, DateTime<Utc>), Fail> {
    let effective_from = effective_from.unwrap_or(now);
    let after = |months| effective_from.checked_add_months(months);
    let expires_at = expires_at.or_else(|| after(HOLDS));
    match expires_at.filter(|at| *at > effective_from && after(AT_MOST).is_some_and(|most| *at <= most)) {
        Some(expires_at) => Ok((effective_from, expires_at)),
        None => Err(fault("/expires_at", "must be after effective_from, and at most two years after it")),
    }
}

/// A control's name as a row has it.
pub(super) fn token(name: &str) -> anyhow::Result<Token> {
    name.parse().map_err(|_| anyhow::anyhow!("a control's name is a token"))
}

fn upload(row: &PgRow) -> anyhow::Result<Option<EvidenceUpload>> {
    let Some(filename) = row.try_get::<Option<String>, _>("filename")? else { return Ok(None) };
    Ok(Some(EvidenceUpload {
        filename,
        content_type: row.try_get("content_type")?,
        size: count(row.try_get("size")?),
        removed_at: row.try_get("removed_at")?,
    }))
}

fn item(row: &PgRow) -> anyhow::Result<EvidenceItem> {
    Ok(EvidenceItem {
        evidence_id: row.try_get("evidence_id")?,
        control: token(row.try_get("control")?)?,
        title: row.try_get("title")?,
        sha256: row.try_get("sha256")?,
        file: upload(row)?,
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
