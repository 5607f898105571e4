//! Sends one text from a template. Its length and its segments are known before it leaves.

use omnibus_runtime::{CallError, Cx, Effect, Events, Fail, Found, Meta, Policy, Prepared, Settled, WhenUncertain};
use omnibus_schemas::texter::{SendTemplate, WaitsAt};

use crate::draft::{Draft, Plan, Step};
use crate::provider::Receipt;
use crate::send_sms::POLICY;
use crate::{Texter, number, templates};

impl Effect<SendTemplate> for Texter {
    const POLICY: Policy = POLICY;
    const PROVIDER: Option<&'static str> = Some("sms");

    type Plan = Plan;
    type Done = Receipt;

    async fn prepare(&self, cx: &mut Cx<'_>, cmd: SendTemplate) -> Result<Prepared<Plan>, Fail> {
        let number = number::read("/to", &cmd.to, cmd.country.as_deref())
            .map_err(|error| Fail::reject(error.code(), error.to_string()))?;
        let rendered = templates::render(&cmd.template, cmd.locale.as_deref(), &cmd.variables)?;
        let draft = Draft {
            number,
            from: cmd.from,
            body: rendered.body,
            code: None,
            category: cmd.category.unwrap_or(rendered.category),
            template: Some(cmd.template),
            timezone: cmd.timezone,
            send_at: None,
            waits_at: WaitsAt::Here,
        };
        let message_id = cx.meta().id;
        Ok(match self.plan(cx, draft).await? {
            Step::Go(plan, events) => Prepared::Go(*plan, events),
            Step::Done(sent) => Prepared::Skip(sent.event(message_id)),
            Step::Later(wait) => Prepared::Later(wait),
        })
    }

    async fn perform(&self, meta: &Meta, plan: &Plan) -> Result<Receipt, CallError> {
        self.leave(meta, plan).await
    }

    async fn record(&self, cx: &mut Cx<'_>, plan: Plan, done: Receipt) -> Result<Events, Fail> {
        let message_id = cx.meta().id;
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
