//! Taking back what an order earned, on every level, into the ledger.

use chrono::{DateTime, Utc};
use omnibus_runtime::{Cx, Events, Fail};
use omnibus_schemas::Token;
use omnibus_schemas::commissioner::{CommissionReversed, Currency, Review};
use sqlx::{PgConnection, Row};
use uuid::Uuid;

use crate::cents::share;
use crate::names::timed;
use crate::words::read;

/// An order, locked: refunds and reviews of one order follow each other.
#[derive(Debug)]
pub(crate) struct LockedOrder {
    pub(crate) review: Review,
    pub(crate) currency: Currency,
    pub(crate) available_at: DateTime<Utc>,
}

impl LockedOrder {
    pub(crate) async fn find(db: &mut PgConnection, tenant: &str, program: &str, order_id: &str) -> Result<Self, Fail> {
        let row = sqlx::query(
            "select review, currency, available_at from commissioner.orders
             where tenant = $1 and program = $2 and order_id = $3 for update",
        )
        .bind(tenant)
        .bind(program)
        .bind(order_id)
        .fetch_optional(db)
        .await?;
        let row = row.ok_or_else(|| Fail::reject("no_such_order", "order_id: no such order was recorded"))?;
        Ok(LockedOrder {
            review: read(row.try_get("review")?)?,
            currency: currency(row.try_get("currency")?)?,
            available_at: row.try_get("available_at")?,
        })
    }
}

/// A currency as a row holds it.
pub(crate) fn currency(code: &str) -> Result<Currency, sqlx::Error> {
    code.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))
}

/// How much of a line was paid back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Refunded {
    /// What the customer paid for the line.
    pub(crate) paid: i64,
    /// How much of it came back.
    pub(crate) back: i64,
    /// Was all of it paid back at once? Says more than the amount on a line that cost nothing.
    pub(crate) whole: bool,
}

impl Refunded {
    /// What of a commission this takes back in all: rounded as one number, whatever steps led there.
    pub(crate) fn of(self, commission: i64) -> i64 {
        match self.whole || self.back >= self.paid {
            true if self.whole || self.paid > 0 => commission,
            true => 0,
            false => share(commission, self.back, self.paid).expect("a part of an amount is not larger than it"),
        }
    }
}

/// A commission as it was earned.
#[derive(Debug)]
pub(crate) struct Earned {
    pub(crate) commission_id: Uuid,
    pub(crate) partner_id: Uuid,
    pub(crate) line_id: String,
    pub(crate) amount: i64,
    pub(crate) currency: Currency,
}

/// Everything that an order earned, by its transfers: a commission of nothing has none, and nothing to take back.
pub(crate) async fn earned(
    db: &mut PgConnection,
    tenant: &str,
    program: &str,
    order_id: &str,
) -> Result<Vec<Earned>, sqlx::Error> {
    let rows = sqlx::query(
        "select c.commission_id, c.partner_id, c.line_id, c.amount, c.currency
         from commissioner.transfers t
         cross join lateral (
            select * from commissioner.commissions
            where tenant = t.tenant and commission_id = t.commission_id limit 1
         ) c
         where t.tenant = $1 and t.program = $2 and t.order_id = $3 and t.kind = 'earned'
         order by c.line_id, c.level, c.partner_id",
    )
    .bind(tenant)
    .bind(program)
    .bind(order_id)
    .fetch_all(db)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Earned {
                commission_id: row.try_get("commission_id")?,
                partner_id: row.try_get("partner_id")?,
                line_id: row.try_get("line_id")?,
                amount: row.try_get("amount")?,
                currency: currency(row.try_get("currency")?)?,
            })
        })
        .collect()
}

/// Books what is taken back of each commission; amounts of nothing are left out. Gives back an event for each.
pub(crate) async fn book(
    cx: &mut Cx<'_>,
    program: &Token,
    order_id: &str,
    available_at: DateTime<Utc>,
    refund_id: Option<&str>,
    taken: &[(&Earned, i64)],
) -> Result<(u32, Events), Fail> {
    let taken: Vec<_> = taken.iter().filter(|(_, amount)| *amount > 0).collect();
    if taken.is_empty() {
        return Ok((0, Events::none()));
    }
    let (tenant, now) = (cx.tenant(), cx.now());
    let ids: Vec<Uuid> =
        taken.iter().map(|(of, _)| timed(now, cx.id(&format!("reversed {}", of.commission_id)))).collect();
    sqlx::query(
        "insert into commissioner.transfers (tenant, transfer_id, program, partner_id, kind, debit, credit, amount,
            currency, booked_at, available_at, commission_id, order_id, refund_id)
         select $1, t.id, $2, t.partner, 'reversed', 'partner', 'expense', t.amount, t.currency, $3, $4, t.commission,
            $5, $6
         from unnest($7::uuid[], $8::uuid[], $9::bigint[], $10::text[], $11::uuid[])
            as t (id, partner, amount, currency, commission)",
    )
    .bind(tenant)
    .bind(program.as_str())
    .bind(now)
    .bind(available_at)
    .bind(order_id)
    .bind(refund_id)
    .bind(ids)
    .bind(taken.iter().map(|(of, _)| of.partner_id).collect::<Vec<_>>())
    .bind(taken.iter().map(|(_, amount)| *amount).collect::<Vec<_>>())
    .bind(taken.iter().map(|(of, _)| of.currency.code()).collect::<Vec<_>>())
    .bind(taken.iter().map(|(of, _)| of.commission_id).collect::<Vec<_>>())
    .execute(cx.db())
    .await?;
    let mut events = Events::none();
    for (of, amount) in &taken {
        events = events.about(
            of.commission_id.to_string(),
            CommissionReversed {
                commission_id: of.commission_id,
                partner_id: of.partner_id,
                program: program.clone(),
                order_id: order_id.to_owned(),
                line_id: of.line_id.clone(),
                amount: *amount,
                currency: of.currency,
                refund_id: refund_id.map(str::to_owned),
            },
        );
    }
    Ok((u32::try_from(taken.len())?, events))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cost_nothing_is_taken_back_by_a_whole_refund_only() {
        let free = |whole| Refunded { paid: 0, back: 0, whole };
        assert_eq!((free(false).of(50), free(true).of(50)), (0, 50));
        let half = Refunded { paid: 3, back: 1, whole: false };
        assert_eq!(half.of(100), 33);
        assert_eq!(Refunded { paid: 3, back: 3, whole: false }.of(100), 100);
    }
}
