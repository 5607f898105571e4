//! The first step: an order at the authority, with a private key of its own and the file that will prove the host.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use instant_acme::{AuthorizationStatus, ChallengeType, Identifier, NewOrder};
use omnibus_runtime::{
    CallError, Cx, Effect, Events, Fail, Found, Meta, Policy, Prepared, Settled, WhenUncertain, clock,
};
use omnibus_schemas::brander::{
    AnswerChallenge, CertificateOrdered, CertificateStatus, DomainStatus, OrderCertificate,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{budget, failed, show, trouble};
use crate::Brander;
use crate::domains::{host, own};

/// For which host.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Wanted {
    tenant: String,
    order_id: Uuid,
    host: String,
}

/// What the authority has given.
#[derive(Debug, Clone)]
pub(crate) struct Opened {
    order_url: String,
    /// The challenge's file and what it says; `None` if the authority knows the host already.
    file: Option<(String, String)>,
    sealed_key: Vec<u8>,
}

/// The same for every attempt of a command, and another for every tenant.
fn order_id(cx: &Cx<'_>) -> Uuid {
    Uuid::new_v5(&cx.id("order"), cx.tenant().as_bytes())
}

impl Effect<OrderCertificate> for Brander {
    const POLICY: Policy = Policy { timeout: Duration::from_secs(60), ..Policy::DEFAULT };
    const PROVIDER: Option<&'static str> = Some("acme");

    type Plan = Wanted;
    type Done = Opened;

    async fn prepare(&self, cx: &mut Cx<'_>, cmd: OrderCertificate) -> Result<Prepared<Wanted>, Fail> {
        if self.authority.is_none() {
            return Err(Fail::reject("certificates_off", "no certificate authority is set up (ACME_DIRECTORY_URL)"));
        }
        let host = self.host(&cmd.host);
        if own(cx, &host).await?.status != DomainStatus::Verified {
            return Err(Fail::reject(
                "domain_not_verified",
                "/host: a certificate is ordered for a proved domain only",
            ));
        }
        let good: Option<DateTime<Utc>> =
            sqlx::query_scalar("select until from brander.certificates where tenant = $1 and host = $2 and until > $3")
                .bind(cx.tenant())
                .bind(&host)
                .bind(clock::now() + TimeDelta::days(30))
                .fetch_optional(cx.db())
                .await?;
        if let Some(until) = good {
            let words = format!("/host: its certificate is good until {until}, and is renewed 30 days before");
            return Err(Fail::reject("certificate_good", words));
        }
        let order_id = order_id(cx);
        let under_way: Option<Uuid> = sqlx::query_scalar(
            "select order_id from brander.certificate_orders
             where tenant = $1 and host = $2 and order_id <> $3 and opened_at > $4
               and status in ('opening', 'ordered', 'checking', 'ready') limit 1",
        )
        .bind(cx.tenant())
        .bind(&host)
        .bind(order_id)
        .bind(clock::now() - TimeDelta::hours(1))
        .fetch_optional(cx.db())
        .await?;
        if let Some(order_id) = under_way {
            return Ok(Prepared::Skip(Events::none().about(host.clone(), CertificateOrdered { host, order_id })));
        }
        let known: bool = sqlx::query_scalar(
            "select exists (select from brander.certificate_orders where tenant = $1 and order_id = $2)",
        )
        .bind(cx.tenant())
        .bind(order_id)
        .fetch_one(cx.db())
        .await?;
        if !known {
            let registered = host::registered(&host).unwrap_or_else(|| host.clone());
            budget::room(cx, &registered, &host).await?;
            sqlx::query(
                "insert into brander.certificate_orders (tenant, order_id, host, registered, status, opened_at)
                 values ($1, $2, $3, $4, 'opening', $5)",
            )
            .bind(cx.tenant())
            .bind(order_id)
            .bind(&host)
            .bind(registered)
            // The budget is counted in real time; a command's own time is its sender's to say.
            .bind(clock::now())
            .execute(cx.db())
            .await?;
        }
        show(cx, &host, CertificateStatus::Ordered, None).await?;
        Ok(Prepared::go(Wanted { tenant: cx.tenant().to_owned(), order_id, host }))
    }

    async fn perform(&self, _: &Meta, wanted: &Wanted) -> Result<Opened, CallError> {
        let not_done = CallError::NotDone;
        let authority = self.authority.as_ref().ok_or_else(|| not_done(anyhow::anyhow!("no authority is set")))?;
        let desk = self.desk().await;
        let account = authority.account(&desk.db).await.map_err(not_done)?;
        let names = [Identifier::Dns(wanted.host.clone())];
        let mut order = account.new_order(&NewOrder::new(&names)).await.map_err(trouble)?;
        let mut file = None;
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization.map_err(trouble)?;
            if authorization.status == AuthorizationStatus::Valid {
                continue;
            }
            let challenge = authorization.challenge(ChallengeType::Http01).ok_or_else(|| CallError::Refused {
                code: "authority_refused",
                detail: "the authority offers no check by HTTP".into(),
            })?;
            file = Some((challenge.token.clone(), challenge.key_authorization().as_str().to_owned()));
        }
        let order_url = order.url().to_owned();
        let key = rcgen::KeyPair::generate().map_err(|error| not_done(error.into()))?;
        let owner = format!("{}/{}", wanted.tenant, wanted.host);
        let sealed_key = authority.seal.close(&key.serialize_der(), &owner).map_err(|error| not_done(error.into()))?;
        Ok(Opened { order_url, file, sealed_key })
    }

    async fn record(&self, cx: &mut Cx<'_>, wanted: Wanted, opened: Opened) -> Result<Events, Fail> {
        let Wanted { host, order_id, .. } = wanted;
        let (token, answer) = opened.file.unzip();
        sqlx::query(
            "update brander.certificate_orders
             set status = 'ordered', order_url = $3, token = $4, answer = $5, sealed_key = $6
             where tenant = $1 and order_id = $2",
        )
        .bind(cx.tenant())
        .bind(order_id)
        .bind(opened.order_url)
        .bind(token)
        .bind(answer)
        .bind(opened.sealed_key)
        .execute(cx.db())
        .await?;
        let told = CertificateOrdered { host: host.clone(), order_id };
        Ok(Events::none().about(host, told).then(AnswerChallenge { order_id }))
    }

    /// An order that nobody knows of ends by itself; it costs one of the budget.
    async fn reconcile(&self, _: &Meta, _: &Wanted) -> Result<Found<Opened>, Fail> {
        Ok(Found::NotDone)
    }

    fn when_uncertain(&self, _: &Wanted) -> WhenUncertain {
        WhenUncertain::Resend
    }

    async fn settle(&self, cx: &mut Cx<'_>, wanted: Option<Wanted>, how: &Settled) -> Result<Events, Fail> {
        let order_id = wanted.map_or_else(|| order_id(cx), |wanted| wanted.order_id);
        failed(cx, order_id, how).await
    }
}
