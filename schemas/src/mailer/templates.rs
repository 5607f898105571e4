//! Templates of emails: the ones that everybody has, and a tenant's own in versions that never change.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::body::Fault;
use crate::brand::Brand;
use crate::catalogue::Domain;
use crate::contract::{Command, Event, Http, Query};
use crate::template::{Kind, Variable};

pub(super) fn declare(domain: Domain) -> Domain {
    domain
        .command::<SaveTemplate>()
        .command::<ActivateTemplate>()
        .command::<DeleteTemplate>()
        .event::<TemplateSaved>()
        .event::<TemplateActivated>()
        .event::<TemplateDeleted>()
        .query::<Templates>()
        .query::<OneTemplate>()
        .query::<PreviewTemplate>()
        .query::<ReplayTemplate>()
        .reads(crate::brand::BUCKET)
        .reads(crate::brand::DRAFTS)
}

const SCOPE: &str = "email:templates";

fn yes() -> bool {
    true
}

/// Saves a new version of one of the tenant's own templates. One with the name of a template that everybody has takes
/// that one's place. A version never changes; what was sent by it can always be said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct SaveTemplate {
    /// The template's name: lower case letters, digits and underscores, a letter first, at most 64 characters.
    #[garde(length(min = 1, max = 64), pattern(r"^[a-z][a-z0-9_]*$"))]
    pub name: String,
    /// The subject, one line. Handlebars: `{{name}}`, `{{#if name}}`; every name must be declared in `variables`, or be
    /// one of those that are always there, such as `brand.name`.
    #[garde(length(min = 1, max = 2000))]
    pub subject: String,
    /// The text, at most 100 KiB.
    #[garde(length(min = 1, max = 102_400))]
    pub text: String,
    /// The same as HTML, at most 200 KiB. A fragment is put into the layout, in the tenant's brand; a document of its
    /// own (`<!doctype html>`) stays as it is. Styles are put into the elements.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(min = 1, max = 204_800)))]
    #[schemars(length(min = 1, max = 204_800))]
    pub html: Option<String>,
    /// What it is filled with, at most 100 variables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[garde(length(max = 100), dive)]
    pub variables: Vec<Variable>,
    /// Whether mails use it from now on. Otherwise it waits to be activated.
    #[serde(default = "yes")]
    #[garde(skip)]
    pub activate: bool,
}

impl Command for SaveTemplate {
    const DOMAIN: &'static str = "mailer";
    const NAME: &'static str = "save_template";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/email/templates/{name}"));
    const SCOPE: &'static str = SCOPE;

    fn example() -> Self {
        SaveTemplate {
            name: "welcome".into(),
            subject: "Good to have you, {{name}}".into(),
            text: "Hello {{name}},\n\nstart here: {{start_url}}".into(),
            html: Some("<h1>Hello {{name}}</h1>\n<p><a href=\"{{start_url}}\">Start here</a></p>".into()),
            variables: vec![
                Variable::new("name", Kind::Text, "Whom it greets.").max_len(100).example("Ada"),
                Variable::new("start_url", Kind::Url, "Where to begin.").example("https://northwind.example/start"),
            ],
            activate: true,
        }
    }
}

/// Makes mails use this version of one of the tenant's own templates from now on: to bring in a draft, or to go back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct ActivateTemplate {
    /// The template's name.
    #[garde(length(min = 1, max = 64), pattern(r"^[a-z][a-z0-9_]*$"))]
    pub name: String,
    /// One of its versions, from 1.
    #[garde(range(min = 1, max = 1_000_000))]
    pub version: u32,
}

impl Command for ActivateTemplate {
    const DOMAIN: &'static str = "mailer";
    const NAME: &'static str = "activate_template";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/email/templates/{name}/activate"));
    const SCOPE: &'static str = SCOPE;

    fn example() -> Self {
        ActivateTemplate { name: "welcome".into(), version: 1 }
    }
}

/// Puts one of the tenant's own templates out of use: mails use the one that everybody has, where there is one. Its
/// versions stay, for what was sent by them, and can be activated again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct DeleteTemplate {
    /// The template's name.
    #[garde(length(min = 1, max = 64), pattern(r"^[a-z][a-z0-9_]*$"))]
    pub name: String,
}

impl Command for DeleteTemplate {
    const DOMAIN: &'static str = "mailer";
    const NAME: &'static str = "delete_template";
    const HTTP: Option<Http> = Some(Http::delete("/api/v1/email/templates/{name}"));
    const SCOPE: &'static str = SCOPE;

    fn example() -> Self {
        DeleteTemplate { name: "welcome".into() }
    }
}

/// A version of a template was saved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TemplateSaved {
    /// The template's name.
    pub name: String,
    /// The new version.
    pub version: u32,
    /// Whether mails use it.
    pub active: bool,
    /// Grows with every change of the template.
    pub revision: u64,
}

impl Event for TemplateSaved {
    const DOMAIN: &'static str = "mailer";
    const NAME: &'static str = "template_saved";

    fn example() -> Self {
        TemplateSaved { name: "welcome".into(), version: 2, active: true, revision: 3 }
    }
}

/// Mails use another version of a template from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TemplateActivated {
    /// The template's name.
    pub name: String,
    /// The version that is used now.
    pub version: u32,
    /// The one that was used before; 0 for the one that everybody has, or none.
    pub before: u32,
    /// Grows with every change of the template.
    pub revision: u64,
}

impl Event for TemplateActivated {
    const DOMAIN: &'static str = "mailer";
    const NAME: &'static str = "template_activated";

    fn example() -> Self {
        TemplateActivated { name: "welcome".into(), version: 1, before: 2, revision: 4 }
    }
}

/// A tenant's own template is out of use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TemplateDeleted {
    /// The template's name.
    pub name: String,
    /// Whether mails of this name use the template that everybody has; otherwise they are refused.
    pub built_in: bool,
    /// Grows with every change of the template.
    pub revision: u64,
}

impl Event for TemplateDeleted {
    const DOMAIN: &'static str = "mailer";
    const NAME: &'static str = "template_deleted";

    fn example() -> Self {
        TemplateDeleted { name: "welcome".into(), built_in: true, revision: 5 }
    }
}

/// Lists the templates that mails can be sent by, with their variables: those that everybody has, and the tenant's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct Templates {
    /// Only those whose name comes after this one: the `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(max = 64)))]
    #[schemars(length(max = 64))]
    pub after: Option<String>,
    /// How many at most, 1 to 50.
    #[serde(default = "fifty")]
    #[garde(range(min = 1, max = 50))]
    pub limit: u32,
}

fn fifty() -> u32 {
    50
}

/// Whose a template is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Everybody has it.
    BuiltIn,
    /// The tenant's own.
    Own,
}

/// A page of templates, by name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TemplateList {
    /// The templates.
    pub templates: Vec<TemplateSummary>,
    /// Where the next page begins; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A template that mails can be sent by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TemplateSummary {
    /// Its name.
    pub name: String,
    /// Whose it is.
    pub origin: Origin,
    /// The version in use; 0 for one that everybody has.
    pub version: u32,
    /// What it is for, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// What it is filled with.
    pub variables: Vec<Variable>,
}

impl Query for Templates {
    type Answer = TemplateList;
    const DOMAIN: &'static str = "mailer";
    const NAME: &'static str = "templates";
    const HTTP: Option<Http> = Some(Http::get("/api/v1/email/templates"));
    const SCOPE: &'static str = "email:read";

    fn example() -> Self {
        Templates { after: None, limit: 50 }
    }
}

/// Asks for one template: its parts, its variables, its versions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct OneTemplate {
    /// Its name.
    #[garde(length(min = 1, max = 64), pattern(r"^[a-z][a-z0-9_]*$"))]
    pub name: String,
    /// A version, 0 for the one that everybody has; the one in use if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(range(max = 1_000_000)))]
    #[schemars(range(max = 1_000_000))]
    pub version: Option<u32>,
}

/// A template as it is written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TemplatePage {
    /// Its name.
    pub name: String,
    /// Whose it is.
    pub origin: Origin,
    /// This version; 0 for one that everybody has.
    pub version: u32,
    /// The version in use; absent if the template is out of use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<u32>,
    /// The subject.
    pub subject: String,
    /// The text.
    pub text: String,
    /// The HTML.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub html: Option<String>,
    /// What it is filled with.
    pub variables: Vec<Variable>,
    /// The tenant's own versions, the newest 50, newest first.
    pub versions: Vec<TemplateVersion>,
}

/// When a version was made, and by whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TemplateVersion {
    /// From 1.
    pub version: u32,
    /// When it was saved.
    pub created_at: DateTime<Utc>,
    /// Who saved it, as far as the door knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
}

impl Query for OneTemplate {
    type Answer = TemplatePage;
    const DOMAIN: &'static str = "mailer";
    const NAME: &'static str = "template";
    const HTTP: Option<Http> = Some(Http::get("/api/v1/email/templates/{name}"));
    const SCOPE: &'static str = "email:read";

    fn example() -> Self {
        OneTemplate { name: "welcome".into(), version: None }
    }
}

/// A template that is not saved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct TemplateDraft {
    /// As in a saved one.
    #[garde(length(min = 1, max = 2000))]
    pub subject: String,
    /// As in a saved one.
    #[garde(length(min = 1, max = 102_400))]
    pub text: String,
    /// As in a saved one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(min = 1, max = 204_800)))]
    #[schemars(length(min = 1, max = 204_800))]
    pub html: Option<String>,
    /// As in a saved one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[garde(length(max = 100), dive)]
    pub variables: Vec<Variable>,
}

/// Shows what a mail would say, without sending it: of a saved version or of a draft, in the active brand or in a draft of
/// one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct PreviewTemplate {
    /// The template's name.
    #[garde(length(min = 1, max = 64), pattern(r"^[a-z][a-z0-9_]*$"))]
    pub name: String,
    /// A version, 0 for the one that everybody has; the one in use if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(range(max = 1_000_000)))]
    #[schemars(range(max = 1_000_000))]
    pub version: Option<u32>,
    /// A template to show in its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(dive)]
    pub draft: Option<TemplateDraft>,
    /// What it is filled with; the variables' examples if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub variables: Option<BTreeMap<String, Value>>,
    /// A brand to dress it in; the active one if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(dive)]
    pub brand: Option<Brand>,
    /// In place of `brand`: the number of the tenant's newest look, as `POST /api/v1/whitelabel/branding` told it, or that of
    /// the active one. So a mail is seen in a look before anybody else sees it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(range(min = 1)))]
    #[schemars(range(min = 1))]
    pub brand_version: Option<u32>,
}

/// What a mail would say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Preview {
    /// The template's name.
    pub name: String,
    /// Its version; 0 for the one that everybody has; absent for a draft.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
    /// The subject.
    pub subject: String,
    /// The text.
    pub text: String,
    /// The HTML.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub html: Option<String>,
    /// The variables that would be stored nowhere.
    pub confidential: Vec<String>,
}

impl Query for PreviewTemplate {
    type Answer = Preview;
    const DOMAIN: &'static str = "mailer";
    const NAME: &'static str = "preview_template";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/email/templates/{name}/preview"));
    const SCOPE: &'static str = "email:read";

    fn example() -> Self {
        PreviewTemplate {
            name: "notification".into(),
            version: None,
            draft: None,
            variables: Some(BTreeMap::from([
                ("title".to_owned(), "Your parcel is on its way".into()),
                ("message".to_owned(), "It left our warehouse this morning.".into()),
            ])),
            brand: None,
            brand_version: None,
        }
    }
}

/// Renders mails that were sent by a template once more, by another version or a draft, and sends nothing: which of them
/// would come out, which would lack a variable, and what they would say. Confidential values were never stored, so
/// `[not kept]` stands for them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct ReplayTemplate {
    /// The template's name.
    #[garde(length(min = 1, max = 64), pattern(r"^[a-z][a-z0-9_]*$"))]
    pub name: String,
    /// A version, 0 for the one that everybody has; the one in use if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(range(max = 1_000_000)))]
    #[schemars(range(max = 1_000_000))]
    pub version: Option<u32>,
    /// A template to try in its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(dive)]
    pub draft: Option<TemplateDraft>,
    /// Mails that were accepted at this time or later; all that are still stored if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub since: Option<DateTime<Utc>>,
    /// This mail alone, with its whole text and HTML.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub email_id: Option<Uuid>,
    /// How many mails at most, the newest first, 1 to 500.
    #[serde(default = "hundred")]
    #[garde(range(min = 1, max = 500))]
    pub limit: u32,
}

fn hundred() -> u32 {
    100
}

/// What became of mails that were rendered once more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Replay {
    /// The version they were rendered by; absent for a draft.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
    /// How many came out.
    pub rendered: u32,
    /// How many did not.
    pub failed: u32,
    /// The mails, newest first.
    pub mails: Vec<ReplayedMail>,
}

/// A mail that was rendered once more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReplayedMail {
    /// The email's id.
    pub email_id: Uuid,
    /// When it was accepted.
    pub queued_at: DateTime<Utc>,
    /// The version it was sent by; 0 for the one that everybody has.
    pub sent_by_version: u32,
    /// What it would say in its subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Its text, if this mail alone was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Its HTML, if this mail alone was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub html: Option<String>,
    /// Why it does not come out, variable by variable.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fault>,
}

impl Query for ReplayTemplate {
    type Answer = Replay;
    const DOMAIN: &'static str = "mailer";
    const NAME: &'static str = "replay_template";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/email/templates/{name}/replay"));
    const SCOPE: &'static str = "email:read";

    fn example() -> Self {
        ReplayTemplate {
            name: "welcome".into(),
            version: Some(2),
            draft: None,
            since: None,
            email_id: None,
            limit: 100,
        }
    }
}
