//! What a partner has earned, newest first.

use omnibus_runtime::{Answer, Ask, AskError};
use omnibus_schemas::commissioner::{CommissionReport, CommissionsPage, Money, PartnerCommissions};
use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::partner_page::known;
use crate::Commissioner;
use crate::cursor::{after, cut, one_more, place_of_id};
use crate::reversal::currency;
use crate::words::read;

impl Answer<PartnerCommissions> for Commissioner {
    async fn answer(&self, ask: &mut Ask<'_>, query: PartnerCommissions) -> Result<CommissionsPage, AskError> {
        page(ask, query.partner_id, query.after.as_deref(), query.limit).await
    }
}

pub(super) async fn page(
    ask: &mut Ask<'_>,
    partner_id: Uuid,
    from: Option<&str>,
    limit: u16,
) -> Result<CommissionsPage, AskError> {
    known(ask, partner_id).await?;
    let (at, id) = place_of_id(from)?.unzip();
    let rows = sqlx::query(
        "select c.*, o.available_at, o.review, coalesce((
            select sum(t.amount) from commissioner.transfers t
            where t.tenant = c.tenant and t.program = c.program and t.order_id = c.order_id
                and t.commission_id = c.commission_id and t.kind = 'reversed'), 0)::bigint as reversed
         from commissioner.commissions c
         join commissioner.orders o using (tenant, program, order_id)
         where c.tenant = $1 and c.partner_id = $2
            and ($3::timestamptz is null or (c.ordered_at, c.commission_id) < ($3, $4))
         order by c.ordered_at desc, c.commission_id desc limit $5",
    )
    .bind(ask.tenant)
    .bind(partner_id)
    .bind(at)
    .bind(id)
    .bind(one_more(limit))
    .fetch_all(&mut *ask.db)
    .await?;
    let mut items = rows.iter().map(report).collect::<Result<Vec<_>, _>>()?;
    let next = cut(&mut items, limit, |item| after(item.ordered_at, item.commission_id));
    Ok(CommissionsPage { items, next })
}

/// A row of `commissioner.commissions` with its order's hold and review, and what was taken back.
pub(super) fn report(row: &PgRow) -> Result<CommissionReport, sqlx::Error> {
    let currency = currency(row.try_get("currency")?)?;
    let money = |amount| Money { amount, currency };
    Ok(CommissionReport {
        commission_id: row.try_get("commission_id")?,
        order_id: row.try_get("order_id")?,
        line_id: row.try_get("line_id")?,
        level: row.try_get("level")?,
        rate_bp: row.try_get("rate_bp")?,
        base: money(row.try_get("base")?),
        earned: money(row.try_get("amount")?),
        reversed: money(row.try_get("reversed")?),
        ordered_at: row.try_get("ordered_at")?,
        available_at: row.try_get("available_at")?,
        review: read(row.try_get("review")?)?,
    })
}
