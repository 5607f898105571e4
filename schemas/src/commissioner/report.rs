//! What partners and their program's people read.

use chrono::{DateTime, Utc};
use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    Attribution, DOMAIN, Money, ONE_LINE, PartnerStatus, Review, Tier, TierSource, Transfer, a_page, a_partner, an_id,
    main_program, one_line,
};
use crate::Token;
use crate::contract::{Http, Query};

/// Asks for a partner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct PartnerPage {
    /// The partner.
    #[garde(skip)]
    pub partner_id: Uuid,
}

/// A partner, with all that is theirs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PartnerReport {
    /// The partner and how they stand.
    pub partner: PartnerSummary,
    /// The codes that orders may name, in lower case.
    pub codes: Vec<String>,
    /// The links, with where they lead.
    pub links: Vec<LinkReport>,
    /// The tiers that were, are and will be, latest first.
    pub tiers: Vec<TierReport>,
    /// What the ledger owes the partner, by currency; below nothing if the partner owes.
    pub balances: Vec<PartnerBalance>,
    /// Is there an account for payouts?
    pub payable: bool,
}

/// One currency's balance, derived from the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PartnerBalance {
    /// All that is owed.
    pub balance: Money,
    /// How much of it may be paid now: past its hold, not under review, in no payout.
    pub available: Money,
    /// Set aside or on its way in payouts.
    pub in_payouts: Money,
}

/// A partner in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PartnerSummary {
    /// The partner.
    pub partner_id: Uuid,
    /// The program.
    pub program: Token,
    /// The partner's name.
    pub name: String,
    /// How they stand.
    pub status: PartnerStatus,
    /// The tier of today.
    pub tier: Tier,
    /// The partner above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_id: Option<Uuid>,
    /// When they registered.
    pub registered_at: DateTime<Utc>,
    /// As in the events about this partner.
    pub revision: i64,
}

/// A link and where it leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LinkReport {
    /// Its path on the door.
    pub link: String,
    /// Where it leads.
    pub destination: String,
}

/// A tier and from when it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TierReport {
    /// The tier.
    pub tier: Tier,
    /// From when.
    pub effective_from: DateTime<Utc>,
    /// Who gave it.
    pub by: TierSource,
}

impl Query for PartnerPage {
    type Answer = PartnerReport;
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "partner_page";
    const HTTP: Option<Http> = Some(Http::get("/api/v1/partners/{partner_id}"));
    const SCOPE: &'static str = "partners:read";

    fn example() -> Self {
        PartnerPage { partner_id: a_partner() }
    }
}

/// Asks for a program's partners, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct Partners {
    /// The program.
    #[garde(skip)]
    pub program: Token,
    /// Only those right below this partner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub parent_id: Option<Uuid>,
    /// Only those that wait for a decision.
    #[serde(default)]
    #[garde(skip)]
    pub pending: bool,
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

/// A page of partners.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PartnersPage {
    /// The partners.
    pub items: Vec<PartnerSummary>,
    /// Where the next page begins; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl Query for Partners {
    type Answer = PartnersPage;
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "partners";
    const HTTP: Option<Http> = Some(Http::get("/api/v1/partners"));
    const SCOPE: &'static str = "partners:read";

    fn example() -> Self {
        Partners { program: main_program(), parent_id: None, pending: false, after: None, limit: 50 }
    }
}

/// Asks for the customers who are bound to a partner, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct PartnerReferrals {
    /// The partner.
    #[garde(skip)]
    pub partner_id: Uuid,
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

/// A page of referrals.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReferralsPage {
    /// The customers.
    pub items: Vec<Referral>,
    /// Where the next page begins; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A customer whom a partner brought.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Referral {
    /// The shop's id of the customer.
    pub customer_id: String,
    /// When the customer was bound.
    pub bound_at: DateTime<Utc>,
    /// By what.
    pub by: Attribution,
    /// How many orders so far.
    pub orders: i64,
}

impl Query for PartnerReferrals {
    type Answer = ReferralsPage;
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "partner_referrals";
    const HTTP: Option<Http> = Some(Http::get("/api/v1/partners/{partner_id}/referrals"));
    const SCOPE: &'static str = "partners:read";

    fn example() -> Self {
        PartnerReferrals { partner_id: a_partner(), after: None, limit: 50 }
    }
}

/// Asks for what a partner has earned, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct PartnerCommissions {
    /// The partner.
    #[garde(skip)]
    pub partner_id: Uuid,
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

/// A page of commissions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CommissionsPage {
    /// The commissions.
    pub items: Vec<CommissionReport>,
    /// Where the next page begins; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A commission as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CommissionReport {
    /// The commission.
    pub commission_id: Uuid,
    /// The order.
    pub order_id: String,
    /// The order's line.
    pub line_id: String,
    /// 0 for a sale of the partner's own, 1 for one of a partner right below, and so on.
    pub level: i16,
    /// In basis points of the base.
    pub rate_bp: i32,
    /// Of what.
    pub base: Money,
    /// What was earned.
    pub earned: Money,
    /// What was taken back since.
    pub reversed: Money,
    /// When the order was paid.
    pub ordered_at: DateTime<Utc>,
    /// From when it may be paid.
    pub available_at: DateTime<Utc>,
    /// Is the order under review?
    pub review: Review,
}

impl Query for PartnerCommissions {
    type Answer = CommissionsPage;
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "partner_commissions";
    const HTTP: Option<Http> = Some(Http::get("/api/v1/partners/{partner_id}/commissions"));
    const SCOPE: &'static str = "partners:read";

    fn example() -> Self {
        PartnerCommissions { partner_id: a_partner(), after: None, limit: 50 }
    }
}

/// Asks why a commission is what it is: click, order, rules and ledger as one chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct ExplainCommission {
    /// The commission.
    #[garde(skip)]
    pub commission_id: Uuid,
}

/// A commission's chain, each link with a sentence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Explanation {
    /// The commission.
    pub commission: CommissionReport,
    /// How the customer came, if by a link that was followed with consent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub click_id: Option<Uuid>,
    /// Why the order is due to the partner who sold.
    pub attribution: Attribution,
    /// The partner who sold.
    pub sold_by: Uuid,
    /// That one's tier at the time of the order.
    pub tier: Tier,
    /// The partners above at the time of the order, nearest first.
    pub parents: Vec<Uuid>,
    /// The version of the program's rules.
    pub rules_version: i32,
    /// The rate of exchange that the order brought, times 10^9.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fx_rate_e9: Option<i64>,
    /// The ledger's transfers about it, oldest first, with those of the payouts that settled them.
    pub transfers: Vec<Transfer>,
    /// The whole chain in sentences, in order.
    pub chain: Vec<String>,
}

impl Query for ExplainCommission {
    type Answer = Explanation;
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "explain_commission";
    const HTTP: Option<Http> = Some(Http::get("/api/v1/partners/commissions/{commission_id}/explain"));
    const SCOPE: &'static str = "partners:read";

    fn example() -> Self {
        ExplainCommission { commission_id: an_id(4) }
    }
}

/// Asks how a program does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct PartnerStats {
    /// The program.
    #[garde(skip)]
    pub program: Token,
    /// Only this partner's part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub partner_id: Option<Uuid>,
    /// The last so many days, 1 to 366.
    #[serde(default = "ninety")]
    #[garde(range(min = 1, max = 366))]
    pub days: u16,
}

fn ninety() -> u16 {
    90
}

/// How a program does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StatsReport {
    /// Partners, by how they stand.
    pub partners: Vec<StatusCount>,
    /// Links followed.
    pub clicks: i64,
    /// Customers bound.
    pub customers: i64,
    /// Orders due to a partner.
    pub orders: i64,
    /// Orders under review.
    pub held: i64,
    /// Sums by currency; nothing is added across them.
    pub sums: Vec<StatsSum>,
}

/// How many partners stand so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StatusCount {
    /// How they stand.
    pub status: PartnerStatus,
    /// How many.
    pub count: i64,
}

/// One currency's sums.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StatsSum {
    /// What commissions were taken of.
    pub base: Money,
    /// What was earned.
    pub earned: Money,
    /// What was taken back.
    pub reversed: Money,
    /// What was paid out, less what came back.
    pub paid: Money,
}

impl Query for PartnerStats {
    type Answer = StatsReport;
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "partner_stats";
    const HTTP: Option<Http> = Some(Http::get("/api/v1/partners/stats"));
    const SCOPE: &'static str = "partners:read";

    fn example() -> Self {
        PartnerStats { program: main_program(), partner_id: None, days: 90 }
    }
}

/// Asks for a partner's statement of one month (UTC). The month that runs is answered as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct Statement {
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
    /// Items at most.
    #[serde(default = "a_page")]
    #[garde(range(min = 1, max = 200))]
    pub limit: u16,
}

/// A partner's month.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StatementReport {
    /// The partner.
    pub partner_id: Uuid,
    /// The partner's name.
    pub name: String,
    /// The program's name.
    pub program: String,
    /// When it begins.
    pub from: DateTime<Utc>,
    /// When it ends.
    pub until: DateTime<Utc>,
    /// By currency; the lines come to the totals.
    pub totals: Vec<StatementTotal>,
    /// What was booked, oldest first.
    pub lines: Vec<StatementLine>,
    /// Where the next page begins; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// A path that shows it as a page to whoever has the path.
    pub page: String,
}

/// One currency's totals of a month.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StatementTotal {
    /// What was owed before.
    pub opening: Money,
    /// Earned.
    pub earned: Money,
    /// Taken back.
    pub reversed: Money,
    /// Set aside for payouts, less what failed or came back.
    pub paid: Money,
    /// What was owed after.
    pub closing: Money,
}

/// One booking on the partner's account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StatementLine {
    /// When it was booked.
    pub booked_at: DateTime<Utc>,
    /// `earned`, `reversed`, `reserved`, `failed` or `returned`.
    pub kind: String,
    /// The order, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_id: Option<String>,
    /// Added to the balance, or taken off it.
    pub money: Money,
}

impl Query for Statement {
    type Answer = StatementReport;
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "statement";
    const HTTP: Option<Http> = Some(Http::get("/api/v1/partners/{partner_id}/statements/{year}/{month}"));
    const SCOPE: &'static str = "partners:read";

    fn example() -> Self {
        Statement { partner_id: a_partner(), year: 2026, month: 10, after: None, limit: 50 }
    }
}
