//! The tenant's versions, newest first.

use omnibus_runtime::{Answer, Ask, AskError};
use omnibus_schemas::brander::{BrandingVersions, VersionRow, VersionsPage};
use sqlx::Row;

use crate::Brander;

impl Answer<BrandingVersions> for Brander {
    async fn answer(&self, ask: &mut Ask<'_>, query: BrandingVersions) -> Result<VersionsPage, AskError> {
        let rows = sqlx::query(
            "select version, version_id, created_at, activated_at, look->>'name' as name, contrast_faults,
                    version = (select active_version from brander.tenants t where t.tenant = $1) as active
             from brander.versions where tenant = $1 and version < $2 order by version desc limit $3",
        )
        .bind(ask.tenant)
        .bind(query.before.map_or(i32::MAX, |before| i32::try_from(before).unwrap_or(i32::MAX)))
        .bind(i64::from(query.limit) + 1)
        .fetch_all(&mut *ask.db)
        .await?;
        let limit = query.limit as usize;
        let versions: Result<Vec<_>, sqlx::Error> = rows
            .iter()
            .take(limit)
            .map(|row| {
                Ok(VersionRow {
                    version: row.try_get::<i32, _>("version")?.unsigned_abs(),
                    version_id: row.try_get("version_id")?,
                    created_at: row.try_get("created_at")?,
                    activated_at: row.try_get("activated_at")?,
                    active: row.try_get::<Option<bool>, _>("active")?.unwrap_or_default(),
                    name: row.try_get("name")?,
                    contrast_faults: row.try_get::<i32, _>("contrast_faults")?.unsigned_abs(),
                })
            })
            .collect();
        let versions = versions?;
        let next = if rows.len() > limit { versions.last().map(|row| row.version) } else { None };
        Ok(VersionsPage { versions, next })
    }
}
