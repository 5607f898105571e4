//! The ledger: read a page at a time, and how it stands.

use omnibus_runtime::{Answer, Ask, AskError};
use omnibus_schemas::commissioner::{
    AccountTotal, Ledger, LedgerHealth, LedgerHealthReport, LedgerPage, Money, Transfer,
};
use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::programs::known;
use crate::Commissioner;
use crate::cursor::{after, cut, one_more, place_of_id};
use crate::reversal::currency;

pub(super) async fn page(
    ask: &mut Ask<'_>,
    program: &str,
    partner_id: Option<Uuid>,
    from: Option<&str>,
    limit: u16,
) -> Result<(Vec<Transfer>, Option<String>), AskError> {
    let (at, id) = place_of_id(from)?.unzip();
    let rows = sqlx::query(
        "select * from commissioner.transfers
         where tenant = $1 and program = $2 and ($3::uuid is null or partner_id = $3)
            and ($4::timestamptz is null or (booked_at, transfer_id) > ($4, $5))
         order by booked_at, transfer_id limit $6",
    )
    .bind(ask.tenant)
    .bind(program)
    .bind(partner_id)
    .bind(at)
    .bind(id)
    .bind(one_more(limit))
    .fetch_all(&mut *ask.db)
    .await?;
    let mut items = rows.iter().map(transfer).collect::<Result<Vec<_>, _>>()?;
    let next = cut(&mut items, limit, |item| after(item.booked_at, item.transfer_id));
    Ok((items, next))
}

/// A row of `commissioner.transfers`.
pub(super) fn transfer(row: &PgRow) -> Result<Transfer, sqlx::Error> {
    Ok(Transfer {
        transfer_id: row.try_get("transfer_id")?,
        booked_at: row.try_get("booked_at")?,
        kind: row.try_get("kind")?,
        debit: row.try_get("debit")?,
        credit: row.try_get("credit")?,
        money: Money { amount: row.try_get("amount")?, currency: currency(row.try_get("currency")?)? },
        partner_id: row.try_get("partner_id")?,
        commission_id: row.try_get("commission_id")?,
        order_id: row.try_get("order_id")?,
        refund_id: row.try_get("refund_id")?,
        payout_id: row.try_get("payout_id")?,
    })
}

impl Answer<Ledger> for Commissioner {
    async fn answer(&self, ask: &mut Ask<'_>, query: Ledger) -> Result<LedgerPage, AskError> {
        let from = query.after.as_deref();
        let (items, next) = page(ask, query.program.as_str(), query.partner_id, from, query.limit).await?;
        Ok(LedgerPage { items, next })
    }
}

impl Answer<LedgerHealth> for Commissioner {
    async fn answer(&self, ask: &mut Ask<'_>, query: LedgerHealth) -> Result<LedgerHealthReport, AskError> {
        known(ask, query.program.as_str()).await?;
        let rows = sqlx::query(
            "select account, currency, sum(balance)::bigint as balance from commissioner.balances
             where tenant = $1 and program = $2 group by account, currency order by currency, account",
        )
        .bind(ask.tenant)
        .bind(query.program.as_str())
        .fetch_all(&mut *ask.db)
        .await?;
        let account = |row: &PgRow| {
            let money = Money { amount: row.try_get("balance")?, currency: currency(row.try_get("currency")?)? };
            Ok::<_, sqlx::Error>(AccountTotal { account: row.try_get("account")?, money })
        };
        let accounts = rows.iter().map(account).collect::<Result<_, _>>()?;
        let check: Option<(chrono::DateTime<chrono::Utc>, i64, i64)> = sqlx::query_as(
            "select checked_at, orders, differences from commissioner.checks where tenant = $1 and program = $2",
        )
        .bind(ask.tenant)
        .bind(query.program.as_str())
        .fetch_optional(&mut *ask.db)
        .await?;
        Ok(LedgerHealthReport {
            accounts,
            checked_at: check.map(|check| check.0),
            orders: check.map(|check| check.1),
            differences: check.map(|check| check.2),
        })
    }
}
