//! What texts cost, and what stops them from costing more. Amounts are whole millionths of a currency.

use std::collections::BTreeMap;

use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::many::{NAME, named_values};
use super::send::SmsEncoding;
use super::{DOMAIN, a_message, is_false};
use crate::contract::{Command, Event, Http, Query};

/// The most that a budget may be: a million of the currency.
const MOST: u64 = 1_000_000_000_000;

/// A line of the ledger. A text's lines add up to what it costs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CostBooked {
    /// The text.
    pub message_id: Uuid,
    /// `estimate` when it leaves, `difference` when the provider's price is known, `release` when it did not leave.
    pub kind: String,
    /// In millionths; negative if it gives back.
    pub amount_micro: i64,
    /// ISO 4217.
    pub currency: String,
    /// The day it counts for, UTC: `2026-01-31`.
    pub day: String,
    /// The recipient's country, two letters.
    pub country: String,
    /// The template's name, if it came from one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// Which provider.
    pub provider: String,
}

impl Event for CostBooked {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "cost_booked";

    fn example() -> Self {
        CostBooked {
            message_id: a_message(),
            kind: "estimate".into(),
            amount_micro: 7900,
            currency: "USD".into(),
            day: "2026-01-31".into(),
            country: "US".into(),
            template: None,
            provider: "twilio".into(),
        }
    }
}

/// Asks what texts have cost, by day, country and template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct Costs {
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
    /// Only this country, two letters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(chars, min = 2, max = 2)))]
    #[schemars(length(min = 2, max = 2))]
    pub country: Option<String>,
}

/// One line of a cost report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CostLine {
    /// UTC.
    pub day: String,
    /// Two letters.
    pub country: String,
    /// The template's name; absent for texts without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// ISO 4217.
    pub currency: String,
    /// How many texts.
    pub messages: u64,
    /// In how many segments.
    pub segments: u64,
    /// What was estimated.
    pub estimate_micro: i64,
    /// What the providers' prices and texts that did not leave changed about it.
    pub difference_micro: i64,
    /// The sum of the two.
    pub amount_micro: i64,
}

/// The sum of all lines in one currency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CostTotal {
    /// ISO 4217.
    pub currency: String,
    /// How many texts.
    pub messages: u64,
    /// In how many segments.
    pub segments: u64,
    /// What they cost, as far as is known.
    pub amount_micro: i64,
}

/// What texts have cost. The lines add up to the totals.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CostReport {
    /// By day, country and template.
    pub lines: Vec<CostLine>,
    /// By currency.
    pub totals: Vec<CostTotal>,
}

impl Query for Costs {
    type Answer = CostReport;
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "costs";
    const HTTP: Option<Http> = Some(Http::get("/api/v1/sms/costs"));
    const SCOPE: &'static str = "sms:read";

    fn example() -> Self {
        Costs { from: None, to: None, country: None }
    }
}

/// Asks what a text would be, and cost. Nothing is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct EstimateSms {
    /// The recipient's number: E.164, or as it is dialled inside `country`.
    #[garde(length(chars, min = 1, max = 40))]
    pub to: String,
    /// Whose national numbers `to` is written in: two letters, ISO 3166-1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(chars, min = 2, max = 2)))]
    #[schemars(length(min = 2, max = 2))]
    pub country: Option<String>,
    /// The text, at most 1600 characters; or name a `template`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[garde(length(chars, max = 1600))]
    pub body: String,
    /// As in `send_sms`. A template is estimated as it is sent, without.
    #[serde(default, skip_serializing_if = "is_false")]
    #[garde(skip)]
    pub smart_encoding: bool,
    /// In place of a `body`: one of the templates that `GET /api/v1/sms/templates` lists, filled in as for
    /// `send_template`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(chars, min = 1, max = 64)))]
    #[schemars(length(min = 1, max = 64))]
    pub template: Option<String>,
    /// What stands in the template's places; each at most 500 characters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[garde(length(max = 30), custom(named_values))]
    #[schemars(extend(
        "maxProperties" = 30,
        "propertyNames" = json!({ "pattern": NAME }),
        "additionalProperties" = json!({ "type": "string", "maxLength": 500 })
    ))]
    pub variables: BTreeMap<String, String>,
    /// The template's language, such as `de`; English if absent or not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(chars, min = 2, max = 35)))]
    #[schemars(length(min = 2, max = 35))]
    pub locale: Option<String>,
}

/// What a text would be, and cost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Estimate {
    /// The recipient's country, two letters.
    pub country: String,
    /// How it would be packed.
    pub encoding: SmsEncoding,
    /// How many characters it has.
    pub characters: u32,
    /// In how many segments.
    pub segments: u32,
    /// The provider that would be chosen.
    pub provider: String,
    /// In millionths of the currency.
    pub estimate_micro: i64,
    /// ISO 4217.
    pub currency: String,
}

impl Query for EstimateSms {
    type Answer = Estimate;
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "estimate_sms";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/sms/estimate"));
    const SCOPE: &'static str = "sms:read";

    fn example() -> Self {
        EstimateSms {
            to: "+14155552671".into(),
            country: None,
            body: "Hello".into(),
            smart_encoding: false,
            template: None,
            variables: BTreeMap::new(),
            locale: None,
        }
    }
}

/// Caps what texts may cost in a day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct SetBudget {
    /// The country it is for, two letters; all of them together if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(chars, min = 2, max = 2)))]
    #[schemars(length(min = 2, max = 2))]
    pub country: Option<String>,
    /// For each day (UTC), in millionths of the currency.
    #[garde(range(max = MOST))]
    pub daily_micro: u64,
}

impl Command for SetBudget {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "set_budget";
    const HTTP: Option<Http> = Some(Http::put("/api/v1/sms/budgets"));
    const SCOPE: &'static str = "sms:operate";

    fn example() -> Self {
        SetBudget { country: None, daily_micro: 50_000_000 }
    }
}

/// A budget was set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BudgetSet {
    /// The country it is for; all of them together if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    /// For each day, in millionths of the currency.
    pub daily_micro: u64,
}

impl Event for BudgetSet {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "budget_set";

    fn example() -> Self {
        BudgetSet { country: None, daily_micro: 50_000_000 }
    }
}

/// Asks for today's budgets, what is spent of them, and which fuses have blown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct Budgets {}

/// A budget today.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Budget {
    /// The country it is for; all of them together if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    /// The cap of today, what was added by hand included.
    pub cap_micro: i64,
    /// What is spent today.
    pub spent_micro: i64,
    /// Has its fuse blown? Then nothing is sent under it until it is reset or the day ends.
    pub fuse_blown: bool,
    /// How many texts wait under blown fuses: in this country, or in all together.
    #[serde(default)]
    pub held: u64,
}

/// Today's budgets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BudgetList {
    /// Those that were set, were spent from, or have blown.
    pub budgets: Vec<Budget>,
}

impl Query for Budgets {
    type Answer = BudgetList;
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "budgets";
    const HTTP: Option<Http> = Some(Http::get("/api/v1/sms/budgets"));
    const SCOPE: &'static str = "sms:read";

    fn example() -> Self {
        Budgets {}
    }
}

/// A budget is spent: from now on, texts under it wait until it is reset or the day ends, and codes are refused. An alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SpendFuseTripped {
    /// The country it is for; all of them together if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    /// The day, UTC.
    pub day: String,
    /// The cap.
    pub cap_micro: i64,
    /// What is spent.
    pub spent_micro: i64,
    /// ISO 4217.
    pub currency: String,
}

impl Event for SpendFuseTripped {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "spend_fuse_tripped";

    fn example() -> Self {
        SpendFuseTripped {
            country: Some("US".into()),
            day: "2026-01-31".into(),
            cap_micro: 50_000_000,
            spent_micro: 50_003_200,
            currency: "USD".into(),
        }
    }
}

/// Puts a blown fuse in again, with more to spend today.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct ResetFuse {
    /// The country whose fuse it is; that of all together if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(chars, min = 2, max = 2)))]
    #[schemars(length(min = 2, max = 2))]
    pub country: Option<String>,
    /// What may be spent today on top of what is spent already, in millionths of the currency.
    #[garde(range(min = 1, max = MOST))]
    pub more_micro: u64,
    /// Why, for the record. 1 to 500 characters.
    #[garde(length(chars, min = 1, max = 500))]
    pub note: String,
}

impl Command for ResetFuse {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "reset_fuse";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/sms/fuse/reset"));
    const SCOPE: &'static str = "sms:operate";

    fn example() -> Self {
        ResetFuse { country: None, more_micro: 10_000_000, note: "the campaign is ours".into() }
    }
}

/// A fuse is in again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SpendFuseReset {
    /// The country whose fuse it is; that of all together if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    /// The day's cap now.
    pub cap_micro: i64,
    /// Why.
    pub note: String,
}

impl Event for SpendFuseReset {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "spend_fuse_reset";

    fn example() -> Self {
        SpendFuseReset { country: None, cap_micro: 60_000_000, note: "the campaign is ours".into() }
    }
}

/// A provider refuses everything, or carriers filter what it sends: it is left alone for a while. An alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProviderStopped {
    /// Which.
    pub provider: String,
    /// Its error code.
    pub error_code: u32,
    /// What it means.
    pub detail: String,
    /// For this tenant alone, or for all.
    pub tenant_only: bool,
}

impl Event for ProviderStopped {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "provider_stopped";

    fn example() -> Self {
        ProviderStopped {
            provider: "twilio".into(),
            error_code: 20003,
            detail: "the credentials are not taken".into(),
            tenant_only: false,
        }
    }
}

/// Uses a provider again that was left alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct ResumeProvider {
    /// Which. 1 to 40 characters.
    #[garde(length(chars, min = 1, max = 40))]
    pub provider: String,
    /// Why, for the record. 1 to 500 characters.
    #[garde(length(chars, min = 1, max = 500))]
    pub note: String,
}

impl Command for ResumeProvider {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "resume_provider";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/sms/providers/{provider}/resume"));
    const SCOPE: &'static str = "sms:operate";

    fn example() -> Self {
        ResumeProvider { provider: "twilio".into(), note: "the token is renewed".into() }
    }
}

/// A provider is used again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProviderResumed {
    /// Which.
    pub provider: String,
    /// Why.
    pub note: String,
}

impl Event for ProviderResumed {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "provider_resumed";

    fn example() -> Self {
        ProviderResumed { provider: "twilio".into(), note: "the token is renewed".into() }
    }
}
