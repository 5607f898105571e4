//! The second step: the file is in place, so the authority may look.

use std::time::Duration;

use instant_acme::{AuthorizationStatus, ChallengeType, OrderStatus, RetryPolicy};
use omnibus_runtime::{CallError, Cx, Effect, Events, Fail, Found, Meta, Policy, Prepared, Settled, WhenUncertain};
use omnibus_schemas::brander::{AnswerChallenge, CertificateStatus, FinishCertificate};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{failed, order, show, step, still_proved, trouble};
use crate::Brander;

/// Which order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Asked {
    order_id: Uuid,
    order_url: String,
}

impl Effect<AnswerChallenge> for Brander {
    const POLICY: Policy = Policy { timeout: Duration::from_secs(120), ..Policy::DEFAULT };
    const PROVIDER: Option<&'static str> = Some("acme");

    type Plan = Asked;
    type Done = ();

    async fn prepare(&self, cx: &mut Cx<'_>, cmd: AnswerChallenge) -> Result<Prepared<Asked>, Fail> {
        let found = order(cx, cmd.order_id).await?;
        let (Some(order_url), "ordered" | "checking") = (found.order_url.clone(), found.status.as_str()) else {
            return Ok(Prepared::Skip(Events::none()));
        };
        still_proved(cx, &found.host).await?;
        step(cx, cmd.order_id, "checking", None).await?;
        show(cx, &found.host, CertificateStatus::Checking, None).await?;
        Ok(Prepared::go(Asked { order_id: cmd.order_id, order_url }))
    }

    /// What was answered before is answered still, so this may be done again.
    async fn perform(&self, _: &Meta, asked: &Asked) -> Result<(), CallError> {
        let not_done = CallError::NotDone;
        let authority = self.authority.as_ref().ok_or_else(|| not_done(anyhow::anyhow!("no authority is set")))?;
        let desk = self.desk().await;
        let account = authority.account(&desk.db).await.map_err(not_done)?;
        let mut order = account.order(asked.order_url.clone()).await.map_err(trouble)?;
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization.map_err(trouble)?;
            if authorization.status == AuthorizationStatus::Pending
                && let Some(mut challenge) = authorization.challenge(ChallengeType::Http01)
            {
                challenge.set_ready().await.map_err(trouble)?;
            }
        }
        let patience = RetryPolicy::new().timeout(Duration::from_secs(90));
        match order.poll_ready(&patience).await.map_err(trouble)? {
            OrderStatus::Ready | OrderStatus::Valid => Ok(()),
            _ => Err(CallError::Refused {
                code: "challenge_failed",
                detail: "the authority found no answer at the host: does it point here?".into(),
            }),
        }
    }

    async fn record(&self, cx: &mut Cx<'_>, asked: Asked, (): ()) -> Result<Events, Fail> {
        step(cx, asked.order_id, "ready", None).await?;
        Ok(Events::none().then(FinishCertificate { order_id: asked.order_id }))
    }

    async fn reconcile(&self, _: &Meta, _: &Asked) -> Result<Found<()>, Fail> {
        Ok(Found::NotDone)
    }

    fn when_uncertain(&self, _: &Asked) -> WhenUncertain {
        WhenUncertain::Resend
    }

    async fn settle(&self, cx: &mut Cx<'_>, asked: Option<Asked>, how: &Settled) -> Result<Events, Fail> {
        match asked {
            Some(asked) => failed(cx, asked.order_id, how).await,
            None => Ok(Events::none()),
        }
    }
}
