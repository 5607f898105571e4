//! Domains of tenants' own: what may be claimed, how it is proved, and who serves where.

mod add_domain;
mod domains_listed;
pub mod host;
pub mod hosts;
mod recheck_domain;
pub(crate) mod rechecks;
mod remove_domain;
mod verify_domain;

use omnibus_runtime::{Cx, Fail};
use omnibus_schemas::brander::DomainStatus;
use sqlx::Row;

/// The name of the TXT record that proves a host.
pub(crate) fn record_name(host: &str) -> String {
    format!("_omnibus.{host}")
}

/// A claim, as far as checks need it.
#[derive(Debug, Clone)]
pub(crate) struct Claim {
    pub(crate) status: DomainStatus,
    pub(crate) record_value: String,
    pub(crate) failing_since: Option<chrono::DateTime<chrono::Utc>>,
    pub(crate) warned: bool,
    pub(crate) untold: bool,
    pub(crate) down_why: Option<String>,
}

/// The tenant's own claim on a host, locked until the transaction ends.
pub(crate) async fn claim(cx: &mut Cx<'_>, host: &str) -> Result<Option<Claim>, Fail> {
    let row = sqlx::query(
        "select status, record_value, failing_since, warned_at is not null as warned, untold, down_why
         from brander.domains where tenant = $1 and host = $2 for update",
    )
    .bind(cx.tenant())
    .bind(host)
    .fetch_optional(cx.db())
    .await?;
    row.map(|row| {
        Ok(Claim {
            status: DomainStatus::parse(row.try_get("status")?).unwrap_or(DomainStatus::Pending),
            record_value: row.try_get("record_value")?,
            failing_since: row.try_get("failing_since")?,
            warned: row.try_get("warned")?,
            untold: row.try_get("untold")?,
            down_why: row.try_get("down_why")?,
        })
    })
    .transpose()
}

/// As [`claim`], where there must be one.
pub(crate) async fn own(cx: &mut Cx<'_>, host: &str) -> Result<Claim, Fail> {
    let unknown = || Fail::reject("domain_unknown", "/host: this domain was not added");
    claim(cx, host).await?.ok_or_else(unknown)
}
