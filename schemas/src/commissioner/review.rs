//! Orders that are held because a partner may have bought through their own link, and what a person decides.

use chrono::{DateTime, Utc};
use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{DOMAIN, ONE_LINE, Review, a_page, main_program, one_line};
use crate::Token;
use crate::contract::{Command, Event, Http, Query};

/// Decides about a held order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct ReviewOrder {
    /// The program.
    #[garde(skip)]
    pub program: Token,
    /// The order.
    #[garde(length(chars, min = 1, max = 100), custom(one_line))]
    #[schemars(regex(pattern = ONE_LINE))]
    pub order_id: String,
    /// What is decided.
    #[garde(skip)]
    pub decision: ReviewDecision,
    /// Why, for the record. At most 500 characters.
    #[serde(default)]
    #[garde(length(chars, max = 500), custom(one_line))]
    #[schemars(regex(pattern = ONE_LINE))]
    pub note: String,
}

/// What is decided about a held order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReviewDecision {
    /// Nothing is wrong: what it earned may be paid.
    Clear,
    /// What it earned is taken back, on every level.
    Refuse,
}

impl Command for ReviewOrder {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "review_order";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/partners/reviews"));
    const SCOPE: &'static str = "partners:review";

    fn example() -> Self {
        ReviewOrder {
            program: main_program(),
            order_id: "2026-1001".into(),
            decision: ReviewDecision::Clear,
            note: "a colleague at the same company".into(),
        }
    }
}

/// A person has decided about a held order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReviewDecided {
    /// The program.
    pub program: Token,
    /// The order.
    pub order_id: String,
    /// How it stands now.
    pub review: Review,
    /// Why.
    pub note: String,
}

impl Event for ReviewDecided {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "review_decided";

    fn example() -> Self {
        ReviewDecided {
            program: main_program(),
            order_id: "2026-1001".into(),
            review: Review::Cleared,
            note: String::new(),
        }
    }
}

/// Asks for the orders that wait for a person's decision, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct HeldOrders {
    /// The program.
    #[garde(skip)]
    pub program: Token,
    /// The `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(chars, max = 200), custom(one_line)))]
    #[schemars(length(max = 200), regex(pattern = ONE_LINE))]
    pub after: Option<String>,
    /// Items at most.
    #[serde(default = "a_page")]
    #[garde(range(min = 1, max = 200))]
    pub limit: u16,
}

/// A page of held orders.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HeldOrdersPage {
    /// The orders.
    pub items: Vec<HeldOrder>,
    /// Where the next page begins; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// An order that waits for a person's decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HeldOrder {
    /// The order.
    pub order_id: String,
    /// To whom it is due.
    pub partner_id: Uuid,
    /// When it was paid.
    pub ordered_at: DateTime<Utc>,
    /// What it is suspected for: `email`, `domain`, `payment`, `device`.
    pub reasons: Vec<String>,
}

impl Query for HeldOrders {
    type Answer = HeldOrdersPage;
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "held_orders";
    const HTTP: Option<Http> = Some(Http::get("/api/v1/partners/reviews"));
    const SCOPE: &'static str = "partners:read";

    fn example() -> Self {
        HeldOrders { program: main_program(), after: None, limit: 50 }
    }
}
