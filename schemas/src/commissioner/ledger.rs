//! The ledger: double entry, exported, and recomputed every night from the orders.

use chrono::{DateTime, Utc};
use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Currency, DOMAIN, Money, ONE_LINE, a_page, a_partner, main_program, one_line};
use crate::Token;
use crate::contract::{Command, Event, Http, Query};

/// Recomputes a program's commissions from its orders and compares them with the ledger, cent by cent. Nothing is
/// changed; every difference is an event. Runs every night by itself too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct CheckLedger {
    /// The program.
    #[garde(skip)]
    pub program: Token,
}

/// The next part of a long check; the part before it says so by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct CheckLedgerPart {
    /// The program.
    #[garde(skip)]
    pub program: Token,
    /// Where it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(chars, min = 1, max = 100), custom(one_line)))]
    #[schemars(length(min = 1, max = 100), regex(pattern = ONE_LINE))]
    pub after: Option<String>,
    /// Orders compared so far.
    #[serde(default)]
    #[garde(range(min = 0, max = 1_000_000_000_000_000_i64))]
    pub orders: i64,
    /// Differences found so far.
    #[serde(default)]
    #[garde(range(min = 0, max = 1_000_000_000_000_000_i64))]
    pub differences: i64,
}

impl Command for CheckLedgerPart {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "check_ledger_part";
    const LANE: &'static str = "reports";
    const SCOPE: &'static str = "partners:write";

    fn example() -> Self {
        CheckLedgerPart { program: main_program(), after: Some("2026-1000".into()), orders: 1, differences: 0 }
    }
}

impl Command for CheckLedger {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "check_ledger";
    const LANE: &'static str = "reports";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/partners/programs/{program}/ledger-check"));
    const SCOPE: &'static str = "partners:read";

    fn example() -> Self {
        CheckLedger { program: main_program() }
    }
}

/// The ledger and the orders say different things. Somebody must look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LedgerDifferenceFound {
    /// The program.
    pub program: Token,
    /// The order; absent if the difference is in a balance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_id: Option<String>,
    /// The order's line; absent if the difference is in a balance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line_id: Option<String>,
    /// Whose money it is about.
    pub partner_id: Uuid,
    /// 0 for the partner who sold, 1 for that one's parent, and so on.
    pub level: i16,
    /// What the orders, refunds and reviews come to, in the minor unit.
    pub expected: i64,
    /// What the ledger says, in the minor unit.
    pub booked: i64,
    /// The currency of both.
    pub currency: Currency,
}

impl Event for LedgerDifferenceFound {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "ledger_difference_found";

    fn example() -> Self {
        LedgerDifferenceFound {
            program: main_program(),
            order_id: Some("2026-1001".into()),
            line_id: Some("1".into()),
            partner_id: a_partner(),
            level: 0,
            expected: 1500,
            booked: 1499,
            currency: "EUR".parse().expect("EUR is known"),
        }
    }
}

/// The ledger was compared with the orders, up to some order or to the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LedgerChecked {
    /// The program.
    pub program: Token,
    /// Orders compared so far.
    pub orders: i64,
    /// Differences found so far.
    pub differences: i64,
    /// Does the check go on?
    pub more: bool,
}

impl Event for LedgerChecked {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "ledger_checked";

    fn example() -> Self {
        LedgerChecked { program: main_program(), orders: 1, differences: 0, more: false }
    }
}

/// Asks for a program's ledger, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct Ledger {
    /// The program.
    #[garde(skip)]
    pub program: Token,
    /// Only this partner's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub partner_id: Option<Uuid>,
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

/// A page of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LedgerPage {
    /// The transfers.
    pub items: Vec<Transfer>,
    /// Where the next page begins; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// One transfer from one account to another: what one is debited, the other is credited.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Transfer {
    /// The transfer.
    pub transfer_id: Uuid,
    /// When it was booked.
    pub booked_at: DateTime<Utc>,
    /// `earned`, `reversed`, `reserved`, `paid`, `failed` or `returned`.
    pub kind: String,
    /// The account debited: `expense`, `partner`, `clearing` or `bank`.
    pub debit: String,
    /// The account credited.
    pub credit: String,
    /// How much, always above nothing.
    pub money: Money,
    /// Whose accounts `partner` and `clearing` are.
    pub partner_id: Uuid,
    /// The commission it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commission_id: Option<Uuid>,
    /// The order it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_id: Option<String>,
    /// The refund it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refund_id: Option<String>,
    /// The payout it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payout_id: Option<Uuid>,
}

impl Query for Ledger {
    type Answer = LedgerPage;
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "ledger";
    const HTTP: Option<Http> = Some(Http::get("/api/v1/partners/ledger"));
    const SCOPE: &'static str = "partners:read";

    fn example() -> Self {
        Ledger { program: main_program(), partner_id: None, after: None, limit: 50 }
    }
}

/// Asks how a program's ledger stands: what each account comes to, and how the last check ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct LedgerHealth {
    /// The program.
    #[garde(skip)]
    pub program: Token,
}

/// How a ledger stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LedgerHealthReport {
    /// Every account in every currency; each currency comes to nothing over all of them.
    pub accounts: Vec<AccountTotal>,
    /// When the last check ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checked_at: Option<DateTime<Utc>>,
    /// Orders it compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub orders: Option<i64>,
    /// Differences it found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub differences: Option<i64>,
}

/// What an account comes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AccountTotal {
    /// `expense`, `partner`, `clearing` or `bank`.
    pub account: String,
    /// Credits less debits.
    pub money: Money,
}

impl Query for LedgerHealth {
    type Answer = LedgerHealthReport;
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "ledger_health";
    const HTTP: Option<Http> = Some(Http::get("/api/v1/partners/programs/{program}/ledger-check"));
    const SCOPE: &'static str = "partners:read";

    fn example() -> Self {
        LedgerHealth { program: main_program() }
    }
}
