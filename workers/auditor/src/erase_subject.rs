//! Destroys a person's key. The row stays, without the key: what comes later about the same person is not kept either.

use omnibus_runtime::{Cx, Events, Fail, Handle};
use omnibus_schemas::auditor::{EraseSubject, SubjectErased};

use crate::Auditor;
use crate::keys::hex;

impl Handle<EraseSubject> for Auditor {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: EraseSubject) -> Result<Events, Fail> {
        let (tenant, now, erasure_id) = (cx.tenant(), cx.now(), cx.meta().id);
        let pseudonym = self.keys.pseudonym(tenant, &cmd.subject, None).map_err(Fail::Retry)?;
        let known: Option<bool> = sqlx::query_scalar(
            "select wrapped is not null from auditor.subjects where tenant = $1 and pseudonym = $2 for update",
        )
        .bind(tenant)
        .bind(pseudonym.as_slice())
        .fetch_optional(cx.db())
        .await?;
        sqlx::query(
            "insert into auditor.subjects as s (tenant, pseudonym, wrapped, erased_at) values ($1, $2, null, $3)
             on conflict (tenant, pseudonym) do update
                 set wrapped = null, erased_at = coalesce(s.erased_at, excluded.erased_at)",
        )
        .bind(tenant)
        .bind(pseudonym.as_slice())
        .bind(now)
        .execute(cx.db())
        .await?;
        sqlx::query(
            "insert into auditor.erasures (tenant, erasure_id, pseudonym, reason, erased_at) values ($1, $2, $3, $4, $5)
             on conflict do nothing",
        )
        .bind(tenant)
        .bind(erasure_id)
        .bind(pseudonym.as_slice())
        .bind(&cmd.reason)
        .bind(now)
        .execute(cx.db())
        .await?;
        let pseudonym = hex(&pseudonym);
        let event =
            SubjectErased { erasure_id, pseudonym: pseudonym.clone(), reason: cmd.reason, known: known == Some(true) };
        self.record(cx, pseudonym, &event).await?;
        Ok(Events::of(event))
    }
}
