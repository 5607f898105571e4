//! The lists as CSV. An amount is a decimal, with its currency in the next column; a time is RFC 3339; a text is never one
//! that a spreadsheet takes for a formula.

use chrono::{DateTime, Utc};
use omnibus_runtime::{Answer, Ask, AskError};
use omnibus_schemas::commissioner::{
    CommissionsCsv, LedgerCsv, Money, Partners, PartnersCsv, PayoutsCsv, ReferralsCsv, Sheet, Statement, StatementCsv,
};
use uuid::Uuid;

use super::{commissions, ledger, partners, payouts, programs, referrals};
use crate::Commissioner;
use crate::provider::plain;
use crate::words::word;

/// Rows under a heading, which stands on the first page alone, so that pages in a row are one file.
struct Rows {
    csv: csv::Writer<Vec<u8>>,
}

impl Rows {
    fn under(heading: &[&str], after: Option<&String>) -> Result<Self, AskError> {
        let mut csv = csv::Writer::from_writer(Vec::new());
        if after.is_none() {
            csv.write_record(heading).map_err(|error| AskError::Failed(error.into()))?;
        }
        Ok(Rows { csv })
    }

    fn row<const N: usize>(&mut self, fields: [String; N]) -> Result<(), AskError> {
        self.csv.write_record(fields).map_err(|error| AskError::Failed(error.into()))
    }

    fn sheet(self, next: Option<String>) -> Result<Sheet, AskError> {
        let bytes = self.csv.into_inner().map_err(|error| AskError::Failed(anyhow::anyhow!("{error}")))?;
        let csv = String::from_utf8(bytes).map_err(|error| AskError::Failed(error.into()))?;
        Ok(Sheet { csv, next })
    }
}

fn amount(money: Money) -> String {
    money.currency.decimal(money.amount)
}

fn code(money: Money) -> String {
    money.currency.code().to_owned()
}

fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339()
}

fn id(id: Option<Uuid>) -> String {
    id.map(|id| id.to_string()).unwrap_or_default()
}

fn text(text: Option<&str>) -> String {
    plain(text.unwrap_or_default())
}

impl Answer<LedgerCsv> for Commissioner {
    async fn answer(&self, ask: &mut Ask<'_>, query: LedgerCsv) -> Result<Sheet, AskError> {
        programs::known(ask, query.program.as_str()).await?;
        let heading = [
            "transfer_id",
            "booked_at",
            "kind",
            "debit",
            "credit",
            "amount",
            "currency",
            "partner_id",
            "commission_id",
            "order_id",
            "refund_id",
            "payout_id",
        ];
        let mut rows = Rows::under(&heading, query.after.as_ref())?;
        let from = query.after.as_deref();
        let (items, next) = ledger::page(ask, query.program.as_str(), query.partner_id, from, query.limit).await?;
        for t in items {
            rows.row([
                t.transfer_id.to_string(),
                time(t.booked_at),
                t.kind,
                t.debit,
                t.credit,
                amount(t.money),
                code(t.money),
                t.partner_id.to_string(),
                id(t.commission_id),
                text(t.order_id.as_deref()),
                text(t.refund_id.as_deref()),
                id(t.payout_id),
            ])?;
        }
        rows.sheet(next)
    }
}

impl Answer<PayoutsCsv> for Commissioner {
    async fn answer(&self, ask: &mut Ask<'_>, query: PayoutsCsv) -> Result<Sheet, AskError> {
        programs::known(ask, query.program.as_str()).await?;
        let heading = ["payout_id", "partner_id", "amount", "currency", "status", "reference", "reserved_at", "detail"];
        let mut rows = Rows::under(&heading, query.after.as_ref())?;
        let from = query.after.as_deref();
        let page = payouts::page(ask, query.program.as_str(), query.partner_id, from, query.limit).await?;
        for payout in page.items {
            rows.row([
                payout.payout_id.to_string(),
                payout.partner_id.to_string(),
                amount(payout.money),
                code(payout.money),
                word(&payout.status),
                text(payout.reference.as_deref()),
                time(payout.reserved_at),
                text(payout.detail.as_deref()),
            ])?;
        }
        rows.sheet(page.next)
    }
}

impl Answer<PartnersCsv> for Commissioner {
    async fn answer(&self, ask: &mut Ask<'_>, query: PartnersCsv) -> Result<Sheet, AskError> {
        programs::known(ask, query.program.as_str()).await?;
        let heading = ["partner_id", "name", "status", "tier", "parent_id", "registered_at"];
        let mut rows = Rows::under(&heading, query.after.as_ref())?;
        let PartnersCsv { program, after, limit } = query;
        let page = partners::page(ask, &Partners { program, parent_id: None, pending: false, after, limit }).await?;
        for partner in page.items {
            rows.row([
                partner.partner_id.to_string(),
                plain(&partner.name),
                word(&partner.status),
                word(&partner.tier),
                id(partner.parent_id),
                time(partner.registered_at),
            ])?;
        }
        rows.sheet(page.next)
    }
}

impl Answer<CommissionsCsv> for Commissioner {
    async fn answer(&self, ask: &mut Ask<'_>, query: CommissionsCsv) -> Result<Sheet, AskError> {
        let heading = [
            "commission_id",
            "order_id",
            "line_id",
            "level",
            "rate_bp",
            "base",
            "earned",
            "reversed",
            "currency",
            "ordered_at",
            "available_at",
            "review",
        ];
        let mut rows = Rows::under(&heading, query.after.as_ref())?;
        let page = commissions::page(ask, query.partner_id, query.after.as_deref(), query.limit).await?;
        for c in page.items {
            rows.row([
                c.commission_id.to_string(),
                plain(&c.order_id),
                plain(&c.line_id),
                c.level.to_string(),
                c.rate_bp.to_string(),
                amount(c.base),
                amount(c.earned),
                amount(c.reversed),
                code(c.earned),
                time(c.ordered_at),
                time(c.available_at),
                word(&c.review),
            ])?;
        }
        rows.sheet(page.next)
    }
}

impl Answer<ReferralsCsv> for Commissioner {
    async fn answer(&self, ask: &mut Ask<'_>, query: ReferralsCsv) -> Result<Sheet, AskError> {
        let mut rows = Rows::under(&["customer_id", "bound_at", "by", "orders"], query.after.as_ref())?;
        let page = referrals::page(ask, query.partner_id, query.after.as_deref(), query.limit).await?;
        for referral in page.items {
            let by = word(&referral.by);
            rows.row([plain(&referral.customer_id), time(referral.bound_at), by, referral.orders.to_string()])?;
        }
        rows.sheet(page.next)
    }
}

impl Answer<StatementCsv> for Commissioner {
    async fn answer(&self, ask: &mut Ask<'_>, query: StatementCsv) -> Result<Sheet, AskError> {
        let mut rows = Rows::under(&["booked_at", "kind", "order_id", "amount", "currency"], query.after.as_ref())?;
        let StatementCsv { partner_id, year, month, after, limit } = query;
        let report = self.answer(ask, Statement { partner_id, year, month, after, limit }).await?;
        for line in report.lines {
            let order = text(line.order_id.as_deref());
            rows.row([time(line.booked_at), line.kind, order, amount(line.money), code(line.money)])?;
        }
        rows.sheet(report.next)
    }
}
