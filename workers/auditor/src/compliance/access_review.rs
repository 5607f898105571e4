//! Reviews of access: the keys as they are, decided about one by one.

mod complete_access_review;
mod decide_access;
mod open_access_review;

use chrono::{DateTime, Utc};
use omnibus_runtime::{Answer, Ask, AskError, Cx, Fail};
use omnibus_schemas::auditor::{
    AccessReviewItems, AccessReviewPage, AccessReviewReport, AccessReviewSummary, AccessReviews, ReviewedKey,
};
use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::Auditor;
use crate::cursor::Page;
use crate::store::count;
use crate::words::read;

/// Locks a review that is not complete.
async fn open(cx: &mut Cx<'_>, review_id: Uuid) -> Result<(), Fail> {
    let tenant = cx.tenant();
    let completed: Option<Option<DateTime<Utc>>> = sqlx::query_scalar(
        "select completed_at from auditor.access_reviews where tenant = $1 and review_id = $2 for update",
    )
    .bind(tenant)
    .bind(review_id)
    .fetch_optional(cx.db())
    .await?;
    match completed {
        None => Err(Fail::reject("no_such_review", "review_id: there is no review of this id")),
        Some(Some(_)) => Err(Fail::reject("review_completed", "review_id: the review is complete")),
        Some(None) => Ok(()),
    }
}

const SUMMARY: &str = "select r.*, k.* from auditor.access_reviews r cross join lateral (
         select count(*) as keys, count(*) filter (where decision is null) as undecided
         from auditor.reviewed_keys k where k.tenant = r.tenant and k.review_id = r.review_id) k";

fn summary(row: &PgRow) -> Result<AccessReviewSummary, sqlx::Error> {
    Ok(AccessReviewSummary {
        review_id: row.try_get("review_id")?,
        title: row.try_get("title")?,
        opened_at: row.try_get("opened_at")?,
        due_at: row.try_get("due_at")?,
        completed_at: row.try_get("completed_at")?,
        keys: count(row.try_get("keys")?),
        undecided: count(row.try_get("undecided")?),
    })
}

impl Answer<AccessReviews> for Auditor {
    async fn answer(&self, ask: &mut Ask<'_>, query: AccessReviews) -> Result<AccessReviewItems, AskError> {
        let page = Page::of(query.after.as_deref(), query.limit)?;
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
            "{SUMMARY} where r.tenant = $1 and ($2::timestamptz is null or (r.opened_at, r.review_id) < ($2, $3))
             order by r.opened_at desc, r.review_id desc limit $4"
        )))
        .bind(ask.tenant)
        .bind(page.at)
        .bind(page.id)
        .bind(page.rows())
        .fetch_all(&mut *ask.db)
        .await?;
        let mut items = rows.iter().map(summary).collect::<Result<Vec<_>, _>>()?;
        let next = page.cut(&mut items, |item| (item.opened_at, item.review_id));
        Ok(AccessReviewItems { items, next })
    }
}

fn key(row: &PgRow) -> Result<ReviewedKey, sqlx::Error> {
    let decision: Option<String> = row.try_get("decision")?;
    Ok(ReviewedKey {
        key_id: row.try_get("key_id")?,
        scopes: row.try_get("scopes")?,
        created_at: row.try_get("created_at")?,
        decision: decision.as_deref().map(read).transpose()?,
        by: row.try_get("decided_by")?,
        note: row.try_get::<Option<String>, _>("note")?.filter(|note| !note.is_empty()),
    })
}

impl Answer<AccessReviewPage> for Auditor {
    async fn answer(&self, ask: &mut Ask<'_>, query: AccessReviewPage) -> Result<AccessReviewReport, AskError> {
        let row = sqlx::query(sqlx::AssertSqlSafe(format!("{SUMMARY} where r.tenant = $1 and r.review_id = $2")))
            .bind(ask.tenant)
            .bind(query.review_id)
            .fetch_optional(&mut *ask.db)
            .await?;
        let row = row.ok_or_else(|| AskError::NotFound("there is no such review".to_owned()))?;
        let keys = sqlx::query(
            "select * from auditor.reviewed_keys where tenant = $1 and review_id = $2 order by created_at, key_id limit 1000",
        )
        .bind(ask.tenant)
        .bind(query.review_id)
        .fetch_all(&mut *ask.db)
        .await?;
        let keys = keys.iter().map(key).collect::<Result<_, _>>()?;
        Ok(AccessReviewReport { review: summary(&row)?, keys })
    }
}
