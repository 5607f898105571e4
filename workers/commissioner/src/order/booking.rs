//! The rows of many orders, written by one statement.

use chrono::{DateTime, Utc};
use omnibus_schemas::commissioner::{Attribution, Review, Tier};
use serde::Serialize;
use sqlx::PgConnection;
use uuid::Uuid;

/// Rows to be written, by table. The fields are named as the columns.
#[derive(Debug, Default)]
pub(crate) struct Booking<'a> {
    pub(crate) orders: Vec<OrderRow<'a>>,
    pub(crate) lines: Vec<LineRow<'a>>,
    pub(crate) customers: Vec<CustomerRow<'a>>,
    pub(crate) commissions: Vec<CommissionRow<'a>>,
    pub(crate) transfers: Vec<EarnedRow<'a>>,
}

#[derive(Debug, Serialize)]
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

#[derive(Debug, Serialize)]
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
    pub(crate) refunded: i64,
}

#[derive(Debug, Serialize)]
pub(crate) struct CustomerRow<'a> {
    pub(crate) tenant: &'a str,
    pub(crate) program: &'a str,
    pub(crate) customer_id: &'a str,
    pub(crate) partner_id: Uuid,
    pub(crate) bound_at: DateTime<Utc>,
    pub(crate) bound_by: Attribution,
}

#[derive(Debug, Serialize)]
pub(crate) struct CommissionRow<'a> {
    pub(crate) tenant: &'a str,
    pub(crate) program: &'a str,
    pub(crate) order_id: &'a str,
    pub(crate) line_id: &'a str,
    pub(crate) level: i16,
    pub(crate) partner_id: Uuid,
    pub(crate) commission_id: Uuid,
    pub(crate) rate_bp: u32,
    pub(crate) base: i64,
    pub(crate) amount: i64,
    pub(crate) currency: &'static str,
    pub(crate) ordered_at: DateTime<Utc>,
}

/// A transfer of the kind `earned`. A commission has one, and its id.
#[derive(Debug, Serialize)]
pub(crate) struct EarnedRow<'a> {
    pub(crate) tenant: &'a str,
    pub(crate) transfer_id: Uuid,
    pub(crate) program: &'a str,
    pub(crate) partner_id: Uuid,
    pub(crate) kind: &'static str,
    pub(crate) debit: &'static str,
    pub(crate) credit: &'static str,
    pub(crate) amount: i64,
    pub(crate) currency: &'static str,
    pub(crate) booked_at: DateTime<Utc>,
    pub(crate) available_at: DateTime<Utc>,
    pub(crate) commission_id: Uuid,
    pub(crate) order_id: &'a str,
}

/// Rows as PostgreSQL's `json`, which is read once; `jsonb` would sort and pack each row's fields first and take half as long
/// again.
fn text<T: Serialize>(rows: &[T]) -> Result<String, sqlx::Error> {
    serde_json::to_string(rows).map_err(|error| sqlx::Error::Encode(error.into()))
}

impl Booking<'_> {
    /// Writes all of it. `false` if a customer was bound by somebody else at the same moment: then nothing of this may
    /// stay.
    pub(crate) async fn write(&self, db: &mut PgConnection) -> Result<bool, sqlx::Error> {
        if self.orders.is_empty() {
            return Ok(true);
        }
        let bound: i64 = sqlx::query_scalar(
            "with bound as (
                insert into commissioner.customers
                select * from json_populate_recordset(null::commissioner.customers, $1::text::json)
                on conflict do nothing returning 1
             ), ordered as (
                insert into commissioner.orders select * from json_populate_recordset(null::commissioner.orders, $2::text::json)
             ), lined as (
                insert into commissioner.lines select * from json_populate_recordset(null::commissioner.lines, $3::text::json)
             ), earned as (
                insert into commissioner.commissions
                select * from json_populate_recordset(null::commissioner.commissions, $4::text::json)
             ), booked as (
                insert into commissioner.transfers
                select * from json_populate_recordset(null::commissioner.transfers, $5::text::json)
             )
             select count(*) from bound",
        )
        .bind(text(&self.customers)?)
        .bind(text(&self.orders)?)
        .bind(text(&self.lines)?)
        .bind(text(&self.commissions)?)
        .bind(text(&self.transfers)?)
        .fetch_one(db)
        .await?;
        Ok(usize::try_from(bound) == Ok(self.customers.len()))
    }
}
