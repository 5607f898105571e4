//! Holds and erasures.

use chrono::{DateTime, Utc};
use omnibus_runtime::{Answer, Ask, AskError};
use omnibus_schemas::auditor::{Erasure, ErasureList, Erasures, Hold, HoldList, Holds};
use uuid::Uuid;

use crate::Auditor;

impl Answer<Holds> for Auditor {
    async fn answer(&self, ask: &mut Ask<'_>, _: Holds) -> Result<HoldList, AskError> {
        let rows: Vec<(Uuid, String, DateTime<Utc>)> = sqlx::query_as(
            "select hold_id, reason, placed_at from auditor.holds where tenant = $1 and lifted_at is null
             order by placed_at, hold_id limit 1000",
        )
        .bind(ask.tenant)
        .fetch_all(&mut *ask.db)
        .await?;
        let hold = |(hold_id, reason, placed_at)| Hold { hold_id, reason, placed_at };
        Ok(HoldList { holds: rows.into_iter().map(hold).collect() })
    }
}

impl Answer<Erasures> for Auditor {
    async fn answer(&self, ask: &mut Ask<'_>, query: Erasures) -> Result<ErasureList, AskError> {
        let rows: Vec<(Uuid, String, String, DateTime<Utc>)> = sqlx::query_as(
            "select erasure_id, encode(pseudonym, 'hex'), reason, erased_at from auditor.erasures where tenant = $1
             order by erased_at desc, erasure_id limit $2",
        )
        .bind(ask.tenant)
        .bind(i64::from(query.limit))
        .fetch_all(&mut *ask.db)
        .await?;
        let erasure = |(erasure_id, pseudonym, reason, erased_at)| Erasure { erasure_id, pseudonym, reason, erased_at };
        Ok(ErasureList { erasures: rows.into_iter().map(erasure).collect() })
    }
}
