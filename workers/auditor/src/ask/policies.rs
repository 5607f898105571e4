//! Policies as they stand.

use omnibus_runtime::{Answer, Ask, AskError};
use omnibus_schemas::auditor::{Policies, Policy, PolicyList, PolicyState, PolicyText, PolicyVersion};
use sqlx::Row;
use sqlx::postgres::PgRow;

use crate::Auditor;
use crate::store::count;

/// Versions of a list at most.
const MOST: i64 = 1000;

fn version(row: &PgRow) -> anyhow::Result<PolicyVersion> {
    let (policy, state): (String, String) = (row.try_get("policy")?, row.try_get("state")?);
    Ok(PolicyVersion {
        policy: policy.parse()?,
        version: row.try_get::<i32, _>("version")?.unsigned_abs(),
        title: row.try_get("title")?,
        hash: row.try_get("hash")?,
        state: PolicyState::parse(&state).ok_or_else(|| anyhow::anyhow!("the state {state} is not known"))?,
        author: row.try_get("author")?,
        approver: row.try_get("approver")?,
        published_at: row.try_get("published_at")?,
        acknowledgements: count(row.try_get("acknowledgements")?),
    })
}

impl Answer<Policies> for Auditor {
    async fn answer(&self, ask: &mut Ask<'_>, _: Policies) -> Result<PolicyList, AskError> {
        let rows = sqlx::query(
            "select p.*, (select count(*) from auditor.acknowledgements a
                 where a.tenant = p.tenant and a.policy = p.policy and a.version = p.version) as acknowledgements
             from auditor.policies p where p.tenant = $1 order by p.policy, p.version desc limit $2",
        )
        .bind(ask.tenant)
        .bind(MOST)
        .fetch_all(&mut *ask.db)
        .await?;
        let versions = rows.iter().map(version).collect::<anyhow::Result<_>>().map_err(AskError::Failed)?;
        Ok(PolicyList { versions })
    }
}

impl Answer<Policy> for Auditor {
    async fn answer(&self, ask: &mut Ask<'_>, query: Policy) -> Result<PolicyText, AskError> {
        let row = sqlx::query(
            "select p.*, (select count(*) from auditor.acknowledgements a
                 where a.tenant = p.tenant and a.policy = p.policy and a.version = p.version) as acknowledgements
             from auditor.policies p
             where p.tenant = $1 and p.policy = $2 and (p.hash = $3 or ($3 is null and p.state = 'published'))",
        )
        .bind(ask.tenant)
        .bind(query.policy.as_str())
        .bind(query.hash)
        .fetch_optional(&mut *ask.db)
        .await?;
        let row = row.ok_or_else(|| AskError::NotFound("there is no such version, or none in force".to_owned()))?;
        let text = row.try_get("text")?;
        Ok(PolicyText { version: version(&row).map_err(AskError::Failed)?, text })
    }
}
