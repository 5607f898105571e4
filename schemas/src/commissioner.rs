//! Partners and their money: programs, partners, orders, commissions, refunds, payouts and the ledger under them.
//!
//! Amounts are integers in the currency's minor unit (cents), rates are basis points (1 bp = 0.01 %), and there is one
//! rounding rule: halves go up, away from nothing, once per commission and once per cumulative refund.

mod click;
mod hooks;
mod ledger;
mod money;
mod order;
mod partner;
mod payout;
mod program;
mod refund;
mod report;
mod review;
mod sheets;
mod simulation;
mod webhook;

pub use click::*;
pub use hooks::*;
pub use ledger::*;
pub use money::*;
pub use order::*;
pub use partner::*;
pub use payout::*;
pub use program::*;
pub use refund::*;
pub use report::*;
pub use review::*;
pub use sheets::*;
pub use simulation::*;
pub use webhook::*;

use uuid::Uuid;

use crate::catalogue::Domain;

/// The domain's name on the bus.
pub const DOMAIN: &str = "commissioner";

/// The domain's catalogue.
pub fn domain() -> Domain {
    Domain::new(DOMAIN, "Partners and commissions")
        .command::<SetProgram>()
        .command::<RotateWebhookSecret>()
        .command::<RegisterPartner>()
        .command::<DecidePartner>()
        .command::<SetTier>()
        .command::<ApplyTiers>()
        .command::<MovePartner>()
        .command::<AddLink>()
        .command::<AddCode>()
        .command::<SetPayoutAccount>()
        .command::<RecordClick>()
        .command::<RecordOrder>()
        .command::<RecordRefund>()
        .command::<ReviewOrder>()
        .command::<RequestPayout>()
        .command::<RunPayouts>()
        .command::<RunPayoutsPart>()
        .command::<SubmitPayout>()
        .command::<SettlePayout>()
        .command::<CheckLedger>()
        .command::<CheckLedgerPart>()
        .command::<Simulate>()
        .event::<ProgramSet>()
        .event::<WebhookSecretRotated>()
        .event::<PartnerRegistered>()
        .event::<PartnerStatusChanged>()
        .event::<TierChanged>()
        .event::<TiersApplied>()
        .event::<PartnerMoved>()
        .event::<LinkAdded>()
        .event::<CodeAdded>()
        .event::<PayoutAccountSet>()
        .event::<ClickRecorded>()
        .event::<OrderRecorded>()
        .event::<CommissionEarned>()
        .event::<CommissionReversed>()
        .event::<RefundRecorded>()
        .event::<ReviewDecided>()
        .event::<PayoutReserved>()
        .event::<PayoutsRun>()
        .event::<PayoutSubmitted>()
        .event::<PayoutUncertain>()
        .event::<PayoutSettled>()
        .event::<LedgerDifferenceFound>()
        .event::<LedgerChecked>()
        .event::<SimulationDone>()
        .query::<ProgramRules>()
        .query::<Programs>()
        .query::<WebhookSecret>()
        .query::<PartnerPage>()
        .query::<Partners>()
        .query::<PartnerReferrals>()
        .query::<PartnerCommissions>()
        .query::<ExplainCommission>()
        .query::<PartnerStats>()
        .query::<Statement>()
        .query::<HeldOrders>()
        .query::<Payouts>()
        .query::<Ledger>()
        .query::<LedgerCsv>()
        .query::<PayoutsCsv>()
        .query::<PartnersCsv>()
        .query::<CommissionsCsv>()
        .query::<ReferralsCsv>()
        .query::<StatementCsv>()
        .query::<LedgerHealth>()
        .hook::<FollowLink>()
        .hook::<OrderWebhook>()
        .hook::<RefundWebhook>()
        .hook::<StatementPage>()
}

/// Most items of one page of a list.
pub const PAGE_MOST: u16 = 200;

fn a_page() -> u16 {
    50
}

fn yes() -> bool {
    true
}

fn is_false(flag: &bool) -> bool {
    !flag
}

/// [`one_line`], for the JSON Schema.
const ONE_LINE: &str = r"^[^\u0000-\u001F\u007F-\u009F]*$";

/// Ids and names are one line: a control character is a mistake, and the database takes no NUL.
fn one_line(text: &str, _: &()) -> garde::Result {
    match text.chars().any(char::is_control) {
        true => Err(garde::Error::new("must be one line without control characters")),
        false => Ok(()),
    }
}

fn main_program() -> crate::Token {
    "main".parse().expect("a constant that is a token")
}

fn an_id(n: u128) -> Uuid {
    Uuid::from_u128(0x0197_9f6e_5a00_7000_8000_00c0_0000_0000 + n)
}

fn a_partner() -> Uuid {
    an_id(1)
}

fn a_time() -> chrono::DateTime<chrono::Utc> {
    chrono::DateTime::from_timestamp(1_790_000_000, 0).expect("a constant within range")
}
