//! The shadow: what orders, refunds and reviews come to, worked out again from themselves and compared with what the
//! ledger says, commission by commission; at the end, what payouts come to, compared with the accounts. It shares no
//! arithmetic with the booking.

use std::collections::BTreeMap;
use std::time::Duration;

use omnibus_runtime::{Cx, Events, Fail, Handle, Policy};
use omnibus_schemas::Token;
use omnibus_schemas::commissioner::{
    CheckLedger, CheckLedgerPart, LedgerChecked, LedgerDifferenceFound, OverrideBase, Review, SetProgram, Tier,
};
use sqlx::Row;
use uuid::Uuid;

use crate::Commissioner;
use crate::names::{commission, hashed};
use crate::replay::{self, Sold};
use crate::reversal::currency;
use crate::rules::Program;

/// Pages in one command; what is left follows in the next.
const PAGES: usize = 25;
/// Differences told by one command; all are counted.
const TOLD: usize = 100;

const PATIENT: Policy = Policy { timeout: Duration::from_secs(300), ..Policy::DEFAULT };

impl Handle<CheckLedger> for Commissioner {
    const POLICY: Policy = PATIENT;

    async fn handle(&self, cx: &mut Cx<'_>, cmd: CheckLedger) -> Result<Events, Fail> {
        let first = CheckLedgerPart { program: cmd.program, after: None, orders: 0, differences: 0 };
        <Self as Handle<CheckLedgerPart>>::handle(self, cx, first).await
    }
}

impl Handle<CheckLedgerPart> for Commissioner {
    const POLICY: Policy = PATIENT;

    async fn handle(&self, cx: &mut Cx<'_>, cmd: CheckLedgerPart) -> Result<Events, Fail> {
        let (tenant, program) = (cx.tenant(), cmd.program.as_str());
        Program::wanted(cx.db(), tenant, program).await?;
        let mut found = Vec::new();
        let (mut after, mut orders, mut more) = (cmd.after.clone().unwrap_or_default(), cmd.orders, true);
        let mut differences = cmd.differences;
        for _ in 0..PAGES {
            let ids = replay::next(cx.db(), tenant, program, &after, None).await?;
            let Some(last) = ids.last().cloned() else {
                more = false;
                break;
            };
            let wrong = self.surely_wrong(cx, &cmd.program, &ids).await?;
            differences += i64::try_from(wrong.len())?;
            found.extend(wrong.into_iter().take(TOLD - found.len().min(TOLD)));
            orders += i64::try_from(ids.len())?;
            after = last;
        }
        if !more {
            let wrong = accounts(cx, &cmd.program).await?;
            differences += i64::try_from(wrong.len())?;
            found.extend(wrong.into_iter().take(TOLD - found.len().min(TOLD)));
            finish(cx, &cmd.program, orders, differences).await?;
        }
        if !found.is_empty() {
            tracing::error!(tenant, program, differences, "the ledger and the orders say different things");
        }
        let mut events = found.into_iter().fold(Events::none(), Events::and);
        if more {
            let after = Some(after);
            events = events.then(CheckLedgerPart { program: cmd.program.clone(), after, orders, differences });
        }
        let about = cmd.program.as_str().to_owned();
        Ok(events.about(about, LedgerChecked { program: cmd.program, orders, differences, more }))
    }
}

impl Commissioner {
    /// What differs, and still does once nobody can change those orders: between two looks a refund may be booked.
    async fn surely_wrong(
        &self,
        cx: &mut Cx<'_>,
        program: &Token,
        ids: &[String],
    ) -> Result<Vec<LedgerDifferenceFound>, Fail> {
        let suspect = self.compare(cx, program, ids).await?;
        if suspect.is_empty() {
            return Ok(suspect);
        }
        let mut ids: Vec<String> = suspect.into_iter().filter_map(|difference| difference.order_id).collect();
        ids.sort_unstable();
        ids.dedup();
        let tenant = cx.tenant();
        sqlx::query(
            "select 1 from commissioner.orders where tenant = $1 and program = $2 and order_id = any($3)
             order by order_id for share",
        )
        .bind(tenant)
        .bind(program.as_str())
        .bind(&ids)
        .execute(cx.db())
        .await?;
        self.compare(cx, program, &ids).await
    }

    /// Everything in which these orders and the ledger differ.
    async fn compare(
        &self,
        cx: &mut Cx<'_>,
        program: &Token,
        ids: &[String],
    ) -> Result<Vec<LedgerDifferenceFound>, Fail> {
        let (tenant, name) = (cx.tenant(), program.as_str());
        // By what was hashed: ids of orders that are older than times in ids have none in front.
        let mut expected: BTreeMap<u128, LedgerDifferenceFound> = BTreeMap::new();
        let mut wrong = Vec::new();
        for sold in &replay::sold(cx.db(), tenant, name, ids).await? {
            let rules = self.rules.version(cx.db(), tenant, name, sold.rules_version).await?;
            let about = |partner_id, level, expected, booked| LedgerDifferenceFound {
                program: program.clone(),
                order_id: Some(sold.order_id.clone()),
                line_id: Some(sold.line_id.clone()),
                partner_id,
                level,
                expected,
                booked,
                currency: sold.currency,
            };
            if sold.back != sold.refunded {
                wrong.push(about(sold.seller, 0, sold.back, sold.refunded));
            }
            for (level, partner_id, earned) in worked_out(&rules, sold) {
                let one_of = commission(tenant, name, &sold.order_id, &sold.line_id, level, partner_id);
                expected.insert(hashed(one_of), about(partner_id, level, left(earned, sold), 0));
            }
        }
        // Order by order, as in `replay::sold`.
        let rows = sqlx::query(
            "select t.commission_id, t.order_id, t.partner_id, t.currency,
                sum(case t.kind when 'earned' then t.amount else -t.amount end)::bigint as booked
             from unnest($3::text[]) page (order_id)
             cross join lateral (
                select * from commissioner.transfers
                where tenant = $1 and program = $2 and order_id = page.order_id offset 0
             ) t
             group by t.commission_id, t.order_id, t.partner_id, t.currency",
        )
        .bind(tenant)
        .bind(name)
        .bind(ids)
        .fetch_all(cx.db())
        .await?;
        for row in rows {
            let (id, booked): (Uuid, i64) = (row.try_get("commission_id")?, row.try_get("booked")?);
            let (partner_id, in_currency) = (row.try_get("partner_id")?, currency(row.try_get("currency")?)?);
            match expected.get_mut(&hashed(id)) {
                Some(line) if line.partner_id == partner_id && line.currency == in_currency => line.booked += booked,
                // Nobody earned this, or not in this currency.
                _ => wrong.push(LedgerDifferenceFound {
                    program: program.clone(),
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
    let base = base(rules, sold);
    let own = nearest(i128::from(base) * i128::from(rate), 10_000);
    let (mut all, mut below) = (vec![(0, sold.seller, own)], own);
    for (n, parent) in sold.parents.iter().enumerate() {
        let Some(rate) = rules.overrides_bp.get(n) else { break };
        let of = if rules.override_base == OverrideBase::Sale { base } else { below };
        below = nearest(i128::from(of) * i128::from(*rate), 10_000);
        if let Some(partner) = parent {
            all.push((i16::try_from(n + 1).unwrap_or(i16::MAX), *partner, below));
        }
    }
    all
}

/// Of what commissions are taken, from what was paid.
fn base(rules: &SetProgram, sold: &Sold) -> i64 {
    let mut base = sold.paid;
    for (left_out, part) in [(rules.without_tax, sold.tax), (rules.without_shipping, sold.shipping)] {
        base -= i64::from(left_out) * part;
    }
    base += i64::from(!rules.without_discount) * sold.discount;
    match sold.fx_rate_e9 {
        None => base,
        // Minor units to whole ones, exchanged, and back: 10^9 for the rate, and the digits of both currencies.
        Some(rate) => nearest(
            i128::from(base) * i128::from(rate) * 10_i128.pow(sold.currency.digits().into()),
            10_i128.pow(9 + u32::from(sold.order_currency.digits())),
        ),
    }
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

/// What payouts come to, against the accounts that their money is on, and what each settles, against its amount.
async fn accounts(cx: &mut Cx<'_>, program: &Token) -> Result<Vec<LedgerDifferenceFound>, Fail> {
    let (tenant, name) = (cx.tenant(), program.as_str());
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
         ), settled as (
            select y.partner_id, y.currency, y.amount as expected,
                coalesce(sum(case t.kind when 'earned' then t.amount else -t.amount end), 0)::bigint as booked
            from commissioner.payouts y
            left join commissioner.payout_items i on i.tenant = y.tenant and i.payout_id = y.payout_id
                and i.live = (y.status not in ('failed', 'returned'))
            left join commissioner.transfers t on t.tenant = i.tenant and t.transfer_id = i.transfer_id
            where y.tenant = $1 and y.program = $2
            group by y.payout_id, y.partner_id, y.currency, y.amount
         )
         select partner_id, currency, coalesce(e.balance, 0) as expected, coalesce(b.balance, 0) as booked
         from booked b full join expected e using (partner_id, currency, account)
         where coalesce(e.balance, 0) <> coalesce(b.balance, 0)
         union all
         select partner_id, currency, expected, booked from settled where expected <> booked",
    )
    .bind(tenant)
    .bind(name)
    .fetch_all(cx.db())
    .await?;
    let difference = |row: &sqlx::postgres::PgRow| {
        Ok::<_, sqlx::Error>(LedgerDifferenceFound {
            program: program.clone(),
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

async fn finish(cx: &mut Cx<'_>, program: &Token, orders: i64, differences: i64) -> Result<(), sqlx::Error> {
    let (tenant, now) = (cx.tenant(), cx.now());
    sqlx::query(
        "insert into commissioner.checks as c (tenant, program, checked_at, orders, differences)
         values ($1, $2, $3, $4, $5)
         on conflict (tenant, program) do update
         set checked_at = excluded.checked_at, orders = excluded.orders, differences = excluded.differences
         where c.checked_at <= excluded.checked_at",
    )
    .bind(tenant)
    .bind(program.as_str())
    .bind(now)
    .bind(orders)
    .bind(differences)
    .execute(cx.db())
    .await?;
    Ok(())
}
