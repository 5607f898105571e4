//! The shadow: what orders, refunds and reviews come to, worked out again from themselves and compared with what the
//! ledger says, commission by commission; at the end, what payouts come to, compared with the accounts. It shares no
//! arithmetic with the booking.

use std::collections::BTreeMap;
use std::time::Duration;

use omnibus_runtime::{Cx, Events, Fail, Handle, Policy};
use omnibus_schemas::commissioner::{
    CheckLedger, LedgerChecked, LedgerDifferenceFound, OverrideBase, Review, SetProgram, Tier,
};
use sqlx::Row;
use uuid::Uuid;

use crate::Commissioner;
use crate::names::commission_id;
use crate::replay::{self, Page, Sold, Span};
use crate::reversal::currency;
use crate::rules::Program;

/// Pages in one command; what is left follows in the next.
const PAGES: usize = 25;
/// Differences told by one command; all are counted.
const TOLD: usize = 100;

impl Handle<CheckLedger> for Commissioner {
    const POLICY: Policy = Policy { timeout: Duration::from_secs(300), ..Policy::DEFAULT };

    async fn handle(&self, cx: &mut Cx<'_>, cmd: CheckLedger) -> Result<Events, Fail> {
        let (tenant, program) = (cx.tenant(), cmd.program.as_str());
        Program::wanted(cx.db(), tenant, program).await?;
        let mut found = Vec::new();
        let (mut after, mut orders, mut more) = (cmd.after.clone().unwrap_or_default(), cmd.orders, true);
        let mut differences = cmd.differences;
        for _ in 0..PAGES {
            let page = replay::page(cx.db(), tenant, program, &after, Span::ALL).await?;
            let Some(last) = page.last.clone() else {
                more = false;
                break;
            };
            let wrong = self.compare(cx, &cmd, &page, &after, &last).await?;
            differences += i64::try_from(wrong.len())?;
            found.extend(wrong.into_iter().take(TOLD - found.len().min(TOLD)));
            orders += page.orders;
            after = last;
        }
        if !more {
            let wrong = accounts(cx, &cmd).await?;
            differences += i64::try_from(wrong.len())?;
            found.extend(wrong.into_iter().take(TOLD - found.len().min(TOLD)));
            finish(cx, &cmd, orders, differences).await?;
        }
        if !found.is_empty() {
            tracing::error!(tenant, program, differences, "the ledger and the orders say different things");
        }
        let mut events = found.into_iter().fold(Events::none(), Events::and);
        if more {
            let after = Some(after);
            events = events.then(CheckLedger { program: cmd.program.clone(), after, orders, differences });
        }
        let about = cmd.program.as_str().to_owned();
        Ok(events.about(about, LedgerChecked { program: cmd.program, orders, differences, more }))
    }
}

impl Commissioner {
    /// Everything in which the page and the ledger differ.
    async fn compare(
        &self,
        cx: &mut Cx<'_>,
        cmd: &CheckLedger,
        page: &Page,
        after: &str,
        last: &str,
    ) -> Result<Vec<LedgerDifferenceFound>, Fail> {
        let (tenant, program) = (cx.tenant(), cmd.program.as_str());
        let mut expected: BTreeMap<Uuid, LedgerDifferenceFound> = BTreeMap::new();
        for sold in &page.sold {
            let rules = self.rules.version(cx.db(), tenant, program, sold.rules_version).await?;
            for (level, partner_id, earned) in worked_out(&rules, sold) {
                let id = commission_id(tenant, program, &sold.order_id, &sold.line_id, level, partner_id);
                let difference = LedgerDifferenceFound {
                    program: cmd.program.clone(),
                    order_id: Some(sold.order_id.clone()),
                    line_id: Some(sold.line_id.clone()),
                    partner_id,
                    level,
                    expected: left(earned, sold),
                    booked: 0,
                    currency: sold.currency,
                };
                expected.insert(id, difference);
            }
        }
        let rows = sqlx::query(
            "select commission_id, order_id, partner_id, currency,
                sum(case kind when 'earned' then amount else -amount end)::bigint as booked
             from commissioner.transfers
             where tenant = $1 and program = $2 and order_id > $3 and order_id <= $4
             group by commission_id, order_id, partner_id, currency",
        )
        .bind(tenant)
        .bind(program)
        .bind(after)
        .bind(last)
        .fetch_all(cx.db())
        .await?;
        let mut wrong = Vec::new();
        for row in rows {
            let (id, booked): (Uuid, i64) = (row.try_get("commission_id")?, row.try_get("booked")?);
            let (partner_id, in_currency) = (row.try_get("partner_id")?, currency(row.try_get("currency")?)?);
            match expected.get_mut(&id) {
                Some(line) if line.partner_id == partner_id && line.currency == in_currency => line.booked += booked,
                // Nobody earned this, or not in this currency.
                _ => wrong.push(LedgerDifferenceFound {
                    program: cmd.program.clone(),
                    order_id: row.try_get("order_id")?,
                    line_id: None,
                    partner_id,
                    level: 0,
                    expected: 0,
                    booked,
                    currency: in_currency,
                }),
            }
        }
        wrong.extend(expected.into_values().filter(|line| line.expected != line.booked));
        Ok(wrong)
    }
}

/// Level, partner and amount of all that a line earned.
fn worked_out(rules: &SetProgram, sold: &Sold) -> Vec<(i16, Uuid, i64)> {
    let rate = match sold.tier {
        Tier::Bronze => rules.rates.bronze_bp,
        Tier::Silver => rules.rates.silver_bp,
        Tier::Gold => rules.rates.gold_bp,
        Tier::Platinum => rules.rates.platinum_bp,
    };
    let own = nearest(i128::from(sold.base) * i128::from(rate), 10_000);
    let (mut all, mut below) = (vec![(0, sold.seller, own)], own);
    for (n, parent) in sold.parents.iter().enumerate() {
        let Some(rate) = rules.overrides_bp.get(n) else { break };
        let of = if rules.override_base == OverrideBase::Sale { sold.base } else { below };
        below = nearest(i128::from(of) * i128::from(*rate), 10_000);
        if let Some(partner) = parent {
            all.push((i16::try_from(n + 1).unwrap_or(i16::MAX), *partner, below));
        }
    }
    all
}

/// What is left of a commission after refunds and review.
fn left(earned: i64, sold: &Sold) -> i64 {
    let gone = match (sold.review, sold.whole, sold.paid) {
        (Review::Refused, ..) | (_, true, _) => earned,
        (_, false, 0) => 0,
        (_, false, paid) => nearest(i128::from(earned) * i128::from(sold.back), i128::from(paid)),
    };
    earned - gone
}

/// The nearest whole number, the upper one of two that are as near.
fn nearest(over: i128, under: i128) -> i64 {
    let (whole, rest) = (over.div_euclid(under), over.rem_euclid(under));
    i64::try_from(whole + i128::from(2 * rest >= under)).unwrap_or(i64::MAX)
}

/// What payouts come to, against the accounts that their money is on.
async fn accounts(cx: &mut Cx<'_>, cmd: &CheckLedger) -> Result<Vec<LedgerDifferenceFound>, Fail> {
    let (tenant, program) = (cx.tenant(), cmd.program.as_str());
    let rows = sqlx::query(
        "with booked as (
            select partner_id, currency, account, balance from commissioner.balances
            where tenant = $1 and program = $2 and account in ('clearing', 'bank')
         ), expected as (
            select partner_id, currency, case status when 'confirmed' then 'bank' else 'clearing' end as account,
                sum(amount)::bigint as balance
            from commissioner.payouts
            where tenant = $1 and program = $2 and status in ('reserved', 'submitted', 'uncertain', 'confirmed')
            group by 1, 2, 3
         )
         select partner_id, currency, coalesce(e.balance, 0) as expected, coalesce(b.balance, 0) as booked
         from booked b full join expected e using (partner_id, currency, account)
         where coalesce(e.balance, 0) <> coalesce(b.balance, 0)",
    )
    .bind(tenant)
    .bind(program)
    .fetch_all(cx.db())
    .await?;
    let difference = |row: &sqlx::postgres::PgRow| {
        Ok::<_, sqlx::Error>(LedgerDifferenceFound {
            program: cmd.program.clone(),
            order_id: None,
            line_id: None,
            partner_id: row.try_get("partner_id")?,
            level: 0,
            expected: row.try_get("expected")?,
            booked: row.try_get("booked")?,
            currency: currency(row.try_get("currency")?)?,
        })
    };
    Ok(rows.iter().map(difference).collect::<Result<_, _>>()?)
}

async fn finish(cx: &mut Cx<'_>, cmd: &CheckLedger, orders: i64, differences: i64) -> Result<(), sqlx::Error> {
    let (tenant, now) = (cx.tenant(), cx.now());
    sqlx::query(
        "insert into commissioner.checks as c (tenant, program, checked_at, orders, differences)
         values ($1, $2, $3, $4, $5)
         on conflict (tenant, program) do update
         set checked_at = excluded.checked_at, orders = excluded.orders, differences = excluded.differences
         where c.checked_at <= excluded.checked_at",
    )
    .bind(tenant)
    .bind(cmd.program.as_str())
    .bind(now)
    .bind(orders)
    .bind(differences)
    .execute(cx.db())
    .await?;
    Ok(())
}
