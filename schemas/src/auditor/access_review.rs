//! Access reviews: every API key of the tenant is laid before a person, who keeps or revokes it. A review takes the keys as
//! they are when it is opened.

use chrono::{DateTime, Utc};
use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{DOMAIN, ONE_LINE, a_page, example_id, example_time, one_line};
use crate::contract::{Command, Event, Http, Query};

/// Opens a review of all API keys that the tenant has at this moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct OpenAccessReview {
    /// What it is called. 1 to 200 characters.
    #[garde(length(chars, min = 1, max = 200), custom(one_line))]
    #[schemars(regex(pattern = ONE_LINE))]
    pub title: String,
    /// By when it is to be complete.
    #[garde(skip)]
    pub due_at: DateTime<Utc>,
}

impl Command for OpenAccessReview {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "open_access_review";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/compliance/access-reviews"));
    const SCOPE: &'static str = "compliance:write";

    fn example() -> Self {
        OpenAccessReview { title: "Keys, third quarter".into(), due_at: example_time("2026-10-15T00:00:00Z") }
    }
}

/// A review is open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AccessReviewOpened {
    /// Its id, which is the command's.
    pub review_id: Uuid,
    /// Keys to decide about.
    pub keys: u64,
    /// By when it is to be complete.
    pub due_at: DateTime<Utc>,
}

impl Event for AccessReviewOpened {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "access_review_opened";

    fn example() -> Self {
        AccessReviewOpened { review_id: example_id(0x41), keys: 3, due_at: example_time("2026-10-15T00:00:00Z") }
    }
}

/// What is decided about a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AccessDecision {
    /// It is still needed, with what it may do.
    Keep,
    /// It has to go. The review can be completed once it is gone.
    Revoke,
}

/// Decides about one key of a review. Not for the key itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct DecideAccess {
    /// In which review.
    #[garde(skip)]
    pub review_id: Uuid,
    /// Which key, by its id.
    #[garde(skip)]
    pub key_id: Uuid,
    /// What is decided.
    #[garde(skip)]
    pub decision: AccessDecision,
    /// Why. At most 500 characters.
    #[serde(default)]
    #[garde(length(chars, max = 500), custom(one_line))]
    #[schemars(regex(pattern = ONE_LINE))]
    pub note: String,
}

impl Command for DecideAccess {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "decide_access";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/compliance/access-reviews/{review_id}/keys/{key_id}"));
    const SCOPE: &'static str = "compliance:approve";

    fn example() -> Self {
        DecideAccess {
            review_id: example_id(0x41),
            key_id: example_id(0x42),
            decision: AccessDecision::Keep,
            note: "billing server".into(),
        }
    }
}

/// Something was decided about a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AccessDecided {
    /// In which review.
    pub review_id: Uuid,
    /// Which key.
    pub key_id: Uuid,
    /// What was decided.
    pub decision: AccessDecision,
    /// Who decided.
    pub by: String,
}

impl Event for AccessDecided {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "access_decided";

    fn example() -> Self {
        AccessDecided {
            review_id: example_id(0x41),
            key_id: example_id(0x42),
            decision: AccessDecision::Keep,
            by: "key:01979f6e".into(),
        }
    }
}

/// Completes a review, once every key is decided about and those to be revoked are gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct CompleteAccessReview {
    /// Which.
    #[garde(skip)]
    pub review_id: Uuid,
}

impl Command for CompleteAccessReview {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "complete_access_review";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/compliance/access-reviews/{review_id}/complete"));
    const SCOPE: &'static str = "compliance:approve";

    fn example() -> Self {
        CompleteAccessReview { review_id: example_id(0x41) }
    }
}

/// A review is complete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AccessReviewCompleted {
    /// Which.
    pub review_id: Uuid,
    /// Keys that were kept.
    pub kept: u64,
    /// Keys that were revoked.
    pub revoked: u64,
    /// Who completed it.
    pub by: String,
}

impl Event for AccessReviewCompleted {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "access_review_completed";

    fn example() -> Self {
        AccessReviewCompleted { review_id: example_id(0x41), kept: 2, revoked: 1, by: "key:01979f6e".into() }
    }
}

/// Lists reviews, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct AccessReviews {
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

/// A page of reviews.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AccessReviewItems {
    /// The reviews.
    pub items: Vec<AccessReviewSummary>,
    /// Where the next page begins; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A review in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AccessReviewSummary {
    /// Its id.
    pub review_id: Uuid,
    /// What it is called.
    pub title: String,
    /// When it was opened.
    pub opened_at: DateTime<Utc>,
    /// By when it is to be complete.
    pub due_at: DateTime<Utc>,
    /// When it was completed, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<DateTime<Utc>>,
    /// Keys in all.
    pub keys: u64,
    /// Keys that nobody has decided about.
    pub undecided: u64,
}

impl Query for AccessReviews {
    type Answer = AccessReviewItems;
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "access_reviews";
    const HTTP: Option<Http> = Some(Http::get("/api/v1/compliance/access-reviews"));
    const SCOPE: &'static str = "compliance:read";

    fn example() -> Self {
        AccessReviews { after: None, limit: 50 }
    }
}

/// Asks for a review with its keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct AccessReviewPage {
    /// Which.
    #[garde(skip)]
    pub review_id: Uuid,
}

/// A review with its keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AccessReviewReport {
    /// The review.
    pub review: AccessReviewSummary,
    /// Its keys, oldest first, 1000 at most.
    pub keys: Vec<ReviewedKey>,
}

/// A key under review.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReviewedKey {
    /// Its id.
    pub key_id: Uuid,
    /// What it may do.
    pub scopes: Vec<String>,
    /// When it was minted.
    pub created_at: DateTime<Utc>,
    /// What was decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<AccessDecision>,
    /// By whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl Query for AccessReviewPage {
    type Answer = AccessReviewReport;
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "access_review_page";
    const HTTP: Option<Http> = Some(Http::get("/api/v1/compliance/access-reviews/{review_id}"));
    const SCOPE: &'static str = "compliance:read";

    fn example() -> Self {
        AccessReviewPage { review_id: example_id(0x41) }
    }
}
