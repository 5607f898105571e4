//! The last step: the authority signs, and the certificate is fetched.

use std::time::Duration;

use chrono::{DateTime, Utc};
use instant_acme::{OrderStatus, RetryPolicy};
use omnibus_runtime::{CallError, Cx, Effect, Events, Fail, Found, Meta, Policy, Prepared, Settled, WhenUncertain};
use omnibus_schemas::brander::{CertificateIssued, CertificateStatus, FinishCertificate};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use x509_parser::pem::Pem;

use super::{failed, order, show, step, still_proved, trouble};
use crate::Brander;

/// Which order, and with which key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Ready {
    tenant: String,
    order_id: Uuid,
    host: String,
    order_url: String,
    sealed_key: Vec<u8>,
}

/// The certificate.
#[derive(Debug, Clone)]
pub(crate) struct Signed {
    chain: String,
    until: DateTime<Utc>,
}

impl Effect<FinishCertificate> for Brander {
    const POLICY: Policy = Policy { timeout: Duration::from_secs(120), ..Policy::DEFAULT };
    const PROVIDER: Option<&'static str> = Some("acme");

    type Plan = Ready;
    type Done = Signed;

    async fn prepare(&self, cx: &mut Cx<'_>, cmd: FinishCertificate) -> Result<Prepared<Ready>, Fail> {
        let order_id = cmd.order_id;
        let found = order(cx, order_id).await?;
        let (Some(order_url), Some(sealed_key), "ready") =
            (found.order_url.clone(), found.sealed_key.clone(), found.status.as_str())
        else {
            return Ok(Prepared::Skip(Events::none()));
        };
        still_proved(cx, &found.host).await?;
        Ok(Prepared::go(Ready { tenant: cx.tenant().to_owned(), order_id, host: found.host, order_url, sealed_key }))
    }

    /// An order that was signed before is signed still: then only the certificate is fetched.
    async fn perform(&self, _: &Meta, ready: &Ready) -> Result<Signed, CallError> {
        let not_done = CallError::NotDone;
        let authority = self.authority.as_ref().ok_or_else(|| not_done(anyhow::anyhow!("no authority is set")))?;
        let desk = self.desk().await;
        let account = authority.account(&desk.db).await.map_err(not_done)?;
        let mut order = account.order(ready.order_url.clone()).await.map_err(trouble)?;
        if order.state().status == OrderStatus::Ready {
            let owner = format!("{}/{}", ready.tenant, ready.host);
            // With another CERTIFICATE_KEY than it was ordered under, say.
            let key = authority.seal.open(&ready.sealed_key, &owner).map_err(|error| not_done(error.into()))?;
            let request = request(&key, &ready.host).map_err(not_done)?;
            order.finalize_csr(&request).await.map_err(trouble)?;
        }
        let patience = RetryPolicy::new().timeout(Duration::from_secs(90));
        let chain = order.poll_certificate(&patience).await.map_err(trouble)?;
        let until = until(&chain).map_err(not_done)?;
        Ok(Signed { chain, until })
    }

    async fn record(&self, cx: &mut Cx<'_>, ready: Ready, signed: Signed) -> Result<Events, Fail> {
        let Ready { host, order_id, sealed_key, .. } = ready;
        let now = cx.now();
        step(cx, order_id, "issued", Some(now)).await?;
        sqlx::query(
            "insert into brander.certificates (tenant, host, chain, sealed_key, until, issued_at)
             values ($1, $2, $3, $4, $5, $6)
             on conflict (tenant, host) do update
             set chain = excluded.chain, sealed_key = excluded.sealed_key, until = excluded.until,
                 issued_at = excluded.issued_at",
        )
        .bind(cx.tenant())
        .bind(&host)
        .bind(signed.chain)
        .bind(sealed_key)
        .bind(signed.until)
        .bind(now)
        .execute(cx.db())
        .await?;
        show(cx, &host, CertificateStatus::Issued, None).await?;
        sqlx::query("update brander.domains set certificate_until = $3 where tenant = $1 and host = $2")
            .bind(cx.tenant())
            .bind(&host)
            .bind(signed.until)
            .execute(cx.db())
            .await?;
        let told = CertificateIssued { host: host.clone(), order_id, until: signed.until };
        Ok(Events::none().about(host, told))
    }

    async fn reconcile(&self, _: &Meta, _: &Ready) -> Result<Found<Signed>, Fail> {
        Ok(Found::NotDone)
    }

    fn when_uncertain(&self, _: &Ready) -> WhenUncertain {
        WhenUncertain::Resend
    }

    async fn settle(&self, cx: &mut Cx<'_>, ready: Option<Ready>, how: &Settled) -> Result<Events, Fail> {
        match ready {
            Some(ready) => failed(cx, ready.order_id, how).await,
            None => Ok(Events::none()),
        }
    }
}

/// What the authority is asked to sign: the host's name and nothing else.
fn request(key: &[u8], host: &str) -> anyhow::Result<Vec<u8>> {
    let key = KeyPair::try_from(key)?;
    let mut params = CertificateParams::new(vec![host.to_owned()])?;
    params.distinguished_name = DistinguishedName::new();
    Ok(params.serialize_request(&key)?.der().to_vec())
}

/// Until when the first certificate of a chain is good.
fn until(chain: &str) -> anyhow::Result<DateTime<Utc>> {
    let first = Pem::iter_from_buffer(chain.as_bytes()).next();
    let first = first.ok_or_else(|| anyhow::anyhow!("the authority sent no certificate"))??;
    let end = first.parse_x509()?.validity().not_after.timestamp();
    DateTime::from_timestamp(end, 0).ok_or_else(|| anyhow::anyhow!("the certificate's end is no time"))
}
