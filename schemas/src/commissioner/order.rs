//! Orders, whom they are due to, and what they earn.

use chrono::{DateTime, Utc};
use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Currency, DOMAIN, ONE_LINE, Tier, a_partner, a_time, an_id, is_false, main_program, one_line};
use crate::Token;
use crate::contract::{Command, Event, Http};

/// Records a paid order, once: the same order again changes nothing, the same id with other content is refused.
///
/// It is due to the partner to whom the customer is bound; else to the partner of `code`; else to the partner of the
/// click, if that lies within the program's window. A customer's first such order binds the customer for good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct RecordOrder {
    /// The program.
    #[garde(skip)]
    pub program: Token,
    /// The shop's id of the order. 1 to 100 characters.
    #[garde(length(chars, min = 1, max = 100), custom(one_line))]
    #[schemars(regex(pattern = ONE_LINE))]
    pub order_id: String,
    /// The shop's id of the customer. 1 to 100 characters.
    #[garde(length(chars, min = 1, max = 100), custom(one_line))]
    #[schemars(regex(pattern = ONE_LINE))]
    pub customer_id: String,
    /// The currency of the amounts.
    #[garde(skip)]
    pub currency: Currency,
    /// What was sold: 1 to 100 lines, each with an id of its own.
    #[garde(length(min = 1, max = 100), dive)]
    pub lines: Vec<OrderLine>,
    /// When the order was paid; now if absent. Rates, tiers and parents are those of that time. Not in the future.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub ordered_at: Option<DateTime<Utc>>,
    /// A partner's code that the customer gave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(min = 1, max = 32), custom(one_line)))]
    #[schemars(length(min = 1, max = 32), regex(pattern = ONE_LINE))]
    pub code: Option<String>,
    /// The click that the shop remembers of this customer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub click_id: Option<Uuid>,
    /// Units of the program's currency for one unit of the order's, times 10^9. With it, commissions are in the program's
    /// currency; without it they stay in the order's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(range(min = 1, max = 1_000_000_000_000_000_i64)))]
    #[schemars(range(min = 1, max = 1_000_000_000_000_000_i64))]
    pub fx_rate_e9: Option<i64>,
    /// The customer's address: compared with the partner's, and not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(min = 1, max = 254), custom(one_line)))]
    #[schemars(length(min = 1, max = 254), regex(pattern = ONE_LINE))]
    #[schemars(extend("x-personal" = "subject"))]
    pub customer_email: Option<String>,
    /// What identifies the customer's way to pay: compared with the partner's, and not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(min = 1, max = 200), custom(one_line)))]
    #[schemars(length(min = 1, max = 200), regex(pattern = ONE_LINE))]
    pub payment_fingerprint: Option<String>,
    /// What identifies the customer's device: compared with the partner's, and not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(min = 1, max = 200), custom(one_line)))]
    #[schemars(length(min = 1, max = 200), regex(pattern = ONE_LINE))]
    pub device: Option<String>,
}

/// One line of an order. Amounts are in the minor unit of the order's currency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct OrderLine {
    /// The line's id within the order. 1 to 64 characters.
    #[garde(length(chars, min = 1, max = 64), custom(one_line))]
    #[schemars(regex(pattern = ONE_LINE))]
    pub line_id: String,
    /// What the customer paid for it, tax and shipping included, discount taken off.
    #[garde(range(min = 0, max = 1_000_000_000_000_i64))]
    pub amount: i64,
    /// How much of the amount is tax.
    #[serde(default)]
    #[garde(range(min = 0, max = 1_000_000_000_000_i64))]
    pub tax: i64,
    /// How much of the amount is shipping.
    #[serde(default)]
    #[garde(range(min = 0, max = 1_000_000_000_000_i64))]
    pub shipping: i64,
    /// How much was taken off before the amount was paid.
    #[serde(default)]
    #[garde(range(min = 0, max = 1_000_000_000_000_i64))]
    pub discount: i64,
}

impl Command for RecordOrder {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "record_order";
    const LANE: &'static str = "orders";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/partners/orders"));
    const SCOPE: &'static str = "partners:record";

    fn example() -> Self {
        RecordOrder {
            program: main_program(),
            order_id: "2026-1001".into(),
            customer_id: "c-42".into(),
            currency: "EUR".parse().expect("EUR is known"),
            lines: vec![OrderLine { line_id: "1".into(), amount: 11_900, tax: 1_900, shipping: 0, discount: 0 }],
            ordered_at: None,
            code: Some("SPRING".into()),
            click_id: None,
            fx_rate_e9: None,
            customer_email: None,
            payment_fingerprint: None,
            device: None,
        }
    }
}

/// Why an order is due to whom it is due to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Attribution {
    /// The customer was bound to the partner by an earlier order.
    Bound,
    /// The customer gave the partner's code.
    Code,
    /// The customer came by the partner's link within the window.
    Click,
    /// It is due to nobody.
    None,
}

/// How far a suspicion about an order has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Review {
    /// There is none.
    None,
    /// What it earned is not paid until a person has decided.
    Held,
    /// A person found nothing wrong with it.
    Cleared,
    /// A person refused it: what it earned was taken back.
    Refused,
}

/// An order was recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OrderRecorded {
    /// The program.
    pub program: Token,
    /// The shop's id of the order.
    pub order_id: String,
    /// To whom it is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partner_id: Option<Uuid>,
    /// Why.
    pub attribution: Attribution,
    /// Is it held?
    pub review: Review,
    /// What it is suspected for: the customer's `email`, `domain`, `payment` or `device` is the selling partner's;
    /// `above_email` and so on where it is that of a partner above who earns on it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// How many commissions it earned, all levels and lines together.
    pub commissions: u32,
    /// Was it there before? Then nothing was changed.
    #[serde(default, skip_serializing_if = "is_false")]
    pub duplicate: bool,
}

impl Event for OrderRecorded {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "order_recorded";

    fn example() -> Self {
        OrderRecorded {
            program: main_program(),
            order_id: "2026-1001".into(),
            partner_id: Some(a_partner()),
            attribution: Attribution::Code,
            review: Review::None,
            reasons: vec![],
            commissions: 1,
            duplicate: false,
        }
    }
}

/// A partner has earned on an order's line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CommissionEarned {
    /// The commission.
    pub commission_id: Uuid,
    /// Who earned it.
    pub partner_id: Uuid,
    /// The program.
    pub program: Token,
    /// The order.
    pub order_id: String,
    /// The order's line.
    pub line_id: String,
    /// 0 for the partner who sold, 1 for that one's parent, and so on.
    pub level: i16,
    /// The selling partner's tier at the time of the order.
    pub tier: Tier,
    /// In basis points of the base.
    pub rate_bp: i32,
    /// Of what, in the minor unit.
    pub base: i64,
    /// How much, in the minor unit.
    pub amount: i64,
    /// The currency of both.
    pub currency: Currency,
    /// From when it may be paid.
    pub available_at: DateTime<Utc>,
    /// Is it held for review?
    pub held: bool,
}

impl Event for CommissionEarned {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "commission_earned";

    fn example() -> Self {
        CommissionEarned {
            commission_id: an_id(4),
            partner_id: a_partner(),
            program: main_program(),
            order_id: "2026-1001".into(),
            line_id: "1".into(),
            level: 0,
            tier: Tier::Gold,
            rate_bp: 1500,
            base: 10_000,
            amount: 1500,
            currency: "EUR".parse().expect("EUR is known"),
            available_at: a_time(),
            held: false,
        }
    }
}
