//! A tenant's own templates. A version never changes, so what was made of one is kept in memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use omnibus_templates::{Source, Template, Variable};
use sqlx::types::Json;
use sqlx::{PgConnection, Row};

use super::{ContentError, layout};

/// Most templates kept in memory; beyond that, they are made again.
const KEPT: usize = 1000;

type Key = (String, String, u32);

/// What was made of the versions.
#[derive(Debug, Default)]
pub(crate) struct Versions {
    made: Mutex<HashMap<Key, Arc<Template>>>,
}

/// A version as its author wrote it.
pub(crate) struct Stored {
    pub(crate) source: Source,
    pub(crate) variables: Vec<Variable>,
}

/// A tenant's version, as it was written.
pub(crate) async fn stored(
    db: &mut PgConnection,
    tenant: &str,
    name: &str,
    version: u32,
) -> Result<Option<Stored>, sqlx::Error> {
    let Ok(number) = i32::try_from(version) else { return Ok(None) };
    let row = sqlx::query(
        "select subject, text, html, variables from mailer.template_versions
         where tenant = $1 and name = $2 and version = $3",
    )
    .bind(tenant)
    .bind(name)
    .bind(number)
    .fetch_optional(db)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let Json(variables) = row.try_get("variables")?;
    let (subject, text, html) = (Some(row.try_get("subject")?), row.try_get("text")?, row.try_get("html")?);
    Ok(Some(Stored { source: Source { subject, text, html }, variables }))
}

impl Versions {
    /// The tenant's active version, if it has one.
    pub(crate) async fn active(
        &self,
        db: &mut PgConnection,
        tenant: &str,
        name: &str,
    ) -> Result<Option<Arc<Template>>, ContentError> {
        let active: Option<i32> =
            sqlx::query_scalar("select active from mailer.templates where tenant = $1 and name = $2")
                .bind(tenant)
                .bind(name)
                .fetch_optional(&mut *db)
                .await?
                .flatten();
        match active {
            Some(version) => self.find(db, tenant, name, version.unsigned_abs()).await,
            None => Ok(None),
        }
    }

    /// One version, active or not.
    pub(crate) async fn find(
        &self,
        db: &mut PgConnection,
        tenant: &str,
        name: &str,
        version: u32,
    ) -> Result<Option<Arc<Template>>, ContentError> {
        let key = (tenant.to_owned(), name.to_owned(), version);
        if let Some(made) = self.made.lock().expect("no panic happens under this lock").get(&key) {
            return Ok(Some(made.clone()));
        }
        let Some(stored) = stored(db, tenant, name, version).await? else { return Ok(None) };
        let template = layout::make(name, version, &stored.source, stored.variables).map_err(ContentError::Faults)?;
        let template = Arc::new(template);
        let mut made = self.made.lock().expect("no panic happens under this lock");
        if made.len() >= KEPT {
            made.clear();
        }
        made.insert(key, template.clone());
        Ok(Some(template))
    }
}
