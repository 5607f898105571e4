//! How a program, or one partner in it, does.

use omnibus_runtime::{Answer, Ask, AskError, clock};
use omnibus_schemas::commissioner::{Money, PartnerStats, StatsReport, StatsSum, StatusCount};
use sqlx::Row;

use super::programs::known;
use crate::Commissioner;
use crate::reversal::currency;
use crate::words::read;

impl Answer<PartnerStats> for Commissioner {
    async fn answer(&self, ask: &mut Ask<'_>, query: PartnerStats) -> Result<StatsReport, AskError> {
        known(ask, query.program.as_str()).await?;
        let (tenant, program, partner) = (ask.tenant, query.program.as_str(), query.partner_id);
        let from = clock::now() - chrono::TimeDelta::days(query.days.into());
        let statuses = sqlx::query(
            "select status, count(*) as count from commissioner.partners
             where tenant = $1 and program = $2 and ($3::uuid is null or partner_id = $3)
             group by status order by status",
        )
        .bind(tenant)
        .bind(program)
        .bind(partner)
        .fetch_all(&mut *ask.db)
        .await?;
        let counts = sqlx::query(
            "select
                (select count(*) from commissioner.clicks where tenant = $1 and program = $2 and clicked_at >= $4
                    and ($3::uuid is null or partner_id = $3)) as clicks,
                (select count(*) from commissioner.customers where tenant = $1 and program = $2 and bound_at >= $4
                    and ($3::uuid is null or partner_id = $3)) as customers,
                (select count(*) from commissioner.orders where tenant = $1 and program = $2 and ordered_at >= $4
                    and partner_id is not null and ($3::uuid is null or partner_id = $3)) as orders,
                (select count(*) from commissioner.orders where tenant = $1 and program = $2 and review = 'held'
                    and ($3::uuid is null or partner_id = $3)) as held",
        )
        .bind(tenant)
        .bind(program)
        .bind(partner)
        .bind(from)
        .fetch_one(&mut *ask.db)
        .await?;
        let sums = sqlx::query(
            "with moved as (
                select currency,
                    coalesce(sum(amount) filter (where kind = 'earned'), 0) as earned,
                    coalesce(sum(amount) filter (where kind = 'reversed'), 0) as reversed,
                    coalesce(sum(amount) filter (where kind = 'paid'), 0)
                        - coalesce(sum(amount) filter (where kind = 'returned' and debit = 'bank'), 0) as paid
                from commissioner.transfers
                where tenant = $1 and program = $2 and booked_at >= $4 and ($3::uuid is null or partner_id = $3)
                group by currency
             ), based as (
                select currency, sum(base) as base from commissioner.commissions
                where tenant = $1 and program = $2 and level = 0 and ordered_at >= $4
                    and ($3::uuid is null or partner_id = $3)
                group by currency
             )
             select currency, coalesce(base, 0)::bigint as base, coalesce(earned, 0)::bigint as earned,
                coalesce(reversed, 0)::bigint as reversed, coalesce(paid, 0)::bigint as paid
             from moved full join based using (currency) order by currency",
        )
        .bind(tenant)
        .bind(program)
        .bind(partner)
        .bind(from)
        .fetch_all(&mut *ask.db)
        .await?;
        let mut partners = Vec::new();
        for row in statuses {
            partners.push(StatusCount { status: read(row.try_get("status")?)?, count: row.try_get("count")? });
        }
        let mut totals = Vec::new();
        for row in sums {
            let currency = currency(row.try_get("currency")?)?;
            let money = |amount| Money { amount, currency };
            totals.push(StatsSum {
                base: money(row.try_get("base")?),
                earned: money(row.try_get("earned")?),
                reversed: money(row.try_get("reversed")?),
                paid: money(row.try_get("paid")?),
            });
        }
        Ok(StatsReport {
            partners,
            clicks: counts.try_get("clicks")?,
            customers: counts.try_get("customers")?,
            orders: counts.try_get("orders")?,
            held: counts.try_get("held")?,
            sums: totals,
        })
    }
}
