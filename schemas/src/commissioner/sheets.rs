//! The lists as CSV (RFC 4180), for spreadsheets and accounts: amounts as decimals with their currency beside them, times
//! as RFC 3339. A page at a time; the door gives out each page as a file and names the next one in `Link`.

use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{DOMAIN, ONE_LINE, a_partner, main_program, one_line};
use crate::Token;
use crate::contract::{Http, Query};

fn many() -> u16 {
    1000
}

/// A page of a list as CSV.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Sheet {
    /// The rows, under a heading on the first page.
    pub csv: String,
    /// Where the next page begins; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Asks for a program's ledger as CSV, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct LedgerCsv {
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
    /// Rows at most.
    #[serde(default = "many")]
    #[garde(range(min = 1, max = 2000))]
    pub limit: u16,
}

impl Query for LedgerCsv {
    type Answer = Sheet;
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "ledger_csv";
    const HTTP: Option<Http> = Some(Http::get("/api/v1/partners/ledger.csv"));
    const SCOPE: &'static str = "partners:read";
    const SHEET: bool = true;

    fn example() -> Self {
        LedgerCsv { program: main_program(), partner_id: None, after: None, limit: 1000 }
    }
}

/// Asks for a program's payouts as CSV, newest first. Accounts are not in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct PayoutsCsv {
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
    /// Rows at most.
    #[serde(default = "many")]
    #[garde(range(min = 1, max = 2000))]
    pub limit: u16,
}

impl Query for PayoutsCsv {
    type Answer = Sheet;
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "payouts_csv";
    const HTTP: Option<Http> = Some(Http::get("/api/v1/partners/payouts.csv"));
    const SCOPE: &'static str = "partners:read";
    const SHEET: bool = true;

    fn example() -> Self {
        PayoutsCsv { program: main_program(), partner_id: None, after: None, limit: 1000 }
    }
}

/// Asks for a program's partners as CSV, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct PartnersCsv {
    /// The program.
    #[garde(skip)]
    pub program: Token,
    /// The `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(max = 100), custom(one_line)))]
    #[schemars(length(max = 100), regex(pattern = ONE_LINE))]
    pub after: Option<String>,
    /// Rows at most.
    #[serde(default = "many")]
    #[garde(range(min = 1, max = 2000))]
    pub limit: u16,
}

impl Query for PartnersCsv {
    type Answer = Sheet;
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "partners_csv";
    const HTTP: Option<Http> = Some(Http::get("/api/v1/partners/partners.csv"));
    const SCOPE: &'static str = "partners:read";
    const SHEET: bool = true;

    fn example() -> Self {
        PartnersCsv { program: main_program(), after: None, limit: 1000 }
    }
}

/// Asks for what a partner has earned as CSV, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct CommissionsCsv {
    /// The partner.
    #[garde(skip)]
    pub partner_id: Uuid,
    /// The `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(max = 100), custom(one_line)))]
    #[schemars(length(max = 100), regex(pattern = ONE_LINE))]
    pub after: Option<String>,
    /// Rows at most.
    #[serde(default = "many")]
    #[garde(range(min = 1, max = 2000))]
    pub limit: u16,
}

impl Query for CommissionsCsv {
    type Answer = Sheet;
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "commissions_csv";
    const HTTP: Option<Http> = Some(Http::get("/api/v1/partners/{partner_id}/commissions.csv"));
    const SCOPE: &'static str = "partners:read";
    const SHEET: bool = true;

    fn example() -> Self {
        CommissionsCsv { partner_id: a_partner(), after: None, limit: 1000 }
    }
}

/// Asks for the customers who are bound to a partner as CSV, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct ReferralsCsv {
    /// The partner.
    #[garde(skip)]
    pub partner_id: Uuid,
    /// The `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(chars, max = 500), custom(one_line)))]
    #[schemars(length(max = 500), regex(pattern = ONE_LINE))]
    pub after: Option<String>,
    /// Rows at most.
    #[serde(default = "many")]
    #[garde(range(min = 1, max = 2000))]
    pub limit: u16,
}

impl Query for ReferralsCsv {
    type Answer = Sheet;
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "referrals_csv";
    const HTTP: Option<Http> = Some(Http::get("/api/v1/partners/{partner_id}/referrals.csv"));
    const SCOPE: &'static str = "partners:read";
    const SHEET: bool = true;

    fn example() -> Self {
        ReferralsCsv { partner_id: a_partner(), after: None, limit: 1000 }
    }
}

/// Asks for the bookings of a partner's month as CSV, oldest first; they come to the statement's totals.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct StatementCsv {
    /// The partner.
    #[garde(skip)]
    pub partner_id: Uuid,
    /// The year.
    #[garde(range(min = 2000, max = 2999))]
    pub year: u16,
    /// The month, 1 to 12.
    #[garde(range(min = 1, max = 12))]
    pub month: u16,
    /// The `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(max = 100), custom(one_line)))]
    #[schemars(length(max = 100), regex(pattern = ONE_LINE))]
    pub after: Option<String>,
    /// Rows at most.
    #[serde(default = "many")]
    #[garde(range(min = 1, max = 2000))]
    pub limit: u16,
}

impl Query for StatementCsv {
    type Answer = Sheet;
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "statement_csv";
    const HTTP: Option<Http> = Some(Http::get("/api/v1/partners/{partner_id}/statements/{year}/{month}/bookings.csv"));
    const SCOPE: &'static str = "partners:read";
    const SHEET: bool = true;

    fn example() -> Self {
        StatementCsv { partner_id: a_partner(), year: 2026, month: 10, after: None, limit: 1000 }
    }
}
