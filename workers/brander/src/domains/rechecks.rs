//! Brings each domain that serves to its next look.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use omnibus_runtime::{Desk, clock};
use omnibus_schemas::brander::RecheckDomain;
use sqlx::Row;
use uuid::Uuid;

use crate::Brander;

/// Between two looks at who is due.
const OFTEN: Duration = Duration::from_secs(60);

pub(crate) async fn watch(brander: Arc<Brander>, desk: Desk) -> anyhow::Result<()> {
    let Some(mut alone) = desk.alone("rechecks").await? else { return Ok(()) };
    let period = TimeDelta::hours(brander.settings.domain_check_hours.into());
    loop {
        alone.still().await?;
        let now = clock::now();
        let rows = sqlx::query(
            "select tenant, host, untold from brander.domains
             where untold or (status in ('verified', 'failing') and checked_at < $1)
             order by checked_at limit 500",
        )
        .bind(now - period)
        .fetch_all(&desk.db)
        .await?;
        for row in &rows {
            let (tenant, host): (String, String) = (row.try_get("tenant")?, row.try_get("host")?);
            // One check a minute at most, should a round be repeated before the checks of the last are done.
            let round = if row.try_get("untold")? { now.timestamp() / 60 } else { now.timestamp() / 600 };
            let occasion = format!("recheck/{tenant}/{host}/{round}");
            let id = Uuid::new_v5(&Uuid::NAMESPACE_OID, occasion.as_bytes());
            desk.publish(&tenant, id, &RecheckDomain { host }).await?;
        }
        if !desk.pause(OFTEN).await {
            return Ok(());
        }
    }
}
