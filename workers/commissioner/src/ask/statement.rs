//! A partner's month: what was owed before, every booking, what was owed after.

use chrono::{DateTime, Months, NaiveDate, Utc};
use omnibus_runtime::{Answer, Ask, AskError};
use omnibus_schemas::commissioner::{Money, Statement, StatementLine, StatementReport, StatementTotal};
use sqlx::{PgConnection, Row};
use uuid::Uuid;

use super::partner_page::no_partner;
use crate::Commissioner;
use crate::cursor::{after, cut, one_more, place_of_id};
use crate::reversal::currency;

impl Answer<Statement> for Commissioner {
    async fn answer(&self, ask: &mut Ask<'_>, query: Statement) -> Result<StatementReport, AskError> {
        let month = Month::new(query.year, query.month)
            .ok_or_else(|| AskError::Invalid("month: there is no such month".into()))?;
        let key = self.statement_key(ask.tenant, query.partner_id, &month).map_err(AskError::Failed)?;
        let page = format!("/p/statements/{}/{}/{}/{key}", ask.tenant, query.partner_id, month.name());
        let from = query.after.as_deref();
        read(ask.db, ask.tenant, query.partner_id, &month, from, query.limit, page).await
    }
}

/// A month, in UTC.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Month(NaiveDate);

impl Month {
    pub(crate) fn new(year: u16, month: u16) -> Option<Self> {
        NaiveDate::from_ymd_opt(year.into(), month.into(), 1).map(Month)
    }

    /// `2026-10`
    pub(crate) fn name(&self) -> String {
        self.0.format("%Y-%m").to_string()
    }

    /// The reverse of [`Month::name`].
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let (year, month) = name.split_once('-')?;
        let month = Month::new(year.parse().ok()?, month.parse().ok()?)?;
        (month.name() == name).then_some(month)
    }

    pub(crate) fn from(&self) -> DateTime<Utc> {
        self.0.and_time(chrono::NaiveTime::MIN).and_utc()
    }

    pub(crate) fn until(&self) -> DateTime<Utc> {
        (self.0 + Months::new(1)).and_time(chrono::NaiveTime::MIN).and_utc()
    }
}

/// The month of a partner of the tenant's.
pub(crate) async fn read(
    db: &mut PgConnection,
    tenant: &str,
    partner_id: Uuid,
    month: &Month,
    place: Option<&str>,
    limit: u16,
    page: String,
) -> Result<StatementReport, AskError> {
    let (name, program): (String, String) = sqlx::query_as(
        "select p.name, r.rules ->> 'name' from commissioner.partners p
         join commissioner.programs g on g.tenant = p.tenant and g.program = p.program
         join commissioner.rules r on r.tenant = g.tenant and r.program = g.program and r.version = g.version
         where p.tenant = $1 and p.partner_id = $2",
    )
    .bind(tenant)
    .bind(partner_id)
    .fetch_optional(&mut *db)
    .await?
    .ok_or_else(no_partner)?;
    let totals = sqlx::query(
        "select currency, coalesce(sum(amount) filter (where booked_at < $3), 0)::bigint as opening,
            coalesce(sum(amount) filter (where booked_at >= $3 and kind = 'earned'), 0)::bigint as earned,
            coalesce(-sum(amount) filter (where booked_at >= $3 and kind = 'reversed'), 0)::bigint as reversed,
            coalesce(-sum(amount) filter (where booked_at >= $3 and kind not in ('earned', 'reversed')), 0)::bigint
                as paid,
            sum(amount)::bigint as closing
         from commissioner.entries
         where tenant = $1 and partner_id = $2 and account = 'partner' and booked_at < $4
         group by currency order by currency",
    )
    .bind(tenant)
    .bind(partner_id)
    .bind(month.from())
    .bind(month.until())
    .fetch_all(&mut *db)
    .await?;
    let (at, id) = place_of_id(place)?.unzip();
    let rows = sqlx::query(
        "select t.transfer_id, t.booked_at, t.kind, t.order_id, t.currency,
            case t.credit when 'partner' then t.amount else -t.amount end as amount
         from commissioner.transfers t
         where t.tenant = $1 and t.partner_id = $2 and 'partner' in (t.credit, t.debit)
            and t.booked_at >= $3 and t.booked_at < $4
            and ($5::timestamptz is null or (t.booked_at, t.transfer_id) > ($5, $6))
         order by t.booked_at, t.transfer_id limit $7",
    )
    .bind(tenant)
    .bind(partner_id)
    .bind(month.from())
    .bind(month.until())
    .bind(at)
    .bind(id)
    .bind(one_more(limit))
    .fetch_all(db)
    .await?;
    let mut lines = Vec::with_capacity(rows.len());
    for row in rows {
        let line = StatementLine {
            booked_at: row.try_get("booked_at")?,
            kind: row.try_get("kind")?,
            order_id: row.try_get("order_id")?,
            money: Money { amount: row.try_get("amount")?, currency: currency(row.try_get("currency")?)? },
        };
        lines.push((row.try_get::<Uuid, _>("transfer_id")?, line));
    }
    let next = cut(&mut lines, limit, |(id, line)| after(line.booked_at, id));
    let mut sums = Vec::with_capacity(totals.len());
    for row in totals {
        let currency = currency(row.try_get("currency")?)?;
        let money = |amount| Money { amount, currency };
        sums.push(StatementTotal {
            opening: money(row.try_get("opening")?),
            earned: money(row.try_get("earned")?),
            reversed: money(row.try_get("reversed")?),
            paid: money(row.try_get("paid")?),
            closing: money(row.try_get("closing")?),
        });
    }
    Ok(StatementReport {
        partner_id,
        name,
        program,
        from: month.from(),
        until: month.until(),
        totals: sums,
        lines: lines.into_iter().map(|(_, line)| line).collect(),
        next,
        page,
    })
}
