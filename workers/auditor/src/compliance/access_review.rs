//! Reviews of access: the keys as they are, decided about one by one.

use chrono::{DateTime, Utc};
use omnibus_runtime::{Answer, Ask, AskError, Cx, Events, Fail, Handle};
use omnibus_schemas::auditor::{
    AccessDecided, AccessReviewCompleted, AccessReviewItems, AccessReviewOpened, AccessReviewPage, AccessReviewReport,
    AccessReviewSummary, AccessReviews, CompleteAccessReview, DecideAccess, OpenAccessReview, ReviewedKey,
};
use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::{actor, fault};
use crate::Auditor;
use crate::cursor::Page;
use crate::store::count;
use crate::words::{read, word};

impl Handle<OpenAccessReview> for Auditor {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: OpenAccessReview) -> Result<Events, Fail> {
        let (tenant, now, review_id) = (cx.tenant(), cx.now(), cx.meta().id);
        if cmd.due_at <= now {
            return Err(fault("/due_at", "must be ahead"));
        }
        sqlx::query(
            "insert into auditor.access_reviews (tenant, review_id, title, opened_at, due_at) values ($1, $2, $3, $4, $5)",
        )
        .bind(tenant)
        .bind(review_id)
        .bind(&cmd.title)
        .bind(now)
        .bind(cmd.due_at)
        .execute(cx.db())
        .await?;
        let keys = sqlx::query(
            "insert into auditor.reviewed_keys (tenant, review_id, key_id, scopes, created_at)
             select tenant, $2, key_id, scopes, created_at from auditor.keys
             where tenant = $1 and (expires_at is null or expires_at > $3)",
        )
        .bind(tenant)
        .bind(review_id)
        .bind(now)
        .execute(cx.db())
        .await?;
        if keys.rows_affected() == 0 {
            return Err(Fail::reject("no_keys", "the tenant has no key, or the keys were not read yet"));
        }
        let event = AccessReviewOpened { review_id, keys: keys.rows_affected(), due_at: cmd.due_at };
        self.told(cx, review_id.to_string(), event).await
    }
}

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

impl Handle<DecideAccess> for Auditor {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: DecideAccess) -> Result<Events, Fail> {
        let by = actor(cx)?;
        open(cx, cmd.review_id).await?;
        if by == format!("key:{}", cmd.key_id) {
            return Err(Fail::reject("own_work", "key_id: a key can not decide about itself"));
        }
        let tenant = cx.tenant();
        let done = sqlx::query(
            "update auditor.reviewed_keys set decision = $4, decided_by = $5, note = $6
             where tenant = $1 and review_id = $2 and key_id = $3",
        )
        .bind(tenant)
        .bind(cmd.review_id)
        .bind(cmd.key_id)
        .bind(word(&cmd.decision))
        .bind(&by)
        .bind(&cmd.note)
        .execute(cx.db())
        .await?;
        if done.rows_affected() == 0 {
            return Err(Fail::reject("no_such_key", "key_id: the review has no key of this id"));
        }
        let event = AccessDecided { review_id: cmd.review_id, key_id: cmd.key_id, decision: cmd.decision, by };
        self.told(cx, cmd.review_id.to_string(), event).await
    }
}

impl Handle<CompleteAccessReview> for Auditor {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: CompleteAccessReview) -> Result<Events, Fail> {
        let by = actor(cx)?;
        open(cx, cmd.review_id).await?;
        let (tenant, now) = (cx.tenant(), cx.now());
        let (kept, revoked, undecided, alive): (i64, i64, i64, i64) = sqlx::query_as(
            "select count(*) filter (where r.decision = 'keep'), count(*) filter (where r.decision = 'revoke'),
                 count(*) filter (where r.decision is null),
                 count(*) filter (where r.decision = 'revoke' and k.key_id is not null)
             from auditor.reviewed_keys r
             left join auditor.keys k on k.tenant = r.tenant and k.key_id = r.key_id
                 and (k.expires_at is null or k.expires_at > $3)
             where r.tenant = $1 and r.review_id = $2",
        )
        .bind(tenant)
        .bind(cmd.review_id)
        .bind(now)
        .fetch_one(cx.db())
        .await?;
        if undecided > 0 {
            return Err(Fail::reject("undecided", format!("review_id: {undecided} keys are not decided about")));
        }
        if alive > 0 {
            return Err(Fail::reject(
                "not_revoked",
                format!("review_id: {alive} keys are to be revoked and still good"),
            ));
        }
        sqlx::query(
            "update auditor.access_reviews set completed_at = $3, completed_by = $4 where tenant = $1 and review_id = $2",
        )
        .bind(tenant)
        .bind(cmd.review_id)
        .bind(now)
        .bind(&by)
        .execute(cx.db())
        .await?;
        let (kept, revoked) = (count(kept), count(revoked));
        let event = AccessReviewCompleted { review_id: cmd.review_id, kept, revoked, by };
        self.told(cx, cmd.review_id.to_string(), event).await
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
