//! What a mail would say, without sending it.

use std::sync::Arc;

use omnibus_runtime::{Answer, Ask, AskError};
use omnibus_schemas::mailer::{Preview, PreviewTemplate};

use super::{fitting, of_draft};
use crate::Mailer;
use crate::content;

impl Answer<PreviewTemplate> for Mailer {
    async fn answer(&self, ask: &mut Ask<'_>, query: PreviewTemplate) -> Result<Preview, AskError> {
        let PreviewTemplate { name, version, draft, variables, brand, brand_version } = query;
        let (template, version) = match draft {
            Some(draft) => (Arc::new(of_draft(&name, draft)?), None),
            None => {
                let template = self.content.template(ask.db, ask.tenant, &name, version).await?;
                let version = template.version();
                (template, Some(version))
            }
        };
        let variables = match variables {
            Some(variables) => variables.into_iter().collect(),
            None => template.examples(),
        };
        let brand = match (brand, brand_version) {
            (Some(_), Some(_)) => {
                return Err(AskError::Invalid("brand_version: stands in place of `brand`; give one of them".into()));
            }
            (Some(brand), None) => Arc::new(brand),
            (None, Some(number)) => self.look_of(ask.tenant, number).await?,
            (None, None) => self.content.brands.of(ask.tenant).await,
        };
        let parts = content::show(&template, &variables, false, &brand).map_err(AskError::Faults)?;
        fitting(Preview {
            name,
            version,
            subject: parts.subject.unwrap_or_default(),
            text: parts.text,
            html: parts.html,
            confidential: template.confidential().map(str::to_owned).collect(),
        })
    }
}
