//! Hands a reserved payout to the provider, once. What is not known to have left is never handed over again by itself.

use std::time::Duration;

use omnibus_runtime::{CallError, Cx, Effect, Events, Fail, Found, Meta, Policy, Prepared, Settled, WhenUncertain};
use omnibus_schemas::commissioner::{PartnerStatus, PayoutStatus, PayoutSubmitted, PayoutUncertain, SubmitPayout};
use sqlx::Row;

use crate::Commissioner;
use crate::payout::Payout;
use crate::provider::{Payment, Receipt};
use crate::words::{read, word};

impl Effect<SubmitPayout> for Commissioner {
    /// Above the provider's own time-out, which knows how far the request came.
    const POLICY: Policy = Policy { timeout: Duration::from_secs(90), ..Policy::DEFAULT };

    const PROVIDER: Option<&'static str> = Some("payout");

    type Plan = Payment;
    type Done = Receipt;

    async fn prepare(&self, cx: &mut Cx<'_>, cmd: SubmitPayout) -> Result<Prepared<Payment>, Fail> {
        let (tenant, now, command) = (cx.tenant(), cx.now(), cx.meta().id);
        let mut payout = Payout::locked(cx.db(), tenant, cmd.payout_id).await?;
        let ours = payout.submitted_by.is_none_or(|by| by == command);
        if !ours || !matches!(payout.status, PayoutStatus::Reserved | PayoutStatus::Uncertain) {
            let detail = format!("payout_id: is {} and can't be submitted by this", word(&payout.status));
            return Err(Fail::reject("wrong_status", detail));
        }
        let row = sqlx::query(
            "update commissioner.payouts y set provider = $3, submitted_by = $4, name = coalesce(y.name, p.name),
                account = coalesce(y.account, p.payout_account, '')
             from commissioner.partners p
             where y.tenant = $1 and y.payout_id = $2 and p.tenant = y.tenant and p.partner_id = y.partner_id
             returning y.name, y.account, p.status",
        )
        .bind(tenant)
        .bind(cmd.payout_id)
        .bind(self.provider.name())
        .bind(command)
        .fetch_one(cx.db())
        .await?;
        if read::<PartnerStatus>(row.try_get("status")?)? != PartnerStatus::Approved {
            let detail = "the partner is not approved any more";
            return match payout.doubted {
                // Whether it left before that is another question.
                true => Err(Fail::reject("not_approved", detail)),
                false => Ok(Prepared::Skip(payout.fails(cx.db(), tenant, detail, now).await?)),
            };
        }
        Ok(Prepared::go(Payment {
            tenant: tenant.to_owned(),
            program: payout.program,
            payout_id: payout.payout_id,
            partner_id: payout.partner_id,
            name: row.try_get("name")?,
            account: row.try_get("account")?,
            amount: payout.amount,
            currency: payout.currency,
            reserved_at: cx.now(),
        }))
    }

    async fn perform(&self, _meta: &Meta, plan: &Payment) -> Result<Receipt, CallError> {
        self.provider.pay(plan).await
    }

    async fn record(&self, cx: &mut Cx<'_>, plan: Payment, done: Receipt) -> Result<Events, Fail> {
        let (tenant, now) = (cx.tenant(), cx.now());
        let mut payout = Payout::locked(cx.db(), tenant, plan.payout_id).await?;
        match payout.status {
            PayoutStatus::Reserved | PayoutStatus::Uncertain => {}
            // A person took it for failed while it was on its way.
            PayoutStatus::Failed => {
                if !payout.revives(cx.db(), tenant, now).await? {
                    let detail = "it left, and what it settles was paid again by another payout";
                    return Err(Fail::reject("paid_again", detail));
                }
            }
            _ => return Ok(submitted(&payout, self.provider.name())),
        }
        sqlx::query("update commissioner.payouts set reference = $3 where tenant = $1 and payout_id = $2")
            .bind(tenant)
            .bind(plan.payout_id)
            .bind(&done.reference)
            .execute(cx.db())
            .await?;
        payout.reference = Some(done.reference);
        if payout.status != PayoutStatus::Submitted {
            payout.becomes(cx.db(), tenant, PayoutStatus::Submitted, "").await?;
        }
        let events = submitted(&payout, self.provider.name());
        match done.paid {
            true => Ok(events.join(payout.arrives(cx.db(), tenant, "the provider says that it is paid", now).await?)),
            false => Ok(events),
        }
    }

    async fn reconcile(&self, _meta: &Meta, plan: &Payment) -> Result<Found<Receipt>, Fail> {
        self.provider.find(plan).await.map_err(Fail::Retry)
    }

    fn when_uncertain(&self, _plan: &Payment) -> WhenUncertain {
        WhenUncertain::Hold
    }

    async fn settle(&self, cx: &mut Cx<'_>, plan: Option<Payment>, how: &Settled) -> Result<Events, Fail> {
        // Without a plan nothing was set on its way here: the payout is another command's matter, or there is none.
        let Some(plan) = plan else { return Ok(Events::none()) };
        let (tenant, now) = (cx.tenant(), cx.now());
        let mut payout = Payout::locked(cx.db(), tenant, plan.payout_id).await?;
        if !matches!(payout.status, PayoutStatus::Reserved | PayoutStatus::Uncertain) {
            return Ok(Events::none());
        }
        match how {
            Settled::Dropped { note } => payout.fails(cx.db(), tenant, note, now).await,
            Settled::Refused { detail, .. } | Settled::GaveUp { detail } if !payout.doubted => {
                payout.fails(cx.db(), tenant, detail, now).await
            }
            // The last try did nothing, and one before it may have: only a person can say that it failed.
            Settled::Refused { detail, .. } | Settled::GaveUp { detail } | Settled::Uncertain { detail } => {
                sqlx::query("update commissioner.payouts set doubted = true where tenant = $1 and payout_id = $2")
                    .bind(tenant)
                    .bind(plan.payout_id)
                    .execute(cx.db())
                    .await?;
                payout.becomes(cx.db(), tenant, PayoutStatus::Uncertain, detail).await?;
                let (payout_id, revision) = (payout.payout_id, payout.revision);
                let event = PayoutUncertain { payout_id, detail: detail.clone(), revision };
                Ok(Events::none().about(payout_id.to_string(), event))
            }
            Settled::Vouched { note } => {
                payout.becomes(cx.db(), tenant, PayoutStatus::Submitted, note).await?;
                Ok(submitted(&payout, self.provider.name()))
            }
        }
    }
}

fn submitted(payout: &Payout, provider: &str) -> Events {
    Events::none().about(
        payout.payout_id.to_string(),
        PayoutSubmitted {
            payout_id: payout.payout_id,
            provider: provider.to_owned(),
            reference: payout.reference.clone().unwrap_or_default(),
            revision: payout.revision,
        },
    )
}
