//! A partner's row, locked while a command changes it.

use omnibus_runtime::Fail;
use omnibus_schemas::Token;
use omnibus_schemas::commissioner::PartnerStatus;
use sqlx::{PgConnection, Row};
use uuid::Uuid;

use crate::words::read;

/// What commands about a partner need to know of one.
#[derive(Debug)]
pub(crate) struct Partner {
    pub(crate) partner_id: Uuid,
    pub(crate) program: Token,
    pub(crate) status: PartnerStatus,
    pub(crate) parent_id: Option<Uuid>,
    pub(crate) has_account: bool,
}

impl Partner {
    /// Finds and locks the partner, or says a business no.
    pub(crate) async fn locked(db: &mut PgConnection, tenant: &str, partner_id: Uuid) -> Result<Self, Fail> {
        let row = sqlx::query(
            "select program, status, parent_id, payout_account is not null as has_account
             from commissioner.partners where tenant = $1 and partner_id = $2 for no key update",
        )
        .bind(tenant)
        .bind(partner_id)
        .fetch_optional(db)
        .await?;
        let row = row.ok_or_else(no_partner)?;
        Ok(Partner {
            partner_id,
            program: token(row.try_get("program")?)?,
            status: read(row.try_get("status")?)?,
            parent_id: row.try_get("parent_id")?,
            has_account: row.try_get("has_account")?,
        })
    }
}

/// Another tenant's partner is no partner.
pub(crate) fn no_partner() -> Fail {
    Fail::reject("no_such_partner", "partner_id: there is no such partner")
}

/// A program's name as a row holds it.
pub(crate) fn token(word: String) -> Result<Token, sqlx::Error> {
    word.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))
}

/// One more change of the partner: gives back its number.
pub(crate) async fn revised(db: &mut PgConnection, tenant: &str, partner_id: Uuid) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(
        "update commissioner.partners set revision = revision + 1
         where tenant = $1 and partner_id = $2 returning revision",
    )
    .bind(tenant)
    .bind(partner_id)
    .fetch_one(db)
    .await
}
