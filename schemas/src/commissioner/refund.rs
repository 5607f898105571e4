//! Refunds, and what they take back.

use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Currency, DOMAIN, ONE_LINE, a_partner, an_id, is_false, main_program, one_line};
use crate::Token;
use crate::contract::{Command, Event, Http};

/// Records that an order was paid back, in part or whole, once by its id. Every level's commission is taken back pro
/// rata; a hundred partial refunds take back what one full refund does, to the cent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct RecordRefund {
    /// The program.
    #[garde(skip)]
    pub program: Token,
    /// The shop's id of the order.
    #[garde(length(chars, min = 1, max = 100), custom(one_line))]
    #[schemars(regex(pattern = ONE_LINE))]
    pub order_id: String,
    /// The shop's id of the refund; one order has each once. 1 to 100 characters.
    #[garde(length(chars, min = 1, max = 100), custom(one_line))]
    #[schemars(regex(pattern = ONE_LINE))]
    pub refund_id: String,
    /// What was paid back of which line; all that is left of every line if empty.
    #[serde(default)]
    #[garde(length(max = 100), dive)]
    pub lines: Vec<RefundLine>,
}

/// What was paid back of one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct RefundLine {
    /// The line's id within the order.
    #[garde(length(chars, min = 1, max = 64), custom(one_line))]
    #[schemars(regex(pattern = ONE_LINE))]
    pub line_id: String,
    /// In the minor unit of the order's currency; with what was paid back before, not more than the line's amount.
    #[garde(range(min = 1, max = 1_000_000_000_000_i64))]
    pub amount: i64,
}

impl Command for RecordRefund {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "record_refund";
    const LANE: &'static str = "orders";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/partners/refunds"));
    const SCOPE: &'static str = "partners:record";

    fn example() -> Self {
        RecordRefund {
            program: main_program(),
            order_id: "2026-1001".into(),
            refund_id: "r-1".into(),
            lines: vec![RefundLine { line_id: "1".into(), amount: 5_950 }],
        }
    }
}

/// A refund was recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RefundRecorded {
    /// The program.
    pub program: Token,
    /// The order.
    pub order_id: String,
    /// The refund.
    pub refund_id: String,
    /// What was paid back, in the minor unit.
    pub amount: i64,
    /// Its currency.
    pub currency: Currency,
    /// Of how many commissions something was taken back.
    pub reversed: u32,
    /// Was it there before? Then nothing was changed.
    #[serde(default, skip_serializing_if = "is_false")]
    pub duplicate: bool,
}

impl Event for RefundRecorded {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "refund_recorded";

    fn example() -> Self {
        RefundRecorded {
            program: main_program(),
            order_id: "2026-1001".into(),
            refund_id: "r-1".into(),
            amount: 5_950,
            currency: "EUR".parse().expect("EUR is known"),
            reversed: 1,
            duplicate: false,
        }
    }
}

/// Something of a commission was taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CommissionReversed {
    /// The commission.
    pub commission_id: Uuid,
    /// Whose it is.
    pub partner_id: Uuid,
    /// The program.
    pub program: Token,
    /// The order.
    pub order_id: String,
    /// The order's line.
    pub line_id: String,
    /// How much was taken back, in the minor unit.
    pub amount: i64,
    /// Its currency.
    pub currency: Currency,
    /// The refund; absent if the order was refused in review.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refund_id: Option<String>,
}

impl Event for CommissionReversed {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "commission_reversed";

    fn example() -> Self {
        CommissionReversed {
            commission_id: an_id(4),
            partner_id: a_partner(),
            program: main_program(),
            order_id: "2026-1001".into(),
            line_id: "1".into(),
            amount: 750,
            currency: "EUR".parse().expect("EUR is known"),
            refund_id: Some("r-1".into()),
        }
    }
}
