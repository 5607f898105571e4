//! The customers who are bound to a partner, newest first.

use omnibus_runtime::{Answer, Ask, AskError};
use omnibus_schemas::commissioner::{PartnerReferrals, Referral, ReferralsPage};
use sqlx::Row;
use uuid::Uuid;

use super::partner_page::known;
use crate::Commissioner;
use crate::cursor::{after, cut, one_more, place};
use crate::words::read;

impl Answer<PartnerReferrals> for Commissioner {
    async fn answer(&self, ask: &mut Ask<'_>, query: PartnerReferrals) -> Result<ReferralsPage, AskError> {
        page(ask, query.partner_id, query.after.as_deref(), query.limit).await
    }
}

pub(super) async fn page(
    ask: &mut Ask<'_>,
    partner_id: Uuid,
    from: Option<&str>,
    limit: u16,
) -> Result<ReferralsPage, AskError> {
    known(ask, partner_id).await?;
    let (at, id) = place(from)?.unzip();
    let rows = sqlx::query(
        // Beside the one order that bound the customer, those after it.
        "select c.customer_id, c.bound_at, c.bound_by, 1 + (
                select count(*) from commissioner.orders o
                where o.tenant = c.tenant and o.program = c.program and o.customer_id = c.customer_id
                    and o.partner_id = c.partner_id and o.attribution = 'bound') as orders
             from commissioner.customers c
             where c.tenant = $1 and c.partner_id = $2
                and ($3::timestamptz is null or (c.bound_at, c.customer_id) < ($3, $4))
             order by c.bound_at desc, c.customer_id desc limit $5",
    )
    .bind(ask.tenant)
    .bind(partner_id)
    .bind(at)
    .bind(id)
    .bind(one_more(limit))
    .fetch_all(&mut *ask.db)
    .await?;
    let mut items = Vec::with_capacity(rows.len());
    for row in rows {
        items.push(Referral {
            customer_id: row.try_get("customer_id")?,
            bound_at: row.try_get("bound_at")?,
            by: read(row.try_get("bound_by")?)?,
            orders: row.try_get("orders")?,
        });
    }
    let next = cut(&mut items, limit, |item| after(item.bound_at, &item.customer_id));
    Ok(ReferralsPage { items, next })
}
