//! Sends a text once more that the carrier could not deliver for a reason that passes. It is a text of its own, with a
//! price of its own.

use omnibus_runtime::{CallError, Cx, Effect, Events, Fail, Found, Meta, Policy, Prepared, Settled, WhenUncertain};
use omnibus_schemas::texter::{RetrySms, WaitsAt};
use sqlx::Row;

use crate::draft::{Draft, Plan, Step};
use crate::number;
use crate::provider::Receipt;
use crate::send_sms::POLICY;
use crate::{Texter, draft, status};

impl Effect<RetrySms> for Texter {
    const POLICY: Policy = POLICY;
    const PROVIDER: Option<&'static str> = Some("sms");

    type Plan = Plan;
    type Done = Receipt;

    async fn prepare(&self, cx: &mut Cx<'_>, cmd: RetrySms) -> Result<Prepared<Plan>, Fail> {
        let (tenant, message_id) = (cx.tenant(), cx.meta().id);
        let row = sqlx::query(
            "select recipient, sender, body, template, status, category, timezone from texter.messages
             where tenant = $1 and message_id = $2 and body is not null",
        )
        .bind(tenant)
        .bind(cmd.message_id)
        .fetch_optional(cx.db())
        .await?;
        let row = row.ok_or_else(|| Fail::reject("not_found", "there is no such text that is kept"))?;
        let state = status::parse(row.try_get("status")?).map_err(Fail::Retry)?;
        if !status::has_failed(state) {
            return Err(Fail::reject("not_failed", "the text has not failed"));
        }
        let recipient: String = row.try_get("recipient")?;
        let draft = Draft {
            number: number::read("/to", &recipient, None)
                .map_err(|error| Fail::reject(error.code(), error.to_string()))?,
            from: Some(row.try_get("sender")?),
            body: row.try_get("body")?,
            code: None,
            category: draft::category(row.try_get("category")?),
            template: Some(row.try_get("template")?).filter(|name: &String| !name.is_empty()),
            timezone: row.try_get("timezone")?,
            send_at: None,
            waits_at: WaitsAt::Here,
        };
        Ok(match self.plan(cx, draft).await? {
            Step::Go(plan, events) => Prepared::Go(Plan { retry_of: Some(cmd.message_id), ..*plan }, events),
            Step::Done(sent) => Prepared::Skip(sent.event(message_id)),
            Step::Later(wait) => Prepared::Later(wait),
        })
    }

    async fn perform(&self, meta: &Meta, plan: &Plan) -> Result<Receipt, CallError> {
        self.leave(meta, plan).await
    }

    async fn record(&self, cx: &mut Cx<'_>, plan: Plan, done: Receipt) -> Result<Events, Fail> {
        let (tenant, message_id) = (cx.tenant(), cx.meta().id);
        // One retry is enough: neither the text that failed nor this one is kept for another.
        sqlx::query("update texter.messages set body = null where tenant = $1 and message_id in ($2, $3)")
            .bind(tenant)
            .bind(message_id)
            .bind(plan.retry_of.unwrap_or(message_id))
            .execute(cx.db())
            .await?;
        let (sent, events) = self.took_over(cx, &plan, &done).await?;
        Ok(events.join(sent.event(message_id)))
    }

    async fn reconcile(&self, meta: &Meta, plan: &Plan) -> Result<Found<Receipt>, Fail> {
        self.look_up(meta, plan).await
    }

    fn when_uncertain(&self, _plan: &Plan) -> WhenUncertain {
        self.unknown()
    }

    async fn settle(&self, cx: &mut Cx<'_>, plan: Option<Plan>, how: &Settled) -> Result<Events, Fail> {
        let message_id = cx.meta().id;
        let (sent, events) = self.settled(cx, plan, how).await?;
        Ok(sent.map_or(Events::none(), |sent| sent.event(message_id)).join(events))
    }
}
