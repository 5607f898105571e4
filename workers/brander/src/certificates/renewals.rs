//! Orders anew what ends within 30 days, and what came to nothing a day ago.

use std::sync::Arc;
use std::time::Duration;

use omnibus_runtime::{Desk, clock};
use omnibus_schemas::brander::OrderCertificate;
use sqlx::Row;
use uuid::Uuid;

use crate::Brander;

/// Between two looks.
const OFTEN: Duration = Duration::from_secs(3600);

pub(crate) async fn watch(brander: Arc<Brander>, desk: Desk) -> anyhow::Result<()> {
    if brander.authority.is_none() {
        return Ok(());
    }
    let Some(mut alone) = desk.alone("renewals").await? else { return Ok(()) };
    loop {
        alone.still().await?;
        let now = clock::now();
        let rows = sqlx::query(
            "select d.tenant, d.host from brander.domains d
             where d.status = 'verified' and (d.certificate_until is null or d.certificate_until < $1)
               and not exists (select from brander.certificate_orders o
                               where o.tenant = d.tenant and o.host = d.host and o.opened_at > $2)
             order by d.certificate_until nulls first limit 100",
        )
        .bind(now + chrono::TimeDelta::days(30))
        .bind(now - chrono::TimeDelta::days(1))
        .fetch_all(&desk.db)
        .await?;
        for row in &rows {
            let (tenant, host): (String, String) = (row.try_get("tenant")?, row.try_get("host")?);
            let occasion = format!("certificate/{tenant}/{host}/{}", now.date_naive());
            let id = Uuid::new_v5(&Uuid::NAMESPACE_OID, occasion.as_bytes());
            desk.publish(&tenant, id, &OrderCertificate { host }).await?;
        }
        if !desk.pause(OFTEN).await {
            return Ok(());
        }
    }
}
