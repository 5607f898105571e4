//! A payout's row, and the way of its money through the ledger.

use chrono::{DateTime, Utc};
use omnibus_runtime::{Events, Fail};
use omnibus_schemas::commissioner::{Currency, PayoutSettled, PayoutStatus};
use sqlx::{PgConnection, Row};
use uuid::Uuid;

use crate::reversal::currency;
use crate::words::{read, word};

/// A payout, locked.
#[derive(Debug)]
pub(crate) struct Payout {
    pub(crate) payout_id: Uuid,
    pub(crate) program: String,
    pub(crate) partner_id: Uuid,
    pub(crate) amount: i64,
    pub(crate) currency: Currency,
    pub(crate) status: PayoutStatus,
    pub(crate) reference: Option<String>,
    /// The command that hands it over.
    pub(crate) submitted_by: Option<Uuid>,
    /// Was it ever not known whether it left?
    pub(crate) doubted: bool,
    pub(crate) revision: i32,
}

impl Payout {
    pub(crate) async fn locked(db: &mut PgConnection, tenant: &str, payout_id: Uuid) -> Result<Self, Fail> {
        let row = sqlx::query(
            "select program, partner_id, amount, currency, status, reference, submitted_by, doubted, revision
             from commissioner.payouts where tenant = $1 and payout_id = $2 for update",
        )
        .bind(tenant)
        .bind(payout_id)
        .fetch_optional(db)
        .await?;
        let row = row.ok_or_else(|| Fail::reject("no_such_payout", "payout_id: there is no such payout"))?;
        Ok(Payout {
            payout_id,
            program: row.try_get("program")?,
            partner_id: row.try_get("partner_id")?,
            amount: row.try_get("amount")?,
            currency: currency(row.try_get("currency")?)?,
            status: read(row.try_get("status")?)?,
            reference: row.try_get("reference")?,
            submitted_by: row.try_get("submitted_by")?,
            doubted: row.try_get("doubted")?,
            revision: row.try_get("revision")?,
        })
    }

    /// Moves the payout on, and says so in the row.
    pub(crate) async fn becomes(
        &mut self,
        db: &mut PgConnection,
        tenant: &str,
        status: PayoutStatus,
        detail: &str,
    ) -> Result<(), sqlx::Error> {
        self.status = status;
        self.revision = sqlx::query_scalar(
            "update commissioner.payouts set status = $3, detail = nullif($4, ''), revision = revision + 1
             where tenant = $1 and payout_id = $2 returning revision",
        )
        .bind(tenant)
        .bind(self.payout_id)
        .bind(word(&status))
        .bind(detail)
        .fetch_one(db)
        .await?;
        Ok(())
    }

    /// Books the payout's money from one account to another.
    pub(crate) async fn book(
        &self,
        db: &mut PgConnection,
        tenant: &str,
        (kind, debit, credit): (&str, &str, &str),
        now: DateTime<Utc>,
    ) -> Result<(), sqlx::Error> {
        sqlx::query(
            "insert into commissioner.transfers (tenant, transfer_id, program, partner_id, kind, debit, credit, amount,
                currency, booked_at, available_at, payout_id)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10, $11)",
        )
        .bind(tenant)
        .bind(Uuid::new_v5(&self.payout_id, format!("{kind} {}", self.revision).as_bytes()))
        .bind(&self.program)
        .bind(self.partner_id)
        .bind(kind)
        .bind(debit)
        .bind(credit)
        .bind(self.amount)
        .bind(self.currency.code())
        .bind(now)
        .bind(self.payout_id)
        .execute(db)
        .await?;
        Ok(())
    }

    /// What it settled is to be paid again: by the next payout.
    pub(crate) async fn let_go(&self, db: &mut PgConnection, tenant: &str) -> Result<(), sqlx::Error> {
        sqlx::query("update commissioner.payout_items set live = false where tenant = $1 and payout_id = $2")
            .bind(tenant)
            .bind(self.payout_id)
            .execute(db)
            .await?;
        Ok(())
    }

    /// It had failed, and then was found to have left: its money is on its way again, and what it settles is settled by
    /// it. `false` if another payout has paid some of that since; then nothing of this may stay.
    pub(crate) async fn revives(
        &mut self,
        db: &mut PgConnection,
        tenant: &str,
        now: DateTime<Utc>,
    ) -> Result<bool, sqlx::Error> {
        sqlx::query(
            "update commissioner.payout_items i set live = true
             where i.tenant = $1 and i.payout_id = $2 and not exists (
                select 1 from commissioner.payout_items o
                where o.tenant = i.tenant and o.transfer_id = i.transfer_id and o.live)",
        )
        .bind(tenant)
        .bind(self.payout_id)
        .execute(&mut *db)
        .await?;
        let free: bool = sqlx::query_scalar(
            "select bool_and(live) from commissioner.payout_items where tenant = $1 and payout_id = $2",
        )
        .bind(tenant)
        .bind(self.payout_id)
        .fetch_one(&mut *db)
        .await?;
        if free {
            self.becomes(db, tenant, PayoutStatus::Submitted, "it had left after all").await?;
            self.book(db, tenant, ("reserved", "partner", "clearing"), now).await?;
        }
        Ok(free)
    }

    /// It was certainly not paid: the partner's balance has the money again.
    pub(crate) async fn fails(
        &mut self,
        db: &mut PgConnection,
        tenant: &str,
        detail: &str,
        now: DateTime<Utc>,
    ) -> Result<Events, Fail> {
        self.becomes(db, tenant, PayoutStatus::Failed, detail).await?;
        self.book(db, tenant, ("failed", "clearing", "partner"), now).await?;
        self.let_go(db, tenant).await?;
        Ok(self.settled(detail))
    }

    /// The money has arrived.
    pub(crate) async fn arrives(
        &mut self,
        db: &mut PgConnection,
        tenant: &str,
        detail: &str,
        now: DateTime<Utc>,
    ) -> Result<Events, Fail> {
        self.becomes(db, tenant, PayoutStatus::Confirmed, detail).await?;
        self.book(db, tenant, ("paid", "clearing", "bank"), now).await?;
        Ok(self.settled(detail))
    }

    pub(crate) fn settled(&self, detail: &str) -> Events {
        Events::none().about(
            self.payout_id.to_string(),
            PayoutSettled {
                payout_id: self.payout_id,
                partner_id: self.partner_id,
                status: self.status,
                amount: self.amount,
                currency: self.currency,
                detail: detail.to_owned(),
                revision: self.revision,
            },
        )
    }
}
