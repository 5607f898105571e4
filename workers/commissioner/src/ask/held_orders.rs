//! Orders that wait for a person's decision, oldest first.

use omnibus_runtime::{Answer, Ask, AskError};
use omnibus_schemas::commissioner::{HeldOrder, HeldOrders, HeldOrdersPage};
use sqlx::Row;

use crate::Commissioner;
use crate::cursor::{after, cut, one_more, place};

impl Answer<HeldOrders> for Commissioner {
    async fn answer(&self, ask: &mut Ask<'_>, query: HeldOrders) -> Result<HeldOrdersPage, AskError> {
        let (at, id) = place(query.after.as_deref())?.unzip();
        let rows = sqlx::query(
            "select order_id, partner_id, ordered_at, reasons from commissioner.orders
             where tenant = $1 and program = $2 and review = 'held'
                and ($3::timestamptz is null or (ordered_at, order_id) > ($3, $4))
             order by ordered_at, order_id limit $5",
        )
        .bind(ask.tenant)
        .bind(query.program.as_str())
        .bind(at)
        .bind(id)
        .bind(one_more(query.limit))
        .fetch_all(&mut *ask.db)
        .await?;
        let mut items = Vec::with_capacity(rows.len());
        for row in rows {
            items.push(HeldOrder {
                order_id: row.try_get("order_id")?,
                partner_id: row.try_get("partner_id")?,
                ordered_at: row.try_get("ordered_at")?,
                reasons: row.try_get("reasons")?,
            });
        }
        let next = cut(&mut items, query.limit, |item| after(item.ordered_at, &item.order_id));
        Ok(HeldOrdersPage { items, next })
    }
}
