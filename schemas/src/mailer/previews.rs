//! Templates as they would come out: with example values, with given ones, or with those of mails that were sent. Nothing
//! leaves by any of this.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::body::Fault;
use crate::brand::Brand;
use crate::contract::{Http, Query};
use crate::template::Variable;

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
