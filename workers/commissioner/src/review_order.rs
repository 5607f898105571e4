//! A person's decision about an order that was held.

use std::collections::BTreeMap;

use omnibus_runtime::{Cx, Events, Fail, Handle};
use omnibus_schemas::commissioner::{Review, ReviewDecided, ReviewDecision, ReviewOrder};
use sqlx::Row;

use crate::Commissioner;
use crate::reversal::{LockedOrder, Refunded, book, earned};
use crate::words::word;

impl Handle<ReviewOrder> for Commissioner {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: ReviewOrder) -> Result<Events, Fail> {
        let (tenant, program) = (cx.tenant(), cmd.program.as_str());
        let order = LockedOrder::find(cx.db(), tenant, program, &cmd.order_id).await?;
        if order.review != Review::Held {
            let detail = format!("order_id: the order is not held for review (review: {})", word(&order.review));
            return Err(Fail::reject("not_held", detail));
        }
        let (review, events) = match cmd.decision {
            ReviewDecision::Clear => (Review::Cleared, Events::none()),
            ReviewDecision::Refuse => (Review::Refused, take_back(cx, &cmd, &order).await?),
        };
        sqlx::query(
            "update commissioner.orders set review = $4, review_note = $5
             where tenant = $1 and program = $2 and order_id = $3",
        )
        .bind(tenant)
        .bind(program)
        .bind(&cmd.order_id)
        .bind(word(&review))
        .bind(&cmd.note)
        .execute(cx.db())
        .await?;
        let about = cmd.order_id.clone();
        Ok(events.about(about, ReviewDecided { program: cmd.program, order_id: cmd.order_id, review, note: cmd.note }))
    }
}

/// All that the order earned and refunds have left of it.
async fn take_back(cx: &mut Cx<'_>, cmd: &ReviewOrder, order: &LockedOrder) -> Result<Events, Fail> {
    let (tenant, program) = (cx.tenant(), cmd.program.as_str());
    let rows = sqlx::query(
        "select l.line_id, l.amount, l.refunded, exists (
            select 1 from commissioner.refunds r where r.tenant = l.tenant and r.program = l.program
                and r.order_id = l.order_id and r.whole) as whole
         from commissioner.lines l where l.tenant = $1 and l.program = $2 and l.order_id = $3",
    )
    .bind(tenant)
    .bind(program)
    .bind(&cmd.order_id)
    .fetch_all(cx.db())
    .await?;
    let mut lines = BTreeMap::new();
    for row in &rows {
        let refunded =
            Refunded { paid: row.try_get("amount")?, back: row.try_get("refunded")?, whole: row.try_get("whole")? };
        lines.insert(row.try_get::<String, _>("line_id")?, refunded);
    }
    let all = earned(cx.db(), tenant, program, &cmd.order_id).await?;
    let taken: Vec<_> =
        all.iter().filter_map(|of| Some((of, of.amount - lines.get(&of.line_id)?.of(of.amount)))).collect();
    let (_, events) = book(cx, &cmd.program, &cmd.order_id, order.available_at, None, &taken).await?;
    Ok(events)
}
