//! Evidence that people file and take back, and the lists of it.

use chrono::{DateTime, Months, Utc};
use omnibus_runtime::{Answer, Ask, AskError, Cx, Events, Fail, Handle};
use omnibus_schemas::Token;
use omnibus_schemas::auditor::{
    EvidenceFile, EvidenceFiled, EvidenceItem, EvidenceItems, EvidenceWithdrawn, FileEvidence, WithdrawEvidence,
};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

use super::book::book;
use super::fault;
use crate::Auditor;
use crate::cursor::Page;
use crate::store::{count, number};

/// Evidence holds for so many months unless it says otherwise, and for twice as many at most.
const HOLDS: Months = Months::new(12);
const AT_MOST: Months = Months::new(24);

impl Handle<FileEvidence> for Auditor {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: FileEvidence) -> Result<Events, Fail> {
        book().control(&cmd.control).ok_or_else(|| fault("/control", "there is no such control"))?;
        let (tenant, now, evidence_id) = (cx.tenant(), cx.now(), cx.meta().id);
        let sha256 = cmd.sha256.map(|hash| hash.to_ascii_lowercase());
        match (&sha256, cmd.entry) {
            (None, None) | (Some(_), Some(_)) => {
                return Err(fault("/sha256", "either the hash of a file or an entry of the log must be named"));
            }
            (Some(hash), None) if !hash.bytes().all(|b| b.is_ascii_hexdigit()) => {
                return Err(fault("/sha256", "must be hexadecimal"));
            }
            (Some(_), None) => {}
            (None, Some(entry)) => {
                let size: Option<i64> = sqlx::query_scalar("select size from auditor.heads where tenant = $1")
                    .bind(tenant)
                    .fetch_optional(cx.db())
                    .await?;
                if size.is_none_or(|size| entry >= count(size)) {
                    return Err(fault("/entry", format!("the log has {} entries", size.unwrap_or_default())));
                }
            }
        }
        let effective_from = cmd.effective_from.unwrap_or(now);
        let after = |months| effective_from.checked_add_months(months);
        let expires_at = cmd.expires_at.or_else(|| after(HOLDS));
        let Some(expires_at) = expires_at.filter(|at| *at > effective_from && after(AT_MOST).is_some_and(|m| *at <= m))
        else {
            return Err(fault("/expires_at", "must be after effective_from, and at most two years after it"));
        };
        sqlx::query(
            "insert into auditor.evidence (tenant, evidence_id, control, title, sha256, place, entry, filed_by,
                 filed_at, effective_from, expires_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        )
        .bind(tenant)
        .bind(evidence_id)
        .bind(cmd.control.as_str())
        .bind(&cmd.title)
        .bind(&sha256)
        .bind(&cmd.place)
        .bind(cmd.entry.map(number))
        .bind(&cx.meta().actor)
        .bind(now)
        .bind(effective_from)
        .bind(expires_at)
        .execute(cx.db())
        .await?;
        let event =
            EvidenceFiled { evidence_id, control: cmd.control, sha256, entry: cmd.entry, effective_from, expires_at };
        self.told(cx, evidence_id.to_string(), event).await
    }
}

impl Handle<WithdrawEvidence> for Auditor {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: WithdrawEvidence) -> Result<Events, Fail> {
        let (tenant, now) = (cx.tenant(), cx.now());
        let control: Option<String> = sqlx::query_scalar(
            "update auditor.evidence set withdrawn_at = $3, reason = $4
             where tenant = $1 and evidence_id = $2 and withdrawn_at is null returning control",
        )
        .bind(tenant)
        .bind(cmd.evidence_id)
        .bind(now)
        .bind(&cmd.reason)
        .fetch_optional(cx.db())
        .await?;
        let none = || Fail::reject("no_such_evidence", "evidence_id: there is none of this id, or it was taken back");
        let control = token(&control.ok_or_else(none)?).map_err(Fail::Retry)?;
        let event = EvidenceWithdrawn { evidence_id: cmd.evidence_id, control, reason: cmd.reason };
        self.told(cx, cmd.evidence_id.to_string(), event).await
    }
}

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
