#![doc = include_str!("../README.md")]

mod add_code;
mod add_link;
mod apply_tiers;
mod ask;
mod cents;
mod check_ledger;
mod cursor;
mod decide_partner;
mod destination;
mod follow_link;
mod move_partner;
mod names;
mod nightly;
mod order;
mod order_webhook;
mod partner;
mod payout;
mod provider;
mod record_click;
mod record_order;
mod record_refund;
mod refund_webhook;
mod register_partner;
mod replay;
mod request_payout;
mod reservation;
mod reversal;
mod review_order;
mod rotate_webhook_secret;
mod rules;
mod run_payouts;
mod secrets;
mod set_payout_account;
mod set_program;
mod set_tier;
pub mod settings;
mod settle_payout;
mod simulate;
mod split;
mod statement_page;
mod submit_payout;
mod suspicion;
mod tree;
mod webhook;
mod words;

pub use secrets::sign;
pub use settings::Settings;

use omnibus_runtime::Worker;
use omnibus_schemas::commissioner::{
    AddCode, AddLink, ApplyTiers, CheckLedger, CheckLedgerPart, CommissionsCsv, DOMAIN, DecidePartner,
    ExplainCommission, FollowLink, HeldOrders, Ledger, LedgerCsv, LedgerHealth, MovePartner, OrderWebhook,
    PartnerCommissions, PartnerPage, PartnerReferrals, PartnerStats, Partners, PartnersCsv, Payouts, PayoutsCsv,
    ProgramRules, Programs, RecordClick, RecordOrder, RecordRefund, ReferralsCsv, RefundWebhook, RegisterPartner,
    RequestPayout, ReviewOrder, RotateWebhookSecret, RunPayouts, RunPayoutsPart, SetPayoutAccount, SetProgram, SetTier,
    SettlePayout, Simulate, Statement, StatementCsv, StatementPage, SubmitPayout, WebhookSecret,
};

use provider::Provider;
use rules::RuleBook;
use secrets::Secrets;

/// The worker: its tables, and what it does with each command and query.
pub fn worker(settings: Settings) -> anyhow::Result<Worker> {
    Ok(Worker::new(DOMAIN, Commissioner::new(&settings)?)
        .migrations(
            DOMAIN,
            &[
                ("0001_ledger", include_str!("../migrations/0001_ledger.sql")),
                ("0002_webhook", include_str!("../migrations/0002_webhook.sql")),
                ("0003_balances", include_str!("../migrations/0003_balances.sql")),
                ("0004_look_ups", include_str!("../migrations/0004_look_ups.sql")),
                ("0005_commissions_by_their_ids", include_str!("../migrations/0005_commissions_by_their_ids.sql")),
                ("0006_fewer_index_rows", include_str!("../migrations/0006_fewer_index_rows.sql")),
            ],
        )
        .handles::<SetProgram>()
        .handles::<RotateWebhookSecret>()
        .handles::<RegisterPartner>()
        .handles::<DecidePartner>()
        .handles::<SetTier>()
        .handles::<ApplyTiers>()
        .handles::<MovePartner>()
        .handles::<AddLink>()
        .handles::<AddCode>()
        .handles::<SetPayoutAccount>()
        .handles::<RecordClick>()
        .handles_many::<RecordOrder>()
        .handles::<RecordRefund>()
        .handles::<ReviewOrder>()
        .handles::<RequestPayout>()
        .handles::<RunPayouts>()
        .handles::<RunPayoutsPart>()
        .effects::<SubmitPayout>()
        .handles::<SettlePayout>()
        .handles::<CheckLedger>()
        .handles::<CheckLedgerPart>()
        .handles::<Simulate>()
        .answers::<ProgramRules>()
        .answers::<Programs>()
        .answers::<WebhookSecret>()
        .answers::<PartnerPage>()
        .answers::<Partners>()
        .answers::<PartnerReferrals>()
        .answers::<PartnerCommissions>()
        .answers::<ExplainCommission>()
        .answers::<PartnerStats>()
        .answers::<Statement>()
        .answers::<HeldOrders>()
        .answers::<Payouts>()
        .answers::<Ledger>()
        .answers::<LedgerCsv>()
        .answers::<PayoutsCsv>()
        .answers::<PartnersCsv>()
        .answers::<CommissionsCsv>()
        .answers::<ReferralsCsv>()
        .answers::<StatementCsv>()
        .answers::<LedgerHealth>()
        .receives::<FollowLink>()
        .receives::<OrderWebhook>()
        .receives::<RefundWebhook>()
        .receives::<StatementPage>()
        .runs("nightly", |_, desk| nightly::run(desk))
        .build())
}

/// What the handlers share.
#[derive(Debug)]
pub(crate) struct Commissioner {
    rules: RuleBook,
    secrets: Secrets,
    provider: Provider,
}

impl Commissioner {
    /// Checks the settings. Connects to nothing yet.
    pub(crate) fn new(settings: &Settings) -> anyhow::Result<Self> {
        settings.check()?;
        Ok(Commissioner {
            rules: RuleBook::default(),
            secrets: Secrets::new(settings),
            provider: Provider::new(settings)?,
        })
    }
}
