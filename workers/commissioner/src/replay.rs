//! Orders read back, a page at a time, with what decided about them: for checks and for what-if. Memory holds one page.

use chrono::{DateTime, Utc};
use omnibus_schemas::commissioner::{Currency, Review, Tier};
use sqlx::{PgConnection, Row};
use uuid::Uuid;

use crate::reversal::currency;
use crate::words::read;

/// Orders in one page.
pub(crate) const PAGE: i64 = 2000;

/// A line of an order that is due to a partner, with the order's frozen facts.
#[derive(Debug)]
pub(crate) struct Sold {
    pub(crate) order_id: String,
    pub(crate) seller: Uuid,
    pub(crate) rules_version: i32,
    pub(crate) tier: Tier,
    pub(crate) parents: Vec<Option<Uuid>>,
    pub(crate) review: Review,
    pub(crate) line_id: String,
    /// What the customer paid.
    pub(crate) paid: i64,
    /// Of what commissions are taken.
    pub(crate) base: i64,
    pub(crate) currency: Currency,
    /// What refunds come to, added up from themselves.
    pub(crate) back: i64,
    pub(crate) whole: bool,
}

/// A page of orders, by id.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) sold: Vec<Sold>,
    /// How many orders, those that are due to nobody included.
    pub(crate) orders: i64,
    /// The last order's id; none if there is no order.
    pub(crate) last: Option<String>,
}

/// When orders were paid.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    pub(crate) from: DateTime<Utc>,
    pub(crate) until: DateTime<Utc>,
}

impl Span {
    pub(crate) const ALL: Span = Span { from: DateTime::<Utc>::MIN_UTC, until: DateTime::<Utc>::MAX_UTC };
}

pub(crate) async fn page(
    db: &mut PgConnection,
    tenant: &str,
    program: &str,
    after: &str,
    span: Span,
) -> Result<Page, sqlx::Error> {
    // The database's range of times is another than chrono's.
    let bound = |at: DateTime<Utc>| (at != Span::ALL.from && at != Span::ALL.until).then_some(at);
    let ends: (i64, Option<String>) = sqlx::query_as(
        "select count(*), max(order_id) from (
            select order_id from commissioner.orders
            where tenant = $1 and program = $2 and order_id > $3
                and ($5::timestamptz is null or ordered_at >= $5) and ($6::timestamptz is null or ordered_at < $6)
            order by order_id limit $4) page",
    )
    .bind(tenant)
    .bind(program)
    .bind(after)
    .bind(PAGE)
    .bind(bound(span.from))
    .bind(bound(span.until))
    .fetch_one(&mut *db)
    .await?;
    let (orders, Some(last)) = ends else { return Ok(Page::default()) };
    let rows = sqlx::query(
        "select o.order_id, o.partner_id, o.rules_version, o.tier, o.parents, o.review, l.line_id, l.amount, l.base,
            l.base_currency, coalesce(r.back, 0)::bigint as back, coalesce(r.whole, false) as whole
         from commissioner.orders o
         join commissioner.lines l using (tenant, program, order_id)
         left join lateral (
            select sum(r.amount) as back, bool_or(r.whole) as whole from commissioner.refunds r
            where r.tenant = o.tenant and r.program = o.program and r.order_id = o.order_id and r.line_id = l.line_id
         ) r on true
         where o.tenant = $1 and o.program = $2 and o.order_id > $3 and o.order_id <= $4 and o.partner_id is not null
            and ($5::timestamptz is null or o.ordered_at >= $5) and ($6::timestamptz is null or o.ordered_at < $6)
         order by o.order_id, l.line_id",
    )
    .bind(tenant)
    .bind(program)
    .bind(after)
    .bind(&last)
    .bind(bound(span.from))
    .bind(bound(span.until))
    .fetch_all(db)
    .await?;
    let sold = rows.iter().map(|row| {
        Ok(Sold {
            order_id: row.try_get("order_id")?,
            seller: row.try_get("partner_id")?,
            rules_version: row.try_get("rules_version")?,
            tier: read(row.try_get("tier")?)?,
            parents: row.try_get("parents")?,
            review: read(row.try_get("review")?)?,
            line_id: row.try_get("line_id")?,
            paid: row.try_get("amount")?,
            base: row.try_get("base")?,
            currency: currency(row.try_get("base_currency")?)?,
            back: row.try_get("back")?,
            whole: row.try_get("whole")?,
        })
    });
    Ok(Page { sold: sold.collect::<Result<_, sqlx::Error>>()?, orders, last: Some(last) })
}
