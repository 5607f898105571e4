//! Sends one text from a template. Its length and its segments are known before it leaves.

use omnibus_runtime::{
    CallError, Cx, Each, Effect, EffectMany, Events, Fail, Found, Meta, One, Policy, Prepared, Returned, Settled,
    WhenUncertain,
};
use omnibus_schemas::texter::{SendTemplate, WaitsAt};
use sqlx::PgConnection;

use crate::draft::{Draft, Plan};
use crate::provider::Receipt;
use crate::send_sms::POLICY;
use crate::{Texter, number, templates};

impl Effect<SendTemplate> for Texter {
    const POLICY: Policy = POLICY;
    const PROVIDER: Option<&'static str> = Some("sms");

    type Plan = Plan;
    type Done = Receipt;

    async fn prepare(&self, cx: &mut Cx<'_>, cmd: SendTemplate) -> Result<Prepared<Plan>, Fail> {
        let message_id = cx.meta().id;
        Ok(self.plan(cx, draft(cmd)?).await?.prepared(message_id))
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

impl EffectMany<SendTemplate> for Texter {
    async fn prepare_many(&self, db: &mut PgConnection, many: Vec<One<'_, SendTemplate>>) -> Each<Prepared<Plan>> {
        let texts = many.into_iter().map(|one| {
            let meta = one.meta();
            draft(one.command).map(|draft| (meta, draft))
        });
        let texts = texts.collect::<Result<Vec<_>, Fail>>()?;
        self.plan_all(db, texts).await
    }

    async fn record_many(&self, db: &mut PgConnection, many: Vec<Returned<'_, Plan, Receipt>>) -> Each<Events> {
        self.took_over_all(db, many).await
    }
}

/// The text that the command wants sent.
fn draft(cmd: SendTemplate) -> Result<Draft, Fail> {
    let number = number::read("/to", &cmd.to, cmd.country.as_deref())
        .map_err(|error| Fail::reject(error.code(), error.to_string()))?;
    let rendered = templates::render(&cmd.template, cmd.locale.as_deref(), &cmd.variables)?;
    Ok(Draft {
        number,
        from: cmd.from,
        body: rendered.body,
        code: None,
        category: cmd.category.unwrap_or(rendered.category),
        template: Some(cmd.template),
        timezone: cmd.timezone,
        send_at: None,
        waits_at: WaitsAt::Here,
    })
}
