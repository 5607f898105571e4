//! The register of risks: each rated, and something decided about it.

use chrono::{DateTime, Utc};
use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{DOMAIN, ONE_LINE, a_page, example_control, example_id, example_time, one_line};
use crate::Token;
use crate::contract::{Command, Event, Http, Query};

/// Puts a risk into the register.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct RecordRisk {
    /// What may happen. 1 to 200 characters.
    #[garde(length(chars, min = 1, max = 200), custom(one_line))]
    #[schemars(regex(pattern = ONE_LINE))]
    pub title: String,
    /// The control that it is about, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub control: Option<Token>,
    /// How likely it is: 1 (hardly ever) to 5 (any day).
    #[garde(range(min = 1, max = 5))]
    pub likelihood: u8,
    /// How bad it would be: 1 (a nuisance) to 5 (the end).
    #[garde(range(min = 1, max = 5))]
    pub impact: u8,
    /// Who looks after it. 1 to 200 characters.
    #[garde(length(chars, min = 1, max = 200), custom(one_line))]
    #[schemars(regex(pattern = ONE_LINE))]
    pub owner: String,
}

impl Command for RecordRisk {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "record_risk";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/compliance/risks"));
    const SCOPE: &'static str = "compliance:write";

    fn example() -> Self {
        RecordRisk {
            title: "A key of somebody who has left is used".into(),
            control: Some(example_control()),
            likelihood: 2,
            impact: 4,
            owner: "head of operations".into(),
        }
    }
}

/// A risk is in the register.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RiskRecorded {
    /// Its id, which is the command's.
    pub risk_id: Uuid,
    /// The control that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control: Option<Token>,
    /// Likelihood times impact, 1 to 25.
    pub score: u32,
}

impl Event for RiskRecorded {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "risk_recorded";

    fn example() -> Self {
        RiskRecorded { risk_id: example_id(0x31), control: Some(example_control()), score: 8 }
    }
}

/// What is done about a risk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RiskTreatment {
    /// It is made less.
    Mitigate,
    /// It is lived with, until the next review.
    Accept,
    /// Somebody else bears it.
    Transfer,
    /// What brings it is given up.
    Avoid,
    /// There is no such risk any more.
    Close,
}

/// Decides about a risk, until it is looked at again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct TreatRisk {
    /// Which.
    #[garde(skip)]
    pub risk_id: Uuid,
    /// What is done about it.
    #[garde(skip)]
    pub treatment: RiskTreatment,
    /// Why, and how. 1 to 2000 characters.
    #[garde(length(chars, min = 1, max = 2000), custom(one_line))]
    #[schemars(regex(pattern = ONE_LINE))]
    pub note: String,
    /// When it is looked at again: at most a year ahead.
    #[garde(skip)]
    pub review_by: DateTime<Utc>,
}

impl Command for TreatRisk {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "treat_risk";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/compliance/risks/{risk_id}/treatment"));
    const SCOPE: &'static str = "compliance:approve";

    fn example() -> Self {
        TreatRisk {
            risk_id: example_id(0x31),
            treatment: RiskTreatment::Accept,
            note: "Until single sign-on is there".into(),
            review_by: example_time("2026-12-01T00:00:00Z"),
        }
    }
}

/// Something was decided about a risk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RiskTreated {
    /// Which.
    pub risk_id: Uuid,
    /// What is done about it.
    pub treatment: RiskTreatment,
    /// When it is looked at again.
    pub review_by: DateTime<Utc>,
    /// Who decided.
    pub by: String,
}

impl Event for RiskTreated {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "risk_treated";

    fn example() -> Self {
        RiskTreated {
            risk_id: example_id(0x31),
            treatment: RiskTreatment::Accept,
            review_by: example_time("2026-12-01T00:00:00Z"),
            by: "key:01979f6e".into(),
        }
    }
}

/// Lists risks, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct Risks {
    /// The `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(max = 100), custom(one_line)))]
    #[schemars(length(max = 100), regex(pattern = ONE_LINE))]
    pub after: Option<String>,
    /// Items at most.
    #[serde(default = "a_page")]
    #[garde(range(min = 1, max = 200))]
    pub limit: u16,
}

/// A page of risks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RiskItems {
    /// The risks.
    pub items: Vec<Risk>,
    /// Where the next page begins; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A risk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Risk {
    /// Its id.
    pub risk_id: Uuid,
    /// What may happen.
    pub title: String,
    /// The control that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control: Option<Token>,
    /// 1 to 5.
    pub likelihood: u8,
    /// 1 to 5.
    pub impact: u8,
    /// Who looks after it.
    pub owner: String,
    /// When it was recorded.
    pub recorded_at: DateTime<Utc>,
    /// What is done about it; absent until somebody has decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub treatment: Option<RiskTreatment>,
    /// Why, and how.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Who decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub treated_by: Option<String>,
    /// When it is looked at again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review_by: Option<DateTime<Utc>>,
}

impl Query for Risks {
    type Answer = RiskItems;
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "risks";
    const HTTP: Option<Http> = Some(Http::get("/api/v1/compliance/risks"));
    const SCOPE: &'static str = "compliance:read";

    fn example() -> Self {
        Risks { after: None, limit: 50 }
    }
}
