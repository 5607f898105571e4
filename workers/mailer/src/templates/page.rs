//! One template, as its author wrote it, with its versions.

use chrono::{DateTime, Utc};
use omnibus_runtime::{Answer, Ask, AskError};
use omnibus_schemas::mailer::{OneTemplate, Origin, TemplatePage, TemplateVersion};
use omnibus_templates::Source;
use sqlx::PgConnection;

use crate::Mailer;
use crate::content::{BUILT_IN_VERSION, stored};

impl Answer<OneTemplate> for Mailer {
    async fn answer(&self, ask: &mut Ask<'_>, query: OneTemplate) -> Result<TemplatePage, AskError> {
        let OneTemplate { name, version } = query;
        let active: Option<i32> =
            sqlx::query_scalar("select active from mailer.templates where tenant = $1 and name = $2")
                .bind(ask.tenant)
                .bind(&name)
                .fetch_optional(&mut *ask.db)
                .await?
                .flatten();
        let active = active.map(i32::unsigned_abs).or_else(|| self.content.built_in(&name).map(|_| BUILT_IN_VERSION));
        let Some(version) = version.or(active) else {
            return Err(AskError::NotFound(format!("there is no template {name} in use")));
        };
        let versions = versions(ask.db, ask.tenant, &name).await?;
        let (origin, source, variables) = match version {
            BUILT_IN_VERSION => {
                let missing = || AskError::NotFound(format!("there is no template {name} that everybody has"));
                let (source, variables) = self.content.written(&name).ok_or_else(missing)?;
                (Origin::BuiltIn, source, variables)
            }
            version => {
                let found = stored(ask.db, ask.tenant, &name, version).await?;
                let missing = || AskError::NotFound(format!("the template {name} has no version {version}"));
                let found = found.ok_or_else(missing)?;
                (Origin::Own, found.source, found.variables)
            }
        };
        let Source { subject, text, html } = source;
        let subject = subject.unwrap_or_default();
        Ok(TemplatePage { name, origin, version, active, subject, text, html, variables, versions })
    }
}

async fn versions(db: &mut PgConnection, tenant: &str, name: &str) -> Result<Vec<TemplateVersion>, sqlx::Error> {
    let rows: Vec<(i32, DateTime<Utc>, Option<String>)> = sqlx::query_as(
        "select version, created_at, created_by from mailer.template_versions
         where tenant = $1 and name = $2 order by version desc limit 50",
    )
    .bind(tenant)
    .bind(name)
    .fetch_all(db)
    .await?;
    let version = |(version, created_at, created_by): (i32, _, _)| TemplateVersion {
        version: version.unsigned_abs(),
        created_at,
        created_by,
    };
    Ok(rows.into_iter().map(version).collect())
}
