//! Makes sure that what the database says is active, and what it says is the newest, stand in their buckets: after the bus
//! was set up anew, say.

use std::sync::Arc;
use std::time::Duration;

use omnibus_runtime::Desk;
use omnibus_schemas::brand::DRAFTS;
use sqlx::Row;

use crate::Brander;
use crate::activation;
use crate::version::Version;

/// Between two looks.
const OFTEN: Duration = Duration::from_secs(600);

pub(crate) async fn keep(brander: Arc<Brander>, desk: Desk) -> anyhow::Result<()> {
    let Some(mut alone) = desk.alone("shown").await? else { return Ok(()) };
    loop {
        alone.still().await?;
        let (store, drafts) = (brander.brands().await?, brander.bucket(DRAFTS).await?);
        let mut after = String::new();
        loop {
            let rows = sqlx::query(
                "select tenant, active_version, active_revision from brander.tenants
                 where newest > 0 and tenant > $1 order by tenant limit 500",
            )
            .bind(&after)
            .fetch_all(&desk.db)
            .await?;
            let Some(last) = rows.last() else { break };
            after = last.try_get("tenant")?;
            for row in &rows {
                let (tenant, version): (String, Option<i32>) = (row.try_get("tenant")?, row.try_get("active_version")?);
                let revision = row.try_get::<i64, _>("active_revision")?.unsigned_abs();
                let mut db = desk.db.acquire().await?;
                if let Some(newest) = Version::find(&mut db, &tenant, None).await? {
                    let number = u64::from(newest.version);
                    let brand = newest.brand(&mut db, &tenant, number, brander.settings.base()).await?;
                    activation::put(&drafts, &tenant, &brand).await?;
                }
                let Some(version) = version else { continue };
                let Some(found) = Version::find(&mut db, &tenant, Some(version.unsigned_abs())).await? else {
                    continue;
                };
                let brand = found.brand(&mut db, &tenant, revision, brander.settings.base()).await?;
                activation::put(&store, &tenant, &brand).await?;
            }
        }
        if !desk.pause(OFTEN).await {
            return Ok(());
        }
    }
}
