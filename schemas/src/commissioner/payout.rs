//! Payouts: reserved, submitted, then confirmed, failed or returned.

use chrono::{DateTime, Utc};
use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Currency, DOMAIN, Money, ONE_LINE, a_page, a_partner, a_time, an_id, main_program, one_line};
use crate::Token;
use crate::contract::{Command, Event, Http, Query};

/// Pays a partner what is due in one currency. The payout's id is derived from the command's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct RequestPayout {
    /// The partner.
    #[garde(skip)]
    pub partner_id: Uuid,
    /// The currency; nothing is added across currencies.
    #[garde(skip)]
    pub currency: Currency,
}

impl Command for RequestPayout {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "request_payout";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/partners/{partner_id}/payout"));
    const SCOPE: &'static str = "partners:pay";

    fn example() -> Self {
        RequestPayout { partner_id: a_partner(), currency: "EUR".parse().expect("EUR is known") }
    }
}

/// Pays every partner of a program what is due. A program with a payout day does it by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct RunPayouts {
    /// The program.
    #[garde(skip)]
    pub program: Token,
}

/// A run that was planned, or the next part of one that is under way. Follows by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct RunPayoutsPart {
    /// The program.
    #[garde(skip)]
    pub program: Token,
    /// The time it was planned for; absent if a person asked. A planned run that is not the program's next is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub due: Option<DateTime<Utc>>,
    /// Where a long run goes on; absent at its beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub after: Option<Uuid>,
}

impl Command for RunPayoutsPart {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "run_payouts_part";
    const SCOPE: &'static str = "partners:pay";

    fn example() -> Self {
        RunPayoutsPart { program: main_program(), due: Some(a_time()), after: None }
    }
}

impl Command for RunPayouts {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "run_payouts";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/partners/programs/{program}/payouts"));
    const SCOPE: &'static str = "partners:pay";

    fn example() -> Self {
        RunPayouts { program: main_program() }
    }
}

/// A part of a program's payouts was reserved; the last part says when the next run is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PayoutsRun {
    /// The program.
    pub program: Token,
    /// How many payouts were reserved in this part.
    pub reserved: u32,
    /// Is there another part?
    pub more: bool,
    /// When the next run by itself is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_run: Option<DateTime<Utc>>,
}

impl Event for PayoutsRun {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "payouts_run";

    fn example() -> Self {
        PayoutsRun { program: main_program(), reserved: 1, more: false, next_run: Some(a_time()) }
    }
}

/// A partner's money was set aside; it is in no other payout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PayoutReserved {
    /// The payout.
    pub payout_id: Uuid,
    /// Whom it pays.
    pub partner_id: Uuid,
    /// The program.
    pub program: Token,
    /// How much, in the minor unit.
    pub amount: i64,
    /// Its currency.
    pub currency: Currency,
    /// How many ledger entries it settles.
    pub entries: u32,
}

impl Event for PayoutReserved {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "payout_reserved";

    fn example() -> Self {
        PayoutReserved {
            payout_id: an_id(5),
            partner_id: a_partner(),
            program: main_program(),
            amount: 12_345,
            currency: "EUR".parse().expect("EUR is known"),
            entries: 3,
        }
    }
}

/// Hands a reserved payout to the provider. Follows a reservation by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct SubmitPayout {
    /// The payout.
    #[garde(skip)]
    pub payout_id: Uuid,
}

impl Command for SubmitPayout {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "submit_payout";
    const LANE: &'static str = "payouts";
    const SCOPE: &'static str = "partners:pay";

    fn example() -> Self {
        SubmitPayout { payout_id: an_id(5) }
    }
}

/// How far a payout has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PayoutStatus {
    /// Set aside.
    Reserved,
    /// The provider has it.
    Submitted,
    /// Nobody knows whether the provider has it; a person decides. It is not sent again by itself.
    Uncertain,
    /// The money has arrived.
    Confirmed,
    /// It was not paid; the partner's balance has the money again.
    Failed,
    /// It was paid and came back; the partner's balance has the money again.
    Returned,
}

/// The provider has a payout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PayoutSubmitted {
    /// The payout.
    pub payout_id: Uuid,
    /// `file` or `http`.
    pub provider: String,
    /// What the provider knows it by.
    pub reference: String,
    /// Orders the events about one payout.
    pub revision: i32,
}

impl Event for PayoutSubmitted {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "payout_submitted";

    fn example() -> Self {
        PayoutSubmitted {
            payout_id: an_id(5),
            provider: "file".into(),
            reference: "demo/EUR/payout.csv".into(),
            revision: 2,
        }
    }
}

/// Nobody knows whether a payout left; a person decides (`omnibus held`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PayoutUncertain {
    /// The payout.
    pub payout_id: Uuid,
    /// What is known.
    pub detail: String,
    /// Orders the events about one payout.
    pub revision: i32,
}

impl Event for PayoutUncertain {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "payout_uncertain";

    fn example() -> Self {
        PayoutUncertain { payout_id: an_id(5), detail: "no answer within 30 s".into(), revision: 2 }
    }
}

/// Says what became of a submitted payout: by a person, or by a provider's report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct SettlePayout {
    /// The payout.
    #[garde(skip)]
    pub payout_id: Uuid,
    /// What became of it.
    #[garde(skip)]
    pub result: PayoutResult,
    /// What is known, for the record. At most 500 characters.
    #[serde(default)]
    #[garde(length(chars, max = 500), custom(one_line))]
    #[schemars(regex(pattern = ONE_LINE))]
    pub note: String,
}

/// What became of a payout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PayoutResult {
    /// The money has arrived: of a submitted or uncertain payout, or of one that was taken for failed.
    Confirmed,
    /// It was not paid: of a submitted or uncertain payout.
    Failed,
    /// It came back: of a submitted or confirmed payout.
    Returned,
}

impl Command for SettlePayout {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "settle_payout";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/partners/payouts/{payout_id}/result"));
    const SCOPE: &'static str = "partners:pay";

    fn example() -> Self {
        SettlePayout { payout_id: an_id(5), result: PayoutResult::Confirmed, note: "statement of 3 May".into() }
    }
}

/// What became of a payout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PayoutSettled {
    /// The payout.
    pub payout_id: Uuid,
    /// Whom it pays.
    pub partner_id: Uuid,
    /// Confirmed, failed or returned.
    pub status: PayoutStatus,
    /// How much, in the minor unit.
    pub amount: i64,
    /// Its currency.
    pub currency: Currency,
    /// What is known.
    pub detail: String,
    /// Orders the events about one payout.
    pub revision: i32,
}

impl Event for PayoutSettled {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "payout_settled";

    fn example() -> Self {
        PayoutSettled {
            payout_id: an_id(5),
            partner_id: a_partner(),
            status: PayoutStatus::Confirmed,
            amount: 12_345,
            currency: "EUR".parse().expect("EUR is known"),
            detail: "statement of 3 May".into(),
            revision: 3,
        }
    }
}

/// Asks for a program's payouts, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct Payouts {
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

/// A page of payouts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PayoutsPage {
    /// The payouts.
    pub items: Vec<PayoutReport>,
    /// Where the next page begins; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A payout as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PayoutReport {
    /// The payout.
    pub payout_id: Uuid,
    /// Whom it pays.
    pub partner_id: Uuid,
    /// How much.
    pub money: Money,
    /// How far it has come.
    pub status: PayoutStatus,
    /// What the provider knows it by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// When it was reserved.
    pub reserved_at: DateTime<Utc>,
    /// What is known besides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl Query for Payouts {
    type Answer = PayoutsPage;
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "payouts";
    const HTTP: Option<Http> = Some(Http::get("/api/v1/partners/payouts"));
    const SCOPE: &'static str = "partners:read";

    fn example() -> Self {
        Payouts { program: main_program(), partner_id: None, after: None, limit: 50 }
    }
}
