//! Hands a reserved payout to the provider, once. What is not known to have left is never handed over again by itself.

use std::time::Duration;

use omnibus_runtime::{CallError, Cx, Effect, Events, Fail, Found, Meta, Policy, Prepared, Settled, WhenUncertain};
use omnibus_schemas::commissioner::{PayoutStatus, PayoutSubmitted, PayoutUncertain, SubmitPayout};
use sqlx::Row;

use crate::Commissioner;
use crate::payout::Payout;
use crate::provider::{Payment, Receipt};
use crate::words::word;

impl Effect<SubmitPayout> for Commissioner {
    /// Above the provider's own time-out, which knows how far the request came.
    const POLICY: Policy = Policy { timeout: Duration::from_secs(90), ..Policy::DEFAULT };

    const PROVIDER: Option<&'static str> = Some("payout");

    type Plan = Payment;
    type Done = Receipt;

    async fn prepare(&self, cx: &mut Cx<'_>, cmd: SubmitPayout) -> Result<Prepared<Payment>, Fail> {
        let tenant = cx.tenant();
        let payout = Payout::locked(cx.db(), tenant, cmd.payout_id).await?;
        if !matches!(payout.status, PayoutStatus::Reserved | PayoutStatus::Uncertain) {
            let detail = format!("payout_id: is {} and can't be submitted", word(&payout.status));
            return Err(Fail::reject("wrong_status", detail));
        }
        let row = sqlx::query(
            "update commissioner.payouts y set provider = $3 from commissioner.partners p
             where y.tenant = $1 and y.payout_id = $2 and p.tenant = y.tenant and p.partner_id = y.partner_id
             returning p.name, coalesce(p.payout_account, '') as account",
        )
        .bind(tenant)
        .bind(cmd.payout_id)
        .bind(self.provider.name())
        .fetch_one(cx.db())
        .await?;
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
            // A worker that was overtaken reports late; a person had found that it did not happen, and it did. The money
            // is on its way again, and what it settles is settled by it where no other payout has it.
            PayoutStatus::Failed => {
                payout.book(cx.db(), tenant, ("reserved", "partner", "clearing"), now).await?;
                sqlx::query(
                    "update commissioner.payout_items i set live = true
                     where i.tenant = $1 and i.payout_id = $2 and not exists (
                        select 1 from commissioner.payout_items o
                        where o.tenant = i.tenant and o.transfer_id = i.transfer_id and o.live)",
                )
                .bind(tenant)
                .bind(plan.payout_id)
                .execute(cx.db())
                .await?;
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
        payout.becomes(cx.db(), tenant, PayoutStatus::Submitted, "").await?;
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
            Settled::Refused { detail, .. } | Settled::GaveUp { detail } => {
                payout.fails(cx.db(), tenant, detail, now).await
            }
            Settled::Dropped { note } => payout.fails(cx.db(), tenant, note, now).await,
            Settled::Uncertain { detail } => {
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
