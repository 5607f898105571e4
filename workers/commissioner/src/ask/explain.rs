//! Why a commission is what it is: click, order, rules and ledger as one chain, with a sentence for each link.

use omnibus_runtime::{Answer, Ask, AskError};
use omnibus_schemas::commissioner::{
    Attribution, CommissionReport, Currency, ExplainCommission, Explanation, Money, Review, Tier, Transfer,
};
use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::commissions::report;
use super::ledger::transfer;
use crate::Commissioner;
use crate::reversal::currency;
use crate::words::{read, word};

/// Transfers that are shown. What was taken back is added up of all.
const MOST: usize = 500;

impl Answer<ExplainCommission> for Commissioner {
    async fn answer(&self, ask: &mut Ask<'_>, query: ExplainCommission) -> Result<Explanation, AskError> {
        let row = sqlx::query(
            "select c.*, o.available_at, o.review, o.reasons, o.attribution, o.click_id, o.partner_id as sold_by,
                o.tier, o.parents, o.rules_version, o.currency as order_currency, o.customer_id, l.fx_rate_e9,
                l.amount as paid, l.tax, l.shipping, l.discount, k.clicked_at, k.link, b.bound_at, coalesce((
                    select sum(t.amount) from commissioner.transfers t
                    where t.tenant = c.tenant and t.program = c.program and t.order_id = c.order_id
                        and t.commission_id = c.commission_id and t.kind = 'reversed'), 0)::bigint as reversed
             from commissioner.commissions c
             join commissioner.orders o using (tenant, program, order_id)
             join commissioner.lines l using (tenant, program, order_id, line_id)
             left join commissioner.clicks k on k.tenant = o.tenant and k.click_id = o.click_id
             left join commissioner.customers b
                on b.tenant = o.tenant and b.program = o.program and b.customer_id = o.customer_id
             where c.tenant = $1 and c.commission_id = $2",
        )
        .bind(ask.tenant)
        .bind(query.commission_id)
        .fetch_optional(&mut *ask.db)
        .await?
        .ok_or_else(|| AskError::NotFound("there is no such commission".into()))?;
        let mut transfers = transfers(ask, &row).await?;
        let commission = report(&row)?;
        let more = transfers.len() > MOST;
        transfers.truncate(MOST);
        let mut chain = chain(&row, &commission, &transfers)?;
        if more {
            chain.push(format!("Ledger: more follows these {MOST}; the program's ledger has all of it."));
        }
        let parents: Vec<Option<Uuid>> = row.try_get("parents")?;
        Ok(Explanation {
            commission,
            click_id: row.try_get("click_id")?,
            attribution: read(row.try_get("attribution")?)?,
            sold_by: row.try_get("sold_by")?,
            tier: read(row.try_get("tier")?)?,
            parents: parents.into_iter().flatten().collect(),
            rules_version: row.try_get("rules_version")?,
            fx_rate_e9: row.try_get("fx_rate_e9")?,
            transfers,
            chain,
        })
    }
}

/// The commission's own transfers and those of the payouts that settled them, as many as are shown and one more.
async fn transfers(ask: &mut Ask<'_>, row: &PgRow) -> Result<Vec<Transfer>, sqlx::Error> {
    let rows = sqlx::query(
        "with own as (
            select * from commissioner.transfers
            where tenant = $1 and program = $2 and order_id = $3 and commission_id = $4
         )
         select * from own
         union all
         select p.* from commissioner.transfers p
         where p.tenant = $1 and p.partner_id = $5 and p.payout_id in (
            select i.payout_id from commissioner.payout_items i
            where i.tenant = $1 and i.transfer_id in (select transfer_id from own))
         order by booked_at, transfer_id limit $6",
    )
    .bind(ask.tenant)
    .bind(row.try_get::<String, _>("program")?)
    .bind(row.try_get::<String, _>("order_id")?)
    .bind(row.try_get::<Uuid, _>("commission_id")?)
    .bind(row.try_get::<Uuid, _>("partner_id")?)
    .bind(MOST as i64 + 1)
    .fetch_all(&mut *ask.db)
    .await?;
    rows.iter().map(transfer).collect()
}

fn chain(row: &PgRow, commission: &CommissionReport, transfers: &[Transfer]) -> Result<Vec<String>, sqlx::Error> {
    let mut chain = Vec::new();
    let attribution: Attribution = read(row.try_get("attribution")?)?;
    let (tier, sold_by): (Tier, Uuid) = (read(row.try_get("tier")?)?, row.try_get("sold_by")?);
    let time = |at: chrono::DateTime<chrono::Utc>| at.format("%Y-%m-%d %H:%M:%S UTC").to_string();
    chain.push(match attribution {
        Attribution::Click => {
            let (at, link) = (row.try_get("clicked_at")?, row.try_get::<String, _>("link")?);
            format!("Click: the customer followed {sold_by}'s link /r/{link} on {}.", time(at))
        }
        Attribution::Code => format!("Code: the customer gave a code of {sold_by}."),
        Attribution::Bound => match row.try_get::<Option<_>, _>("bound_at")? {
            Some(at) => format!("Bound: the customer has been {sold_by}'s since an order of {}.", time(at)),
            None => format!("Bound: the customer was {sold_by}'s by an earlier order."),
        },
        Attribution::None => "Nobody: no click, code or earlier order.".to_owned(),
    });
    let order_currency: Currency = currency(row.try_get("order_currency")?)?;
    let money = |amount: i64| Money { amount, currency: order_currency }.to_string();
    let (paid, tax, shipping) = (row.try_get("paid")?, row.try_get("tax")?, row.try_get("shipping")?);
    chain.push(format!(
        "Order {} line {} of {}: {} paid, of which {} tax and {} shipping; {} had been taken off.",
        commission.order_id,
        commission.line_id,
        time(commission.ordered_at),
        money(paid),
        money(tax),
        money(shipping),
        money(row.try_get("discount")?),
    ));
    if let Some(rate) = row.try_get::<Option<i64>, _>("fx_rate_e9")? {
        let to = commission.base.currency;
        let rate = format!("{}.{:09}", rate / 1_000_000_000, rate % 1_000_000_000);
        chain.push(format!("Exchange: 1 {order_currency} = {rate} {to}, as the order said."));
    }
    let version: i32 = row.try_get("rules_version")?;
    let percent = format!("{}.{:02} %", commission.rate_bp / 100, commission.rate_bp % 100);
    chain.push(match commission.level {
        0 => format!("Rules, version {version}: the tier {} earns {percent} of {}.", word(&tier), commission.base),
        level => format!(
            "Rules, version {version}: the partner {level} level(s) above the seller earns {percent} of {}.",
            commission.base
        ),
    });
    chain.push(format!("Commission: {}, payable from {}.", commission.earned, time(commission.available_at)));
    let reasons: Vec<String> = row.try_get("reasons")?;
    match commission.review {
        Review::None => {}
        review => chain.push(format!("Review: {} ({}).", word(&review), reasons.join(", "))),
    }
    for t in transfers {
        let about = match (&t.refund_id, t.payout_id) {
            (Some(refund), _) => format!(" for refund {refund}"),
            (None, Some(payout)) => format!(" for payout {payout}"),
            (None, None) => String::new(),
        };
        let (kind, debit, credit) = (&t.kind, &t.debit, &t.credit);
        chain.push(format!("Ledger, {}: {kind} {} from {debit} to {credit}{about}.", time(t.booked_at), t.money));
    }
    Ok(chain)
}
