//! Records refunds, and takes back pro rata what the order earned.

use std::collections::BTreeMap;
use std::time::Duration;

use omnibus_runtime::{Cx, Events, Fail, Handle};
use omnibus_schemas::commissioner::{RecordRefund, RefundRecorded, Review};
use sqlx::Row;

use crate::Commissioner;
use crate::reversal::{LockedOrder, Refunded, book, earned};

impl Handle<RecordRefund> for Commissioner {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: RecordRefund) -> Result<Events, Fail> {
        let (tenant, program) = (cx.tenant(), cmd.program.as_str());
        let order = match LockedOrder::find(cx.db(), tenant, program, &cmd.order_id).await {
            Err(Fail::Reject { .. }) if just_come(cx).await? => return Err(Fail::Snooze(Duration::from_millis(250))),
            found => found?,
        };
        let event = |amount: i64, reversed: u32, duplicate: bool| RefundRecorded {
            program: cmd.program.clone(),
            order_id: cmd.order_id.clone(),
            refund_id: cmd.refund_id.clone(),
            amount,
            currency: order.currency,
            reversed,
            duplicate,
        };
        if let Some(amount) = recorded_before(cx, &cmd).await? {
            return Ok(Events::none().about(cmd.order_id.clone(), event(amount, 0, true)));
        }
        let lines = lines(cx, &cmd).await?;
        let whole_before: bool = sqlx::query_scalar(
            "select exists (select 1 from commissioner.refunds
             where tenant = $1 and program = $2 and order_id = $3 and whole)",
        )
        .bind(tenant)
        .bind(program)
        .bind(&cmd.order_id)
        .fetch_one(cx.db())
        .await?;
        let back = paid_back(&cmd, &lines)?;
        let whole = cmd.lines.is_empty();
        sqlx::query(
            "with refund as (
                insert into commissioner.refunds
                    (tenant, program, order_id, refund_id, line_id, amount, whole, refunded_at)
                select $1, $2, $3, $4, t.line, t.amount, $5, $6
                from unnest($7::text[], $8::bigint[]) as t (line, amount)
             )
             update commissioner.lines l set refunded = l.refunded + t.amount
             from unnest($7::text[], $8::bigint[]) as t (line, amount)
             where l.tenant = $1 and l.program = $2 and l.order_id = $3 and l.line_id = t.line",
        )
        .bind(tenant)
        .bind(program)
        .bind(&cmd.order_id)
        .bind(&cmd.refund_id)
        .bind(whole)
        .bind(cx.now())
        .bind(back.keys().copied().collect::<Vec<_>>())
        .bind(back.values().copied().collect::<Vec<_>>())
        .execute(cx.db())
        .await?;

        let all = earned(cx.db(), tenant, program, &cmd.order_id).await?;
        let taken: Vec<_> = all
            .iter()
            // What a refused order earned was taken back when it was refused.
            .filter(|_| order.review != Review::Refused)
            .filter_map(|of| {
                let (paid, before) = *lines.get(&of.line_id)?;
                let after = before + back.get(of.line_id.as_str())?;
                let of_line = |back, whole| Refunded { paid, back, whole }.of(of.amount);
                Some((of, of_line(after, whole || whole_before) - of_line(before, whole_before)))
            })
            .collect();
        let (reversed, events) =
            book(cx, &cmd.program, &cmd.order_id, order.available_at, Some(&cmd.refund_id), &taken).await?;
        Ok(events.about(cmd.order_id.clone(), event(back.values().sum(), reversed, false)))
    }
}

/// A refund that is reported right after its order may overtake it (batches of one lane are decided side by side, and an
/// order may have to be tried again): for a while, an order that is not there may be on its way.
async fn just_come(cx: &mut Cx<'_>) -> Result<bool, sqlx::Error> {
    let since = cx.now();
    sqlx::query_scalar("select clock_timestamp() < $1 + interval '30 seconds'").bind(since).fetch_one(cx.db()).await
}

/// Each line's amount and how much of it was paid back before.
async fn lines(cx: &mut Cx<'_>, cmd: &RecordRefund) -> Result<BTreeMap<String, (i64, i64)>, Fail> {
    let tenant = cx.tenant();
    let rows = sqlx::query(
        "select line_id, amount, refunded from commissioner.lines where tenant = $1 and program = $2 and order_id = $3",
    )
    .bind(tenant)
    .bind(cmd.program.as_str())
    .bind(&cmd.order_id)
    .fetch_all(cx.db())
    .await?;
    let lines: Result<_, sqlx::Error> = rows
        .iter()
        .map(|row| Ok((row.try_get("line_id")?, (row.try_get("amount")?, row.try_get("refunded")?))))
        .collect();
    Ok(lines?)
}

/// What this refund pays back of each line.
fn paid_back<'a>(
    cmd: &'a RecordRefund,
    lines: &'a BTreeMap<String, (i64, i64)>,
) -> Result<BTreeMap<&'a str, i64>, Fail> {
    if cmd.lines.is_empty() {
        return Ok(lines.iter().map(|(line, (paid, before))| (line.as_str(), paid - before)).collect());
    }
    let mut back = BTreeMap::new();
    for (n, line) in cmd.lines.iter().enumerate() {
        let Some((paid, before)) = lines.get(&line.line_id) else {
            return Err(Fail::reject("no_such_line", format!("lines/{n}/line_id: the order has no such line")));
        };
        if back.insert(line.line_id.as_str(), line.amount).is_some() {
            return Err(Fail::reject("line_twice", format!("lines/{n}/line_id: stands twice in the refund")));
        }
        if before + line.amount > *paid {
            let left = paid - before;
            let detail = format!("lines/{n}/amount: of this line {left} minor units are left to be paid back");
            return Err(Fail::reject("more_than_paid", detail));
        }
    }
    Ok(back)
}

/// What the refund came to, if it was recorded before. A second one of its id must say the same.
async fn recorded_before(cx: &mut Cx<'_>, cmd: &RecordRefund) -> Result<Option<i64>, Fail> {
    let tenant = cx.tenant();
    let rows = sqlx::query(
        "select line_id, amount, whole from commissioner.refunds
         where tenant = $1 and program = $2 and order_id = $3 and refund_id = $4 order by line_id",
    )
    .bind(tenant)
    .bind(cmd.program.as_str())
    .bind(&cmd.order_id)
    .bind(&cmd.refund_id)
    .fetch_all(cx.db())
    .await?;
    if rows.is_empty() {
        return Ok(None);
    }
    let (mut before, mut whole) = (BTreeMap::<String, i64>::new(), false);
    for row in &rows {
        before.insert(row.try_get("line_id")?, row.try_get("amount")?);
        whole |= row.try_get::<bool, _>("whole")?;
    }
    let same = match cmd.lines.is_empty() {
        true => whole,
        false => !whole && before == cmd.lines.iter().map(|l| (l.line_id.clone(), l.amount)).collect(),
    };
    match same {
        true => Ok(Some(before.values().sum())),
        false => Err(Fail::reject(
            "refund_differs",
            "refund_id: the order has a refund of this id that says otherwise; another refund needs an id of its own",
        )),
    }
}
