//! What a mail says: the templates that everybody has, a tenant's own, and the brand that both are dressed in.

mod brands;
mod builtin;
mod inline;
mod layout;
mod sends;
#[cfg(test)]
mod tests;
mod versions;

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use omnibus_schemas::Fault;
use omnibus_schemas::brand::Brand;
use omnibus_templates::{Parts, Source, Template, Variable};
use serde_json::{Map, Value};
use sqlx::PgConnection;
use uuid::Uuid;

pub use brands::Brands;
pub(crate) use sends::{InUse, Made, in_use, keep_all};
pub(crate) use versions::stored;

use versions::Versions;

/// The version of what everybody has.
pub const BUILT_IN_VERSION: u32 = 0;

/// All that mails are made of.
#[derive(Debug)]
pub struct Content {
    built_in: BTreeMap<&'static str, (Arc<Template>, &'static str)>,
    versions: Versions,
    /// The tenants' brands.
    pub brands: Brands,
}

/// Which template.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted<'a> {
    /// Its name.
    pub name: &'a str,
    /// A version of the tenant's own, or 0 for the one that everybody has; the tenant's active one if absent, and
    /// else the one that everybody has.
    pub version: Option<u32>,
    /// The recipient's link out of such mails, shown at the foot of the layout.
    pub unsubscribe_url: Option<&'a str>,
}

/// A mail's words.
#[derive(Debug, Clone)]
pub struct Rendered {
    /// One line without control characters.
    pub subject: String,
    /// HTML with its styles in the elements.
    pub html: Option<String>,
    /// Plain text.
    pub text: String,
    /// The template's name.
    pub template: String,
    /// Its version; 0 for the one that everybody has.
    pub version: u32,
    /// The variables without the confidential ones: the only ones that may be stored.
    pub keepable: Map<String, Value>,
    /// Whether there were confidential ones: then neither the subject nor a body may be stored.
    pub confidential: bool,
    /// The brand it is dressed in, with its sender.
    pub brand: Arc<Brand>,
}

/// Why there are no words.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// No template of that name or version.
    #[error("{0}")]
    NoTemplate(String),
    /// The values, or the template with these values.
    #[error("{}", in_one_line(.0))]
    Faults(Vec<Fault>),
    /// The database's trouble; passes.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

fn in_one_line(faults: &[Fault]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl ContentError {
    /// Stable, for programs; `None` for what passes.
    pub fn code(&self) -> Option<&'static str> {
        match self {
            ContentError::NoTemplate(_) => Some("no_such_template"),
            ContentError::Faults(_) => Some("invalid_variables"),
            ContentError::Database(_) => None,
        }
    }
}

impl Content {
    /// Makes the templates that everybody has.
    pub fn new() -> anyhow::Result<Self> {
        let made = builtin::BUILT_IN.iter().map(|one| {
            let template = layout::make(one.name, BUILT_IN_VERSION, &one.source(), (one.variables)());
            let template = template.map_err(|faults| anyhow::anyhow!("{}: {}", one.name, in_one_line(&faults)))?;
            Ok((one.name, (Arc::new(template), one.summary)))
        });
        let built_in = made.collect::<anyhow::Result<_>>()?;
        Ok(Content { built_in, versions: Versions::default(), brands: Brands::default() })
    }

    /// A mail's words, in the tenant's brand. Every fault of the variables is told at once, with its name.
    pub async fn render(
        &self,
        db: &mut PgConnection,
        tenant: &str,
        wanted: &Wanted<'_>,
        variables: &Map<String, Value>,
    ) -> Result<Rendered, ContentError> {
        let template = self.template(db, tenant, wanted.name, wanted.version).await?;
        let brand = self.brands.of(tenant).await;
        let checked = template.check(variables).map_err(ContentError::Faults)?;
        let parts =
            template.render(&checked, &layout::values(&brand, wanted.unsubscribe_url)).map_err(ContentError::Faults)?;
        Ok(Rendered {
            subject: parts.subject.unwrap_or_default(),
            html: parts.html,
            text: parts.text,
            template: template.name().to_owned(),
            version: template.version(),
            keepable: template.keepable(variables),
            confidential: template.confidential().any(|name| variables.contains_key(name)),
            brand,
        })
    }

    /// The template that a send of this tenant would use.
    pub(crate) async fn template(
        &self,
        db: &mut PgConnection,
        tenant: &str,
        name: &str,
        version: Option<u32>,
    ) -> Result<Arc<Template>, ContentError> {
        let own = match version {
            Some(BUILT_IN_VERSION) => None,
            Some(version) => {
                let found = self.versions.find(db, tenant, name, version).await?;
                let missing = || ContentError::NoTemplate(format!("the template {name} has no version {version}"));
                return found.ok_or_else(missing);
            }
            None => self.versions.active(db, tenant, name).await?,
        };
        own.or_else(|| self.built_in(name)).ok_or_else(|| {
            let names: Vec<&str> = self.built_in.keys().copied().collect();
            ContentError::NoTemplate(format!(
                "there is no active template {name}; everybody has: {}; a tenant's own are listed with them",
                names.join(", ")
            ))
        })
    }

    /// The template of this name that everybody has.
    pub(crate) fn built_in(&self, name: &str) -> Option<Arc<Template>> {
        self.built_in.get(name).map(|(template, _)| template.clone())
    }

    /// What the template of this name that everybody has says with its examples, in this brand.
    pub fn specimen(&self, name: &str, brand: &Brand) -> Option<Result<Parts, Vec<Fault>>> {
        let template = self.built_in(name)?;
        Some(show(&template, &template.examples(), false, brand))
    }

    /// The names of the templates that everybody has.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.built_in.keys().copied()
    }

    /// The same as it was written, with its variables.
    pub(crate) fn written(&self, name: &str) -> Option<(Source, Vec<Variable>)> {
        let one = builtin::BUILT_IN.iter().find(|one| one.name == name)?;
        Some((one.source(), (one.variables)()))
    }

    /// Keeps by which template an email was made and of what, so that it can be rendered once more. Nothing
    /// confidential is kept.
    pub async fn keep(
        &self,
        db: &mut PgConnection,
        tenant: &str,
        email_id: Uuid,
        rendered: &Rendered,
        queued_at: DateTime<Utc>,
    ) -> Result<(), sqlx::Error> {
        keep_all(db, &[(tenant, email_id, Made::of(rendered), queued_at)]).await
    }

    /// The templates that everybody has, with what each is for.
    pub(crate) fn all_built_in(&self) -> impl Iterator<Item = (&Arc<Template>, &'static str)> {
        self.built_in.values().map(|(template, summary)| (template, *summary))
    }
}

/// A template as it is sent, from the parts that its author wrote.
pub(crate) fn make(name: &str, version: u32, own: &Source, variables: Vec<Variable>) -> Result<Template, Vec<Fault>> {
    layout::make(name, version, own, variables)
}

/// What a template says with these values in this brand. `kept` values are those of a mail that was sent: its
/// confidential ones were never stored, and stand there as such.
pub(crate) fn show(
    template: &Template,
    variables: &Map<String, Value>,
    kept: bool,
    brand: &Brand,
) -> Result<Parts, Vec<Fault>> {
    let checked = if kept { template.check_kept(variables) } else { template.check(variables) }?;
    template.render(&checked, &layout::values(brand, None))
}
