//! A review is complete once every key is decided about, and those to be revoked are gone.

use omnibus_runtime::{Cx, Events, Fail, Handle};
use omnibus_schemas::auditor::{AccessReviewCompleted, CompleteAccessReview};

use super::open;
use crate::Auditor;
use crate::compliance::actor;
use crate::store::count;

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
