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
    pub(crate) order_currency: Currency,
    pub(crate) line_id: String,
    /// What the customer paid.
    pub(crate) paid: i64,
    pub(crate) tax: i64,
    pub(crate) shipping: i64,
    pub(crate) discount: i64,
    pub(crate) fx_rate_e9: Option<i64>,
    /// Of what commissions are taken, in their currency.
    pub(crate) base: i64,
    pub(crate) currency: Currency,
    /// What the line says that refunds come to.
    pub(crate) refunded: i64,
    /// What refunds come to, added up from themselves.
    pub(crate) back: i64,
    pub(crate) whole: bool,
}

/// When orders were paid.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    pub(crate) from: DateTime<Utc>,
    pub(crate) until: DateTime<Utc>,
}

/// The ids of the next orders, in order; none if there are no more.
pub(crate) async fn next(
    db: &mut PgConnection,
    tenant: &str,
    program: &str,
    after: &str,
    span: Option<Span>,
) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar(
        "select order_id from commissioner.orders
         where tenant = $1 and program = $2 and order_id > $3
            and ($5::timestamptz is null or ordered_at >= $5) and ($6::timestamptz is null or ordered_at < $6)
         order by order_id limit $4",
    )
    .bind(tenant)
    .bind(program)
    .bind(after)
    .bind(PAGE)
    .bind(span.map(|span| span.from))
    .bind(span.map(|span| span.until))
    .fetch_all(db)
    .await
}

/// The lines of these orders, as far as they are due to a partner. Each order is looked up by its whole key: to a
/// planner that knows nothing of the tables, reading all orders and lines of a program for each page seems as good.
pub(crate) async fn sold(
    db: &mut PgConnection,
    tenant: &str,
    program: &str,
    orders: &[String],
) -> Result<Vec<Sold>, sqlx::Error> {
    let rows = sqlx::query(
        "select o.order_id, o.partner_id, o.rules_version, o.tier, o.parents, o.review, o.currency, l.line_id, l.amount,
            l.tax, l.shipping, l.discount, l.fx_rate_e9, l.base, l.base_currency, l.refunded,
            coalesce(r.back, 0)::bigint as back, coalesce(r.whole, false) as whole
         from unnest($3::text[]) page (order_id)
         cross join lateral (
            select * from commissioner.orders where tenant = $1 and program = $2 and order_id = page.order_id limit 1
         ) o
         cross join lateral (
            select * from commissioner.lines where tenant = $1 and program = $2 and order_id = page.order_id offset 0
         ) l
         left join lateral (
            select sum(amount) as back, bool_or(whole) as whole from commissioner.refunds
            where tenant = $1 and program = $2 and order_id = page.order_id and line_id = l.line_id
         ) r on true
         where o.partner_id is not null",
    )
    .bind(tenant)
    .bind(program)
    .bind(orders)
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
            order_currency: currency(row.try_get("currency")?)?,
            line_id: row.try_get("line_id")?,
            paid: row.try_get("amount")?,
            tax: row.try_get("tax")?,
            shipping: row.try_get("shipping")?,
            discount: row.try_get("discount")?,
            fx_rate_e9: row.try_get("fx_rate_e9")?,
            base: row.try_get("base")?,
            currency: currency(row.try_get("base_currency")?)?,
            refunded: row.try_get("refunded")?,
            back: row.try_get("back")?,
            whole: row.try_get("whole")?,
        })
    });
    sold.collect()
}
