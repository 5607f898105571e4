//! Sends one text, once. What is not known to have left is never sent again by itself.

use std::time::Duration;

use omnibus_runtime::{
    CallError, Cx, Each, Effect, EffectMany, Events, Fail, Found, Meta, One, Policy, Prepared, Returned, Settled,
    WhenUncertain,
};
use omnibus_schemas::texter::SendSms;
use sqlx::PgConnection;

use crate::draft::{Draft, HOLE, Plan};
use crate::provider::Receipt;
use crate::{Texter, number, segments};

/// How hard a text is tried. The time-out stands above the provider's own, which knows how far the call came.
pub(crate) const POLICY: Policy = Policy {
    attempts: 6,
    backoff: Duration::from_secs(1),
    backoff_cap: Duration::from_secs(60),
    timeout: Duration::from_secs(75),
};

impl Effect<SendSms> for Texter {
    const POLICY: Policy = POLICY;
    const PROVIDER: Option<&'static str> = Some("sms");

    type Plan = Plan;
    type Done = Receipt;

    async fn prepare(&self, cx: &mut Cx<'_>, cmd: SendSms) -> Result<Prepared<Plan>, Fail> {
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

impl EffectMany<SendSms> for Texter {
    async fn prepare_many(&self, db: &mut PgConnection, many: Vec<One<'_, SendSms>>) -> Each<Prepared<Plan>> {
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
fn draft(cmd: SendSms) -> Result<Draft, Fail> {
    let number = number::read("/to", &cmd.to, cmd.country.as_deref())
        .map_err(|error| Fail::reject(error.code(), error.to_string()))?;
    let body = if cmd.smart_encoding { segments::smart(&cmd.body) } else { cmd.body };
    if !(1..=1600).contains(&body.chars().count()) {
        return Err(Fail::reject(
            "invalid",
            "/body has no character left, or more than 1600, once it is written plainly",
        ));
    }
    if body.contains('\0') || body.contains(HOLE) {
        return Err(Fail::reject("invalid", "/body holds a character that no telephone shows (U+0000 or U+E000)"));
    }
    Ok(Draft {
        number,
        from: cmd.from,
        body,
        code: None,
        category: cmd.category,
        template: None,
        timezone: cmd.timezone,
        send_at: cmd.send_at,
        waits_at: cmd.waits_at,
    })
}
