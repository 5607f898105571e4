//! Setting a partner's money aside for a payout.

use chrono::{DateTime, Utc};
use omnibus_runtime::Fail;
use omnibus_schemas::commissioner::{Currency, Money, PayoutReserved, SetProgram};
use sqlx::{PgConnection, Row};
use uuid::Uuid;

use crate::partner::Partner;
use crate::reversal::currency;

/// What may be paid to a partner now, by currency; below nothing where refunds came after a payout.
pub(crate) async fn available(
    db: &mut PgConnection,
    tenant: &str,
    partner_id: Uuid,
    now: DateTime<Utc>,
) -> Result<Vec<Money>, sqlx::Error> {
    let rows = sqlx::query(
        "select currency, sum(amount)::bigint as amount from commissioner.payable
         where tenant = $1 and partner_id = $2 and available_at <= $3 group by currency order by currency",
    )
    .bind(tenant)
    .bind(partner_id)
    .bind(now)
    .fetch_all(db)
    .await?;
    rows.iter()
        .map(|row| Ok(Money { amount: row.try_get("amount")?, currency: currency(row.try_get("currency")?)? }))
        .collect()
}

/// The least that is paid at once in a currency. The program's minimum is in its own.
pub(crate) fn minimum(rules: &SetProgram, currency: Currency) -> i64 {
    if currency == rules.currency { rules.minimum_payout.max(1) } else { 1 }
}

/// Sets `money` aside: all that is available of its currency. The partner must be locked, so that nothing comes between
/// the sum and this.
pub(crate) async fn reserve(
    db: &mut PgConnection,
    tenant: &str,
    partner: &Partner,
    money: Money,
    payout_id: Uuid,
    now: DateTime<Utc>,
) -> Result<PayoutReserved, Fail> {
    let row = sqlx::query(
        "with item as (
            insert into commissioner.payout_items (tenant, payout_id, transfer_id, live)
            select tenant, $3, transfer_id, true from commissioner.payable
            where tenant = $1 and partner_id = $2 and currency = $4 and available_at <= $5
            returning transfer_id
         ), payout as (
            insert into commissioner.payouts
                (tenant, payout_id, program, partner_id, amount, currency, status, reserved_at, revision)
            values ($1, $3, $6, $2, $7, $4, 'reserved', $5, 1)
         ), booked as (
            insert into commissioner.transfers (tenant, transfer_id, program, partner_id, kind, debit, credit, amount,
                currency, booked_at, available_at, payout_id)
            values ($1, $8, $6, $2, 'reserved', 'partner', 'clearing', $7, $4, $5, $5, $3)
         )
         select count(*) as entries, coalesce(sum(case t.kind when 'earned' then t.amount else -t.amount end), 0)::bigint
            as total
         from item join commissioner.transfers t on t.tenant = $1 and t.transfer_id = item.transfer_id",
    )
    .bind(tenant)
    .bind(partner.partner_id)
    .bind(payout_id)
    .bind(money.currency.code())
    .bind(now)
    .bind(partner.program.as_str())
    .bind(money.amount)
    .bind(Uuid::new_v5(&payout_id, b"reserved"))
    .fetch_one(db)
    .await?;
    if row.try_get::<i64, _>("total")? != money.amount {
        // A refund was booked between the sum and the reservation: the next try sees it in both.
        return Err(Fail::Snooze(std::time::Duration::from_millis(50)));
    }
    Ok(PayoutReserved {
        payout_id,
        partner_id: partner.partner_id,
        program: partner.program.clone(),
        amount: money.amount,
        currency: money.currency,
        entries: u32::try_from(row.try_get::<i64, _>("entries")?)?,
    })
}
