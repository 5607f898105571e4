//! The templates that a tenant's mails can be sent by.

use std::collections::BTreeMap;

use omnibus_runtime::{Answer, Ask, AskError};
use omnibus_schemas::mailer::{Origin, TemplateList, TemplateSummary, Templates};
use omnibus_schemas::template::Variable;
use sqlx::types::Json;

use crate::Mailer;

impl Answer<Templates> for Mailer {
    async fn answer(&self, ask: &mut Ask<'_>, query: Templates) -> Result<TemplateList, AskError> {
        let after = query.after.unwrap_or_default();
        let built_in = self.content.all_built_in().filter(|(template, _)| template.name() > after.as_str());
        let mut found: BTreeMap<String, TemplateSummary> = built_in
            .map(|(template, summary)| {
                let summary = TemplateSummary {
                    name: template.name().to_owned(),
                    origin: Origin::BuiltIn,
                    version: template.version(),
                    summary: Some(summary.to_owned()),
                    variables: template.variables().to_vec(),
                };
                (template.name().to_owned(), summary)
            })
            .collect();
        let own: Vec<(String, i32, Json<Vec<Variable>>)> = sqlx::query_as(
            r#"select t.name, t.active, v.variables
               from mailer.templates t
               join mailer.template_versions v on v.tenant = t.tenant and v.name = t.name and v.version = t.active
               where t.tenant = $1 and t.name collate "C" > $2
               order by t.name collate "C" limit $3"#,
        )
        .bind(ask.tenant)
        .bind(&after)
        .bind(i64::from(query.limit) + 1)
        .fetch_all(&mut *ask.db)
        .await?;
        for (name, version, Json(variables)) in own {
            let summary = found.get(&name).and_then(|built_in| built_in.summary.clone());
            let (origin, version) = (Origin::Own, version.unsigned_abs());
            found.insert(name.clone(), TemplateSummary { name, origin, version, summary, variables });
        }
        let limit = query.limit as usize;
        let more = found.len() > limit;
        let templates: Vec<TemplateSummary> = found.into_values().take(limit).collect();
        let next = templates.last().filter(|_| more).map(|last| last.name.clone());
        Ok(TemplateList { templates, next })
    }
}
