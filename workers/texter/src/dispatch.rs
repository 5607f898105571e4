//! The one way out: whatever asked for a text, it passes here. Plans it, and lets it leave.

use anyhow::Context;
use chrono::{DateTime, Utc};
use omnibus_runtime::{CallError, Cx, Events, Fail, Found, Meta, WhenUncertain, clock};
use omnibus_schemas::texter::{Category, WaitsAt, WaitsFor};
use std::time::Duration;
use uuid::Uuid;

use crate::draft::{Code, Draft, HOLE, Plan, Step};
use crate::gate::{self, Gate, Like, Others, Question};
use crate::ledger::{self, Account};
use crate::provider::{Provider, Receipt, Text};
use crate::queue::{self, Row};
use crate::segments::{Packing, pack};
use crate::waiting::{self, Not};
use crate::{Texter, errors, replies, stops};

/// The furthest a text may be put off, days.
const FURTHEST: i64 = 30;
/// What is handed over to wait at its provider waits there for this long at least, minutes.
const SHORTEST_HELD_THERE: i64 = 15;

/// A text as it was weighed before anything was looked up for it.
pub(crate) struct Weighed {
    /// When this attempt began.
    since: DateTime<Utc>,
    /// Is it to wait for its time at its provider?
    hand_over: bool,
    packing: Packing,
    pub(crate) likeness: Vec<u8>,
}

impl Weighed {
    /// What is asked about the text.
    pub(crate) fn question<'a>(meta: &'a Meta, draft: &'a Draft) -> Question<'a> {
        Question {
            tenant: &meta.tenant,
            message_id: meta.id,
            recipient: &draft.number.e164,
            country: &draft.number.country,
            marketing: draft.category == Category::Marketing,
        }
    }
}

/// The way by which a text leaves, now.
pub(crate) struct Leaving<'a> {
    provider: &'a dyn Provider,
    from: String,
    /// When the provider is to send it; at once if absent.
    send_at: Option<DateTime<Utc>>,
    /// It tries one that was left alone.
    probes: bool,
    /// Of a segment.
    price: i64,
}

impl Leaving<'_> {
    /// What the text will cost, as far as that is known beforehand.
    pub(crate) fn estimate(&self, weighed: &Weighed) -> i64 {
        self.price * i64::from(weighed.packing.segments)
    }
}

impl Texter {
    /// Decides whether a text may leave, and by which way. Writes its row and its estimate.
    pub(crate) async fn plan(&self, cx: &mut Cx<'_>, draft: Draft) -> Result<Step, Fail> {
        // The wall clock, not the command's: this is about when the text leaves, and a replay leaves at another time.
        let since = clock::now();
        let weighed = self.weigh(cx.meta(), &draft, since)?;
        let question = Weighed::question(cx.meta(), &draft);
        // Asked about the day on which it leaves: what was accepted long ago is paid for now.
        let gate = gate::read(cx.db(), &self.caps, since.date_naive(), question).await?;
        match gate.before.as_ref().map(|before| before.status.as_str()) {
            None | Some("queued" | "uncertain") => {}
            Some("canceled") => return Err(Fail::reject("canceled", "the text was taken back; nothing was sent")),
            Some(_) => return Ok(Step::Done(self.row(cx).await?)),
        }
        let leaving = match self.leaves(cx, &gate, &draft, &weighed).await {
            Ok(leaving) => leaving,
            Err(Not::Ever(fail)) => return Err(fail),
            // It stands in the books already, and may have been out.
            Err(Not::Now(_, until)) if gate.before.is_some() => return Err(Fail::Snooze(waiting::pause(until))),
            Err(Not::Now(waits_for, until)) => return self.wait(cx, &draft, weighed.packing, waits_for, until).await,
        };
        let plan = self.planned(draft, &gate, &weighed, leaving)?;
        self.write(cx, plan, gate, &weighed.likeness).await
    }

    /// What can be said of a text without asking the database.
    pub(crate) fn weigh(&self, meta: &Meta, draft: &Draft, since: DateTime<Utc>) -> Result<Weighed, Fail> {
        // What has been held up until its time is too near for its provider waits the rest of it here.
        let shortest = since + chrono::Duration::minutes(SHORTEST_HELD_THERE);
        let hand_over = held_there(draft, meta.time)? && draft.send_at.is_some_and(|at| at >= shortest);
        draft.zone()?;
        let words = self.words(&meta.tenant, &draft.number.e164, &draft.body, draft.code.as_ref())?;
        let likeness = self.secret.likeness(&draft.number.e164, &words);
        Ok(Weighed { since, hand_over, packing: pack(&words), likeness })
    }

    /// Exactly what is about to leave.
    pub(crate) fn planned(
        &self,
        draft: Draft,
        gate: &Gate,
        weighed: &Weighed,
        leaving: Leaving<'_>,
    ) -> Result<Plan, Fail> {
        let estimate = leaving.estimate(weighed);
        let Leaving { provider, from, send_at, probes, .. } = leaving;
        Ok(Plan {
            provider: provider.name().to_owned(),
            to: draft.number.e164,
            from,
            body: draft.body,
            code: draft.code,
            since: weighed.since,
            others: vec![],
            other_uncertain: false,
            low: gate.all.is_low(estimate) || gate.country.is_low(estimate),
            probes,
            account: Account {
                day: gate.before.as_ref().map_or(weighed.since.date_naive(), |before| before.day),
                country: draft.number.country,
                template: draft.template.unwrap_or_default(),
                provider: provider.name().to_owned(),
                currency: self.currency.clone(),
                segments: i32::try_from(weighed.packing.segments)?,
            },
            encoding: weighed.packing.encoding,
            estimate,
            category: draft.category,
            timezone: draft.timezone,
            send_at,
            retry_of: None,
        })
    }

    /// The way it leaves by, now.
    pub(crate) async fn leaves(
        &self,
        cx: &mut Cx<'_>,
        gate: &Gate,
        draft: &Draft,
        weighed: &Weighed,
    ) -> Result<Leaving<'_>, Not> {
        let (now, hand_over) = (weighed.since, weighed.hand_over);
        let way = self.way(gate, draft, hand_over);
        // What can never leave is said at once, and not when its time has come.
        if let (Some(at), false, Ok(_) | Err(Not::Now(..))) = (draft.send_at.filter(|at| *at > now), hand_over, &way) {
            return Err(Not::Now(WaitsFor::SendAt, at));
        }
        let (provider, from) = way?;
        let mut send_at = draft.send_at.filter(|_| hand_over);
        if let Some(at) = send_at {
            send_at = Some(self.quiet_until(gate, draft, at)?.unwrap_or(at));
        }
        let out = gate.opted_out.iter().any(|sender| sender.is_empty() || *sender == from);
        if out && !replies::is_farewell(cx, &draft.number.e164, &draft.body).await? {
            return Err(Fail::reject("opted_out", "the recipient has opted out; nothing was sent").into());
        }
        self.may_leave(gate, draft, cx.now(), send_at.unwrap_or(now))?;
        let probes = gate.paused.iter().any(|paused| paused == provider.name());
        if probes && !stops::may_probe(cx, provider.name()).await? {
            return Err(self.left_alone(draft));
        }
        let price = provider.price(&draft.number.country).unwrap_or_default();
        Ok(Leaving { provider, from, send_at, probes, price })
    }

    async fn write(&self, cx: &mut Cx<'_>, mut plan: Plan, mut gate: Gate, likeness: &[u8]) -> Result<Step, Fail> {
        let (tenant, message_id, now) = (cx.tenant(), cx.meta().id, cx.now());
        if gate.before.is_some() {
            // Another provider's price is booked when it has taken the text. The words of a code change from try to try:
            // they say for how long it is good.
            let again = sqlx::query(
                "update texter.messages m set provider = $3, sender = $4, likeness = $5, tries = tries + 1
                 where tenant = $1 and message_id = $2 and not exists (
                     select 1 from texter.messages o
                     where o.recipient = m.recipient and o.likeness = $5 and o.status = 'queued' and o.provider_id is null
                       and (o.tenant, o.message_id) <> (m.tenant, m.message_id))",
            )
            .bind(tenant)
            .bind(message_id)
            .bind(&plan.provider)
            .bind(&plan.from)
            .bind(likeness)
            .execute(cx.db())
            .await?;
            if again.rows_affected() == 0 {
                return Err(Fail::Snooze(Duration::from_secs(1)));
            }
            (plan.others, plan.other_uncertain) = others(cx, &plan.to, likeness).await?;
            return Ok(Step::Go(Box::new(plan), Events::none()));
        }
        if gate.waits {
            // It leaves now. If somebody takes it back at this moment, the row stays, and no other can be written.
            sqlx::query("delete from texter.messages where tenant = $1 and message_id = $2 and status = 'waiting'")
                .bind(tenant)
                .bind(message_id)
                .execute(cx.db())
                .await?;
        }
        let row = Row { tenant, message_id, queued_at: now, plan: &plan, likeness };
        if !queue::write(cx.db(), &[row]).await? {
            // The same words to the same recipient are on their way: told apart afterwards, they couldn't be.
            return Err(Fail::Snooze(Duration::from_secs(1)));
        }
        (plan.others, plan.other_uncertain) = others(cx, &plan.to, likeness).await?;
        let account = &plan.account;
        let mut events = account.booked(message_id, "estimate", plan.estimate);
        for (purse, country) in [(&mut gate.all, ""), (&mut gate.country, account.country.as_str())] {
            purse.spent += plan.estimate;
            events = events.join(ledger::blow(cx, account.day, country, *purse, &account.currency).await?);
        }
        Ok(Step::Go(Box::new(plan), events))
    }

    /// The very words, with the code where the hole is.
    fn words(&self, tenant: &str, recipient: &str, body: &str, code: Option<&Code>) -> Result<String, Fail> {
        let Some(code) = code else { return Ok(body.to_owned()) };
        let digits = self.secret.open_code(&code.bound(tenant, recipient), &code.sealed);
        // Another SMS_SECRET than the one it was sealed with.
        let digits = digits.ok_or_else(|| Fail::Retry(anyhow::anyhow!("the code can't be opened")))?;
        Ok(body.replace(HOLE, &digits))
    }

    pub(crate) fn provider(&self, name: &str) -> anyhow::Result<&dyn Provider> {
        let found = self.providers.iter().find(|provider| provider.name() == name);
        found.map(AsRef::as_ref).with_context(|| format!("the settings name no provider {name} any more"))
    }

    /// Where a provider is to tell what becomes of a text.
    fn callback(&self, tenant: &str, message_id: Uuid) -> Option<String> {
        let url = self.public_url.as_ref()?;
        Some(format!("{url}/webhooks/twilio/status?tenant={tenant}&message={message_id}"))
    }

    fn text<'a>(meta: &'a Meta, plan: &'a Plan, body: &'a str, callback: Option<&'a str>) -> Text<'a> {
        Text {
            message_id: meta.id,
            tenant: &meta.tenant,
            to: &plan.to,
            from: &plan.from,
            body,
            callback,
            send_at: plan.send_at,
            since: plan.since,
            others: &plan.others,
        }
    }

    /// The call.
    pub(crate) async fn leave(&self, meta: &Meta, plan: &Plan) -> Result<Receipt, CallError> {
        let provider = self.provider(&plan.provider).map_err(CallError::NotDone)?;
        let words = self.words(&meta.tenant, &plan.to, &plan.body, plan.code.as_ref());
        let body = words.map_err(|_| CallError::NotDone(anyhow::anyhow!("the code can't be opened")))?;
        let callback = self.callback(&meta.tenant, meta.id);
        let sent = provider.send(Self::text(meta, plan, &body, callback.as_deref())).await;
        match sent {
            // Nothing is wrong with this text: it waits until the provider is used again.
            Err(CallError::Refused { code, detail }) if let Some(error) = errors::stopping(code) => {
                self.troubles.meet(&meta.tenant, provider.name(), error);
                Err(CallError::NotDone(anyhow::anyhow!(detail)))
            }
            sent => sent,
        }
    }

    /// Asks the provider whether it has it. What it does not list is given time to arrive: a call that timed out here
    /// may be under way still.
    pub(crate) async fn look_up(&self, meta: &Meta, plan: &Plan) -> Result<Found<Receipt>, Fail> {
        // One that the settings name no more can't be asked.
        let Ok(provider) = self.provider(&plan.provider) else { return Ok(Found::CannotTell) };
        let body = self.words(&meta.tenant, &plan.to, &plan.body, plan.code.as_ref())?;
        let found = provider.find(Self::text(meta, plan, &body, None)).await.map_err(Fail::Retry)?;
        match found {
            Found::Done(_) if plan.other_uncertain => Ok(Found::CannotTell),
            Found::NotDone => match (plan.since + self.settle - clock::now()).to_std() {
                Ok(wait) => Err(Fail::Snooze(wait.max(Duration::from_millis(1)))),
                Err(_) => Ok(Found::NotDone),
            },
            found => Ok(found),
        }
    }

    /// What must not repeat is held.
    pub(crate) fn unknown(&self) -> WhenUncertain {
        WhenUncertain::Hold
    }
}

/// Texts like this one, whose row is written.
async fn others(cx: &mut Cx<'_>, recipient: &str, likeness: &[u8]) -> Result<Others, Fail> {
    let (tenant, message_id) = (cx.tenant(), cx.meta().id);
    gate::others(cx.db(), Like { tenant, message_id, recipient, likeness }).await
}

/// Is it to wait for its time at its provider? Only what can be kept there is let through.
fn held_there(draft: &Draft, asked: DateTime<Utc>) -> Result<bool, Fail> {
    let Some(at) = draft.send_at else {
        return match draft.waits_at {
            WaitsAt::Here => Ok(false),
            WaitsAt::Provider => Err(Fail::reject("invalid", "/waits_at needs a /send_at to wait for")),
        };
    };
    if at > asked + chrono::Duration::days(FURTHEST) {
        return Err(Fail::reject("invalid", format!("/send_at lies more than {FURTHEST} days ahead")));
    }
    if draft.waits_at == WaitsAt::Here {
        return Ok(false);
    }
    if at < asked + chrono::Duration::minutes(SHORTEST_HELD_THERE) {
        let detail =
            format!("/send_at must lie {SHORTEST_HELD_THERE} minutes ahead or more for /waits_at to be the provider");
        return Err(Fail::reject("invalid", detail));
    }
    Ok(true)
}
