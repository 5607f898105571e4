//! A program's payouts, newest first.

use omnibus_runtime::{Answer, Ask, AskError};
use omnibus_schemas::commissioner::{Money, PayoutReport, Payouts, PayoutsPage};
use sqlx::Row;
use uuid::Uuid;

use crate::Commissioner;
use crate::cursor::{after, cut, one_more, place_of_id};
use crate::reversal::currency;
use crate::words::read;

impl Answer<Payouts> for Commissioner {
    async fn answer(&self, ask: &mut Ask<'_>, query: Payouts) -> Result<PayoutsPage, AskError> {
        page(ask, query.program.as_str(), query.partner_id, query.after.as_deref(), query.limit).await
    }
}

pub(super) async fn page(
    ask: &mut Ask<'_>,
    program: &str,
    partner_id: Option<Uuid>,
    from: Option<&str>,
    limit: u16,
) -> Result<PayoutsPage, AskError> {
    let (at, id) = place_of_id(from)?.unzip();
    let rows = sqlx::query(
        "select * from commissioner.payouts
             where tenant = $1 and program = $2 and ($3::uuid is null or partner_id = $3)
                and ($4::timestamptz is null or (reserved_at, payout_id) < ($4, $5))
             order by reserved_at desc, payout_id desc limit $6",
    )
    .bind(ask.tenant)
    .bind(program)
    .bind(partner_id)
    .bind(at)
    .bind(id)
    .bind(one_more(limit))
    .fetch_all(&mut *ask.db)
    .await?;
    let mut items = Vec::with_capacity(rows.len());
    for row in rows {
        items.push(PayoutReport {
            payout_id: row.try_get("payout_id")?,
            partner_id: row.try_get("partner_id")?,
            money: Money { amount: row.try_get("amount")?, currency: currency(row.try_get("currency")?)? },
            status: read(row.try_get("status")?)?,
            reference: row.try_get("reference")?,
            reserved_at: row.try_get("reserved_at")?,
            detail: row.try_get("detail")?,
        });
    }
    let next = cut(&mut items, limit, |item| after(item.reserved_at, item.payout_id));
    Ok(PayoutsPage { items, next })
}
