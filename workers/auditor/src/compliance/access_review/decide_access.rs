//! A key is kept or is to go. No key decides about itself.

use omnibus_runtime::{Cx, Events, Fail, Handle};
use omnibus_schemas::auditor::{AccessDecided, DecideAccess};

use super::open;
use crate::Auditor;
use crate::compliance::actor;
use crate::words::word;

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
