//! Templates, batches, and counts of many texts.

use std::collections::BTreeMap;

use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::send::{Category, SmsEncoding};
use super::{DOMAIN, a_message};
use crate::contract::{Command, Event, Http, Query};

/// Names of variables, for the JSON Schema.
pub(super) const NAME: &str = "^[a-z][a-z0-9_]{0,39}$";

/// Are these names, with values of a length that is allowed?
pub(super) fn named_values(map: &BTreeMap<String, String>, _: &()) -> garde::Result {
    for (name, value) in map {
        let fits = name.len() <= 40
            && name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if !fits {
            return Err(garde::Error::new("a variable's name must be 1 to 40 characters of a-z, 0-9 and '_'"));
        }
        if value.chars().count() > 500 {
            return Err(garde::Error::new(format!("the variable {name} has more than 500 characters")));
        }
    }
    Ok(())
}

/// Sends one text from a template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct SendTemplate {
    /// The recipient's number: E.164, or as it is dialled inside `country`.
    #[garde(length(chars, min = 1, max = 40))]
    #[schemars(extend("x-personal" = "subject"))]
    pub to: String,
    /// Whose national numbers `to` is written in: two letters, ISO 3166-1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(chars, min = 2, max = 2)))]
    #[schemars(length(min = 2, max = 2))]
    pub country: Option<String>,
    /// Which template: one of those that `GET /api/v1/sms/templates` lists.
    #[garde(length(chars, min = 1, max = 64))]
    pub template: String,
    /// What stands in its places; each at most 500 characters.
    #[serde(default)]
    #[garde(length(max = 30), custom(named_values))]
    #[schemars(extend(
        "maxProperties" = 30,
        "propertyNames" = json!({ "pattern": NAME }),
        "additionalProperties" = json!({ "type": "string", "maxLength": 500 })
    ))]
    pub variables: BTreeMap<String, String>,
    /// The language, such as `de`; English if absent or not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(chars, min = 2, max = 35)))]
    #[schemars(length(min = 2, max = 35))]
    pub locale: Option<String>,
    /// The sender: one of those the texter is set up for. Its own choice if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(chars, min = 1, max = 40)))]
    #[schemars(length(min = 1, max = 40))]
    pub from: Option<String>,
    /// What kind of text it is; the template's own kind if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub category: Option<Category>,
    /// The recipient's time zone for quiet hours, an IANA name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(chars, min = 1, max = 64)))]
    #[schemars(length(min = 1, max = 64))]
    pub timezone: Option<String>,
}

impl Command for SendTemplate {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "send_template";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/sms/send-template"));
    const SCOPE: &'static str = "sms:send";
    const STATUS: Option<&'static str> = Some("/api/v1/sms/{id}/status");

    fn example() -> Self {
        SendTemplate {
            to: "+14155552675".into(),
            country: None,
            template: "welcome".into(),
            variables: [("brand".to_owned(), "Acme".to_owned()), ("name".to_owned(), "Ada".to_owned())].into(),
            locale: None,
            from: None,
            category: None,
            timezone: None,
        }
    }
}

/// One recipient of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct BatchRow {
    /// The recipient's number: E.164, or as it is dialled inside `country`.
    #[garde(length(chars, min = 1, max = 40))]
    #[schemars(extend("x-personal" = "subject"))]
    pub to: String,
    /// Whose national numbers `to` is written in: two letters, ISO 3166-1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(chars, min = 2, max = 2)))]
    #[schemars(length(min = 2, max = 2))]
    pub country: Option<String>,
    /// What stands in the template's places for this one, over those of the batch.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[garde(length(max = 30), custom(named_values))]
    #[schemars(extend(
        "maxProperties" = 30,
        "propertyNames" = json!({ "pattern": NAME }),
        "additionalProperties" = json!({ "type": "string", "maxLength": 500 })
    ))]
    pub variables: BTreeMap<String, String>,
}

/// Sends a template to many: each row becomes a command of its own, decided for itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct SendBatch {
    /// Which template.
    #[garde(length(chars, min = 1, max = 64))]
    pub template: String,
    /// What stands in its places for all.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[garde(length(max = 30), custom(named_values))]
    #[schemars(extend(
        "maxProperties" = 30,
        "propertyNames" = json!({ "pattern": NAME }),
        "additionalProperties" = json!({ "type": "string", "maxLength": 500 })
    ))]
    pub variables: BTreeMap<String, String>,
    /// The language for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(chars, min = 2, max = 35)))]
    #[schemars(length(min = 2, max = 35))]
    pub locale: Option<String>,
    /// What kind of texts they are; the template's own kind if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub category: Option<Category>,
    /// The recipients, 1 to 500.
    #[garde(length(min = 1, max = 500), dive)]
    pub rows: Vec<BatchRow>,
}

impl Command for SendBatch {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "send_batch";
    const LANE: &'static str = "bulk";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/sms/batch"));
    const SCOPE: &'static str = "sms:send";

    fn example() -> Self {
        SendBatch {
            template: "welcome".into(),
            variables: [("brand".to_owned(), "Acme".to_owned())].into(),
            locale: None,
            category: None,
            rows: vec![BatchRow {
                to: "+14155552676".into(),
                country: None,
                variables: [("name".to_owned(), "Ada".to_owned())].into(),
            }],
        }
    }
}

/// A batch was split into its texts, which are on their way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BatchAccepted {
    /// The batch, which is the command's id. The texts' commands name it as their correlation.
    pub batch_id: Uuid,
    /// How many texts.
    pub messages: u32,
}

impl Event for BatchAccepted {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "batch_accepted";

    fn example() -> Self {
        BatchAccepted { batch_id: a_message(), messages: 1 }
    }
}

/// Asks which templates there are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct SmsTemplates {}

/// One template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SmsTemplate {
    /// Its name.
    pub name: String,
    /// In which languages it is there.
    pub locales: Vec<String>,
    /// The variables it needs.
    pub variables: Vec<String>,
    /// What kind of text it is.
    pub category: Category,
    /// It with its sample variables, in English.
    pub sample: String,
    /// How the sample is packed.
    pub encoding: SmsEncoding,
    /// How many segments the sample has.
    pub segments: u32,
}

/// The templates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TemplateList {
    /// In order of name.
    pub templates: Vec<SmsTemplate>,
}

impl Query for SmsTemplates {
    type Answer = TemplateList;
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "sms_templates";
    const HTTP: Option<Http> = Some(Http::get("/api/v1/sms/templates"));
    const SCOPE: &'static str = "sms:read";

    fn example() -> Self {
        SmsTemplates {}
    }
}

/// Asks how many texts came how far, by day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct SmsStats {
    /// First day, UTC, `2026-01-31`; 30 days ago if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(chars, min = 10, max = 10)))]
    #[schemars(length(min = 10, max = 10))]
    pub from: Option<String>,
    /// Last day; today if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(chars, min = 10, max = 10)))]
    #[schemars(length(min = 10, max = 10))]
    pub to: Option<String>,
}

/// One day's counts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct DayStats {
    /// UTC.
    pub day: String,
    /// Texts that a provider took over, but for those that were taken back.
    pub sent: u64,
    /// Of those, on the recipient's device.
    pub delivered: u64,
    /// Refused, given up, or not delivered.
    pub failed: u64,
    /// Of which nobody knows.
    pub uncertain: u64,
    /// Texts that came in.
    pub received: u64,
    /// Codes sent.
    pub codes_sent: u64,
    /// Codes verified.
    pub codes_verified: u64,
    /// Checks that failed.
    pub checks_failed: u64,
}

/// Counts by day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StatsReport {
    /// Days on which anything happened, in order.
    pub days: Vec<DayStats>,
}

impl Query for SmsStats {
    type Answer = StatsReport;
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "sms_stats";
    const HTTP: Option<Http> = Some(Http::get("/api/v1/sms/stats"));
    const SCOPE: &'static str = "sms:read";

    fn example() -> Self {
        SmsStats { from: None, to: None }
    }
}
