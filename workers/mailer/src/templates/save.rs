//! Saves a version of a tenant's own template, if it is one.

use omnibus_runtime::{Cx, Events, Fail, Handle};
use omnibus_schemas::Fault;
use omnibus_schemas::mailer::{SaveTemplate, TemplateSaved};
use omnibus_templates::Source;
use sqlx::types::Json;

use crate::Mailer;
use crate::content;

/// Most templates of one tenant.
const TEMPLATES: i64 = 500;
/// Most bytes that the variables of one template may take, written as JSON: a page of fifty fits into an answer.
const VARIABLES: usize = 16 * 1024;

impl Handle<SaveTemplate> for Mailer {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: SaveTemplate) -> Result<Events, Fail> {
        let SaveTemplate { name, subject, text, html, variables, activate } = cmd;
        let source = Source { subject: Some(subject), text, html };
        if serde_json::to_vec(&variables)?.len() > VARIABLES {
            let fault =
                Fault::new("/variables", format!("take more than {VARIABLES} bytes: shorten their descriptions"));
            return Err(Fail::Invalid(vec![fault]));
        }
        let variables = content::make(&name, 0, &source, variables).map_err(Fail::Invalid)?.variables().to_vec();
        let others: i64 = sqlx::query_scalar("select count(*) from mailer.templates where tenant = $1 and name <> $2")
            .bind(cx.tenant())
            .bind(&name)
            .fetch_one(cx.db())
            .await?;
        if others >= TEMPLATES {
            return Err(Fail::reject("too_many_templates", format!("a tenant has at most {TEMPLATES} templates")));
        }
        let (version, revision): (i32, i64) = sqlx::query_as(
            "insert into mailer.templates as t (tenant, name, versions, active, revision, updated_at)
             values ($1, $2, 1, case when $3 then 1 end, 1, $4)
             on conflict (tenant, name) do update
             set versions = t.versions + 1, active = case when $3 then t.versions + 1 else t.active end,
                 revision = t.revision + 1, updated_at = $4
             returning versions, revision",
        )
        .bind(cx.tenant())
        .bind(&name)
        .bind(activate)
        .bind(cx.now())
        .fetch_one(cx.db())
        .await?;
        sqlx::query(
            "insert into mailer.template_versions
                 (tenant, name, version, subject, text, html, variables, created_at, created_by)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        )
        .bind(cx.tenant())
        .bind(&name)
        .bind(version)
        .bind(source.subject)
        .bind(source.text)
        .bind(source.html)
        .bind(Json(variables))
        .bind(cx.now())
        .bind(cx.meta().actor.clone())
        .execute(cx.db())
        .await?;
        let (version, revision) = (version.unsigned_abs(), revision.unsigned_abs());
        Ok(Events::none().about(name.clone(), TemplateSaved { name, version, active: activate, revision }))
    }
}
