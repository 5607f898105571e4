//! The rows of many orders, written by one statement.

use chrono::{DateTime, Utc};
use omnibus_schemas::commissioner::{Attribution, Review, Tier};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::words::word;

/// Rows to be written, by table. The fields are named as the columns.
#[derive(Debug, Default)]
pub(crate) struct Booking<'a> {
    pub(crate) orders: Vec<OrderRow<'a>>,
    pub(crate) lines: Vec<LineRow<'a>>,
    pub(crate) customers: Vec<CustomerRow<'a>>,
    pub(crate) commissions: Vec<CommissionRow<'a>>,
}

#[derive(Debug)]
pub(crate) struct OrderRow<'a> {
    pub(crate) tenant: &'a str,
    pub(crate) program: &'a str,
    pub(crate) order_id: &'a str,
    pub(crate) content: Uuid,
    pub(crate) command_id: Uuid,
    pub(crate) customer_id: &'a str,
    pub(crate) currency: &'static str,
    pub(crate) ordered_at: DateTime<Utc>,
    pub(crate) recorded_at: DateTime<Utc>,
    pub(crate) partner_id: Option<Uuid>,
    pub(crate) attribution: Attribution,
    pub(crate) click_id: Option<Uuid>,
    pub(crate) rules_version: i32,
    pub(crate) tier: Tier,
    pub(crate) parents: Vec<Option<Uuid>>,
    pub(crate) available_at: DateTime<Utc>,
    pub(crate) review: Review,
    pub(crate) reasons: Vec<String>,
}

#[derive(Debug)]
pub(crate) struct LineRow<'a> {
    pub(crate) tenant: &'a str,
    pub(crate) program: &'a str,
    pub(crate) order_id: &'a str,
    pub(crate) line_id: &'a str,
    pub(crate) amount: i64,
    pub(crate) tax: i64,
    pub(crate) shipping: i64,
    pub(crate) discount: i64,
    pub(crate) base: i64,
    pub(crate) base_currency: &'static str,
    pub(crate) fx_rate_e9: Option<i64>,
}

#[derive(Debug)]
pub(crate) struct CustomerRow<'a> {
    pub(crate) tenant: &'a str,
    pub(crate) program: &'a str,
    pub(crate) customer_id: &'a str,
    pub(crate) partner_id: Uuid,
    pub(crate) bound_at: DateTime<Utc>,
    pub(crate) bound_by: Attribution,
}

/// A commission, and, if it is one of more than nothing, its transfer of the kind `earned`, which has its id.
#[derive(Debug)]
pub(crate) struct CommissionRow<'a> {
    pub(crate) tenant: &'a str,
    pub(crate) program: &'a str,
    pub(crate) order_id: &'a str,
    pub(crate) line_id: &'a str,
    pub(crate) level: i16,
    pub(crate) partner_id: Uuid,
    pub(crate) commission_id: Uuid,
    pub(crate) rate_bp: i32,
    pub(crate) base: i64,
    pub(crate) amount: i64,
    pub(crate) currency: &'static str,
    pub(crate) ordered_at: DateTime<Utc>,
    pub(crate) booked_at: DateTime<Utc>,
    pub(crate) available_at: DateTime<Utc>,
}

/// One column of many rows. PostgreSQL takes arrays as they are: rows as json took it half of the time that the whole
/// statement took.
fn column<R, T>(rows: &[R], of: impl Fn(&R) -> T) -> Vec<T> {
    rows.iter().map(of).collect()
}

/// Partners as an array in an array of arrays, which PostgreSQL has only of equal lengths: as the text of one.
fn partners(ids: &[Option<Uuid>]) -> String {
    let ids: Vec<_> = ids.iter().map(|id| id.map_or_else(|| "null".to_owned(), |id| id.to_string())).collect();
    format!("{{{}}}", ids.join(","))
}

impl Booking<'_> {
    /// Writes all of it. `false` if a customer was bound by somebody else at the same moment: then nothing of this may
    /// stay.
    pub(crate) async fn write(&self, db: &mut PgConnection) -> Result<bool, sqlx::Error> {
        let Booking { orders, lines, customers, commissions } = self;
        if orders.is_empty() {
            return Ok(true);
        }
        let bound: i64 = sqlx::query_scalar(WRITE)
            .bind(column(customers, |row| row.tenant))
            .bind(column(customers, |row| row.program))
            .bind(column(customers, |row| row.customer_id))
            .bind(column(customers, |row| row.partner_id))
            .bind(column(customers, |row| row.bound_at))
            .bind(column(customers, |row| word(&row.bound_by)))
            .bind(column(orders, |row| row.tenant))
            .bind(column(orders, |row| row.program))
            .bind(column(orders, |row| row.order_id))
            .bind(column(orders, |row| row.content))
            .bind(column(orders, |row| row.command_id))
            .bind(column(orders, |row| row.customer_id))
            .bind(column(orders, |row| row.currency))
            .bind(column(orders, |row| row.ordered_at))
            .bind(column(orders, |row| row.recorded_at))
            .bind(column(orders, |row| row.partner_id))
            .bind(column(orders, |row| word(&row.attribution)))
            .bind(column(orders, |row| row.click_id))
            .bind(column(orders, |row| row.rules_version))
            .bind(column(orders, |row| word(&row.tier)))
            .bind(column(orders, |row| partners(&row.parents)))
            .bind(column(orders, |row| row.available_at))
            .bind(column(orders, |row| word(&row.review)))
            // Reasons are our own words, without commas.
            .bind(column(orders, |row| row.reasons.join(",")))
            .bind(column(lines, |row| row.tenant))
            .bind(column(lines, |row| row.program))
            .bind(column(lines, |row| row.order_id))
            .bind(column(lines, |row| row.line_id))
            .bind(column(lines, |row| row.amount))
            .bind(column(lines, |row| row.tax))
            .bind(column(lines, |row| row.shipping))
            .bind(column(lines, |row| row.discount))
            .bind(column(lines, |row| row.base))
            .bind(column(lines, |row| row.base_currency))
            .bind(column(lines, |row| row.fx_rate_e9))
            .bind(column(commissions, |row| row.tenant))
            .bind(column(commissions, |row| row.program))
            .bind(column(commissions, |row| row.order_id))
            .bind(column(commissions, |row| row.line_id))
            .bind(column(commissions, |row| row.level))
            .bind(column(commissions, |row| row.partner_id))
            .bind(column(commissions, |row| row.commission_id))
            .bind(column(commissions, |row| row.rate_bp))
            .bind(column(commissions, |row| row.base))
            .bind(column(commissions, |row| row.amount))
            .bind(column(commissions, |row| row.currency))
            .bind(column(commissions, |row| row.ordered_at))
            .bind(column(commissions, |row| row.booked_at))
            .bind(column(commissions, |row| row.available_at))
            .fetch_one(db)
            .await?;
        Ok(usize::try_from(bound) == Ok(customers.len()))
    }
}

/// The columns of each table stand in the order of the bindings.
const WRITE: &str = "
with bound as (
    insert into commissioner.customers (tenant, program, customer_id, partner_id, bound_at, bound_by)
    select * from unnest($1::text[], $2::text[], $3::text[], $4::uuid[], $5::timestamptz[], $6::text[])
    on conflict do nothing returning 1
), ordered as (
    insert into commissioner.orders (tenant, program, order_id, content, command_id, customer_id, currency, ordered_at,
        recorded_at, partner_id, attribution, click_id, rules_version, tier, parents, available_at, review, reasons)
    select tenant, program, order_id, content, command_id, customer_id, currency, ordered_at, recorded_at, partner_id,
        attribution, click_id, rules_version, tier, parents::uuid[], available_at, review,
        string_to_array(reasons, ',')
    from unnest($7::text[], $8::text[], $9::text[], $10::uuid[], $11::uuid[], $12::text[], $13::text[],
        $14::timestamptz[], $15::timestamptz[], $16::uuid[], $17::text[], $18::uuid[], $19::int4[], $20::text[],
        $21::text[], $22::timestamptz[], $23::text[], $24::text[])
        as o (tenant, program, order_id, content, command_id, customer_id, currency, ordered_at, recorded_at,
            partner_id, attribution, click_id, rules_version, tier, parents, available_at, review, reasons)
), lined as (
    insert into commissioner.lines (tenant, program, order_id, line_id, amount, tax, shipping, discount, base,
        base_currency, fx_rate_e9, refunded)
    select *, 0 from unnest($25::text[], $26::text[], $27::text[], $28::text[], $29::int8[], $30::int8[], $31::int8[],
        $32::int8[], $33::int8[], $34::text[], $35::int8[])
), share as materialized (
    select * from unnest($36::text[], $37::text[], $38::text[], $39::text[], $40::int2[], $41::uuid[], $42::uuid[],
        $43::int4[], $44::int8[], $45::int8[], $46::text[], $47::timestamptz[], $48::timestamptz[], $49::timestamptz[])
        as s (tenant, program, order_id, line_id, level, partner_id, commission_id, rate_bp, base, amount, currency,
            ordered_at, booked_at, available_at)
), earned as (
    insert into commissioner.commissions (tenant, program, order_id, line_id, level, partner_id, commission_id, rate_bp,
        base, amount, currency, ordered_at)
    select tenant, program, order_id, line_id, level, partner_id, commission_id, rate_bp, base, amount, currency,
        ordered_at
    from share
), booked as (
    insert into commissioner.transfers (tenant, transfer_id, program, partner_id, kind, debit, credit, amount, currency,
        booked_at, available_at, commission_id, order_id)
    select tenant, commission_id, program, partner_id, 'earned', 'expense', 'partner', amount, currency, booked_at,
        available_at, commission_id, order_id
    from share where amount > 0
)
select count(*) from bound";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partners_above_are_an_array_with_a_gap_for_who_earns_nothing() {
        assert_eq!(partners(&[]), "{}");
        assert_eq!(partners(&[None, Some(Uuid::nil())]), "{null,00000000-0000-0000-0000-000000000000}");
    }
}
