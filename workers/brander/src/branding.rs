//! One version, whole.

use omnibus_runtime::{Answer, Ask, AskError};
use omnibus_schemas::brander::{Branding, BrandingReport};
use sqlx::Row;

use crate::Brander;
use crate::version::Version;

impl Answer<Branding> for Brander {
    async fn answer(&self, ask: &mut Ask<'_>, query: Branding) -> Result<BrandingReport, AskError> {
        let row = sqlx::query("select active_version, active_revision from brander.tenants where tenant = $1")
            .bind(ask.tenant)
            .fetch_optional(&mut *ask.db)
            .await?;
        let (active_version, active_revision) = match &row {
            Some(row) => (row.try_get::<Option<i32>, _>("active_version")?, row.try_get::<i64, _>("active_revision")?),
            None => (None, 0),
        };
        let active_version = active_version.map(i32::unsigned_abs);
        let found = Version::find(&mut *ask.db, ask.tenant, query.version.or(active_version)).await?;
        let found = found.ok_or_else(|| AskError::NotFound("there is no such version; set a look first".into()))?;
        Ok(BrandingReport {
            version: found.version,
            version_id: found.version_id,
            active: active_version == Some(found.version),
            active_revision: active_revision.unsigned_abs(),
            active_version,
            created_at: found.created_at,
            look: found.look,
            css: found.css,
            contrast_faults: found.contrast_faults,
            hints: found.hints,
        })
    }
}
