//! Takes back a text that waits, here or at its provider. Asked twice, it is taken back once, so asking may be repeated.

use omnibus_runtime::{CallError, Cx, Effect, Events, Fail, Found, Meta, Policy, Prepared, WhenUncertain};
use omnibus_schemas::texter::{CancelSms, SmsState, SmsStatusChanged};
use serde::{Deserialize, Serialize};
use sqlx::Row;
use uuid::Uuid;

use crate::provider::Word;
use crate::send_sms::POLICY;
use crate::{Texter, status};

/// Which text, by its provider's id.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TakeBack {
    message_id: Uuid,
    provider: String,
    provider_id: String,
}

impl Effect<CancelSms> for Texter {
    const POLICY: Policy = POLICY;
    const PROVIDER: Option<&'static str> = Some("sms");

    type Plan = TakeBack;
    type Done = ();

    async fn prepare(&self, cx: &mut Cx<'_>, cmd: CancelSms) -> Result<Prepared<TakeBack>, Fail> {
        let (tenant, message_id) = (cx.tenant(), cmd.message_id);
        let waited: Option<i32> = sqlx::query_scalar(
            "update texter.messages set status = 'canceled', waits_for = null, waits_until = null, revision = revision + 1
             where tenant = $1 and message_id = $2 and status = 'waiting' returning revision",
        )
        .bind(tenant)
        .bind(message_id)
        .fetch_optional(cx.db())
        .await?;
        if let Some(revision) = waited {
            let changed = SmsStatusChanged {
                message_id,
                status: SmsState::Canceled,
                previous: SmsState::Waiting,
                error_code: None,
                revision: revision.unsigned_abs(),
            };
            return Ok(Prepared::Skip(Events::none().about(message_id.to_string(), changed)));
        }
        let row = sqlx::query(
            "select status, provider, provider_id from texter.messages where tenant = $1 and message_id = $2",
        )
        .bind(tenant)
        .bind(message_id)
        .fetch_optional(cx.db())
        .await?;
        let row = row.ok_or_else(|| Fail::reject("not_found", "no text of that id has reached the texter"))?;
        let state = status::parse(row.try_get("status")?).map_err(Fail::Retry)?;
        let provider_id: Option<String> = row.try_get("provider_id")?;
        match (state, provider_id) {
            (SmsState::Scheduled, Some(provider_id)) => {
                Ok(Prepared::go(TakeBack { message_id, provider: row.try_get("provider")?, provider_id }))
            }
            (SmsState::Canceled, _) => Ok(Prepared::Skip(Events::none())),
            _ => Err(Fail::reject("too_late", "the text waits no longer: it has left, or has failed")),
        }
    }

    async fn perform(&self, _meta: &Meta, plan: &TakeBack) -> Result<(), CallError> {
        self.provider(&plan.provider).map_err(CallError::NotDone)?.cancel(&plan.provider_id).await
    }

    async fn record(&self, cx: &mut Cx<'_>, plan: TakeBack, (): ()) -> Result<Events, Fail> {
        let word = Word { status: SmsState::Canceled, error_code: None, price: None };
        self.hear(cx, plan.message_id, &plan.provider, &plan.provider_id, &word).await
    }

    async fn reconcile(&self, _meta: &Meta, plan: &TakeBack) -> Result<Found<()>, Fail> {
        let Ok(provider) = self.provider(&plan.provider) else { return Ok(Found::CannotTell) };
        let word = provider.ask(&plan.provider_id).await.map_err(Fail::Retry)?;
        Ok(match word.is_some_and(|word| word.status == SmsState::Canceled) {
            true => Found::Done(()),
            false => Found::NotDone,
        })
    }

    fn when_uncertain(&self, _plan: &TakeBack) -> WhenUncertain {
        WhenUncertain::Resend
    }
}
