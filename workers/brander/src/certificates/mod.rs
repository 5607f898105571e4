//! Certificates by ACME (RFC 8555), for proved hosts alone: whoever may ask for any host's certificate may use up what
//! the authority allows us for all. An order walks through three commands (order, answer, finish), each of which leaves
//! its row where the next one begins.

mod answer_challenge;
pub(crate) mod authority;
mod budget;
mod challenge_file;
mod finish_certificate;
pub(crate) mod handed_out;
mod order_certificate;
pub(crate) mod renewals;

use chrono::{DateTime, Utc};
use omnibus_runtime::{CallError, Cx, Events, Fail, Settled};
use omnibus_schemas::brander::{CertificateFailed, CertificateStatus, DomainStatus};
use sqlx::Row;
use uuid::Uuid;

/// An order, as its row has it.
#[derive(Debug, Clone)]
struct Order {
    host: String,
    status: String,
    order_url: Option<String>,
    sealed_key: Option<Vec<u8>>,
}

async fn order(cx: &mut Cx<'_>, order_id: Uuid) -> Result<Order, Fail> {
    let row = sqlx::query(
        "select host, status, order_url, sealed_key from brander.certificate_orders
         where tenant = $1 and order_id = $2 for update",
    )
    .bind(cx.tenant())
    .bind(order_id)
    .fetch_optional(cx.db())
    .await?;
    let row = row.ok_or_else(|| Fail::reject("order_unknown", "there is no order of that id"))?;
    Ok(Order {
        host: row.try_get("host")?,
        status: row.try_get("status")?,
        order_url: row.try_get("order_url")?,
        sealed_key: row.try_get("sealed_key")?,
    })
}

/// A host that is a tenant's no more: its certificate goes, and what was ordered for it comes to nothing.
pub(crate) async fn forget(db: &mut sqlx::PgConnection, tenant: &str, host: &str) -> Result<(), sqlx::Error> {
    sqlx::query("delete from brander.certificates where tenant = $1 and host = $2")
        .bind(tenant)
        .bind(host)
        .execute(&mut *db)
        .await?;
    sqlx::query(
        "update brander.certificate_orders set status = 'failed', sealed_key = null
         where tenant = $1 and host = $2 and status not in ('issued', 'failed')",
    )
    .bind(tenant)
    .bind(host)
    .execute(&mut *db)
    .await?;
    sqlx::query(
        "update brander.domains set certificate = 'none', certificate_until = null, certificate_detail = null
         where tenant = $1 and host = $2",
    )
    .bind(tenant)
    .bind(host)
    .execute(db)
    .await?;
    Ok(())
}

/// Is the host the tenant's still? Asked before each step: minutes lie between them.
async fn still_proved(cx: &mut Cx<'_>, host: &str) -> Result<(), Fail> {
    match crate::domains::claim(cx, host).await? {
        Some(claim) if claim.status == DomainStatus::Verified => Ok(()),
        _ => Err(Fail::reject("domain_not_verified", "/host: a certificate is ordered for a proved domain only")),
    }
}

async fn step(cx: &mut Cx<'_>, order_id: Uuid, status: &str, finished: Option<DateTime<Utc>>) -> Result<(), Fail> {
    sqlx::query(
        "update brander.certificate_orders set status = $3, finished_at = $4 where tenant = $1 and order_id = $2",
    )
    .bind(cx.tenant())
    .bind(order_id)
    .bind(status)
    .bind(finished)
    .execute(cx.db())
    .await?;
    Ok(())
}

/// The certificate's status beside the host's own.
async fn show(cx: &mut Cx<'_>, host: &str, status: CertificateStatus, detail: Option<&str>) -> Result<(), Fail> {
    sqlx::query("update brander.domains set certificate = $3, certificate_detail = $4 where tenant = $1 and host = $2")
        .bind(cx.tenant())
        .bind(host)
        .bind(status.as_str())
        .bind(detail)
        .execute(cx.db())
        .await?;
    Ok(())
}

/// An order that came to nothing, whichever step it was at.
async fn failed(cx: &mut Cx<'_>, order_id: Uuid, how: &Settled) -> Result<Events, Fail> {
    let detail = match how {
        Settled::Refused { detail, .. } | Settled::GaveUp { detail } => detail.clone(),
        Settled::Dropped { note } => note.clone(),
        Settled::Uncertain { .. } | Settled::Vouched { .. } => return Ok(Events::none()),
    };
    let found: Option<String> = sqlx::query_scalar(
        "select host from brander.certificate_orders
         where tenant = $1 and order_id = $2 and status not in ('issued', 'failed')",
    )
    .bind(cx.tenant())
    .bind(order_id)
    .fetch_optional(cx.db())
    .await?;
    let Some(host) = found else { return Ok(Events::none()) };
    let now = cx.now();
    step(cx, order_id, "failed", Some(now)).await?;
    show(cx, &host, CertificateStatus::Failed, Some(&detail)).await?;
    Ok(Events::none().about(host.clone(), CertificateFailed { host, detail }))
}

/// What the authority's error means for the step: a no is a no, anything else passes.
fn trouble(error: instant_acme::Error) -> CallError {
    match error {
        instant_acme::Error::Api(problem) => {
            let kind =
                problem.r#type.as_deref().and_then(|kind| kind.rsplit(':').next()).unwrap_or_default().to_owned();
            // What tells us to wait, and what is the authority's own trouble, is tried again.
            match ["rateLimited", "badNonce", "serverInternal"].contains(&kind.as_str()) {
                true => CallError::NotDone(anyhow::anyhow!("the authority: {problem}")),
                false => CallError::Refused { code: "authority_refused", detail: problem.to_string() },
            }
        }
        other => CallError::NotDone(other.into()),
    }
}
