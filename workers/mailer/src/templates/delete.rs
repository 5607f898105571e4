//! Puts a tenant's own template out of use. Its versions stay: what was sent by them can still be said.

use omnibus_runtime::{Cx, Events, Fail, Handle};
use omnibus_schemas::mailer::{DeleteTemplate, TemplateDeleted};

use crate::Mailer;

impl Handle<DeleteTemplate> for Mailer {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: DeleteTemplate) -> Result<Events, Fail> {
        let name = cmd.name;
        let revision: Option<i64> = sqlx::query_scalar(
            "update mailer.templates set active = null, revision = revision + 1, updated_at = $3
             where tenant = $1 and name = $2 and active is not null returning revision",
        )
        .bind(cx.tenant())
        .bind(&name)
        .bind(cx.now())
        .fetch_optional(cx.db())
        .await?;
        let Some(revision) = revision else {
            return Err(Fail::reject("no_such_template", format!("you have no template {name} of your own in use")));
        };
        let built_in = self.content.built_in(&name).is_some();
        let revision = revision.unsigned_abs();
        Ok(Events::none().about(name.clone(), TemplateDeleted { name, built_in, revision }))
    }
}
