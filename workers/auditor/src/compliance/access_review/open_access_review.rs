//! A review takes the keys as they are now.

use omnibus_runtime::{Cx, Events, Fail, Handle};
use omnibus_schemas::auditor::{AccessReviewOpened, OpenAccessReview};

use crate::Auditor;
use crate::compliance::fault;

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
