//! Makes mails use a saved version, be it newer or older than the one before.

use omnibus_runtime::{Cx, Events, Fail, Handle};
use omnibus_schemas::mailer::{ActivateTemplate, TemplateActivated};

use crate::Mailer;

impl Handle<ActivateTemplate> for Mailer {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: ActivateTemplate) -> Result<Events, Fail> {
        let ActivateTemplate { name, version } = cmd;
        let found: Option<(i32, Option<i32>)> =
            sqlx::query_as("select versions, active from mailer.templates where tenant = $1 and name = $2 for update")
                .bind(cx.tenant())
                .bind(&name)
                .fetch_optional(cx.db())
                .await?;
        let Some((versions, before)) = found else {
            return Err(Fail::reject("no_such_template", format!("you have no template {name} of your own")));
        };
        let versions = versions.unsigned_abs();
        if version > versions {
            let detail = format!("the template {name} has the versions 1 to {versions}, and no version {version}");
            return Err(Fail::reject("no_such_version", detail));
        }
        let revision: i64 = sqlx::query_scalar(
            "update mailer.templates set active = $3, revision = revision + 1, updated_at = $4
             where tenant = $1 and name = $2 returning revision",
        )
        .bind(cx.tenant())
        .bind(&name)
        .bind(i32::try_from(version)?)
        .bind(cx.now())
        .fetch_one(cx.db())
        .await?;
        let (before, revision) = (before.unwrap_or(0).unsigned_abs(), revision.unsigned_abs());
        Ok(Events::none().about(name.clone(), TemplateActivated { name, version, before, revision }))
    }
}
