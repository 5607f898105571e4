//! The one way out: whatever asked for a text, it passes here. Plans it, lets it leave, writes down what became of it.

use anyhow::Context;
use chrono::{DateTime, Utc};
use omnibus_runtime::{CallError, Cx, Events, Fail, Found, Meta, Settled, WhenUncertain, clock};
use omnibus_schemas::texter::{Category, SmsEncoding, SmsFailed, SmsSent, SmsState, SmsUncertain};
use serde::{Deserialize, Serialize};
use sqlx::Row;
use sqlx::postgres::PgRow;
use std::time::Duration;
use uuid::Uuid;

use crate::gate::{self, Gate, Question};
use crate::ledger::{self, Account};
use crate::number::Number;
use crate::provider::{Provider, Receipt, Text};
use crate::segments::pack;
use crate::{Texter, consent, errors, quiet, status, stops, words};

/// Stands in a text where its code will. A private character: no template and no caller writes it.
pub(crate) const HOLE: char = '\u{e000}';

/// The furthest a text may be put off, days.
const FURTHEST: i64 = 30;

/// A text that somebody wants sent.
pub(crate) struct Draft {
    pub(crate) number: Number,
    pub(crate) from: Option<String>,
    pub(crate) body: String,
    /// The code that belongs where the hole is.
    pub(crate) code: Option<Code>,
    pub(crate) category: Category,
    pub(crate) template: Option<String>,
    pub(crate) timezone: Option<String>,
    pub(crate) send_at: Option<DateTime<Utc>>,
}

/// Which code stands in a text. The code itself is worked out when the text leaves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Code {
    pub(crate) verification_id: Uuid,
    pub(crate) digits: u32,
    pub(crate) purpose: String,
    pub(crate) expires_at: DateTime<Utc>,
}

/// Exactly what is about to leave; a code stands in it as a hole.
#[derive(Clone, Serialize, Deserialize)]
pub struct Plan {
    provider: String,
    to: String,
    from: String,
    body: String,
    pub(crate) code: Option<Code>,
    /// When this attempt began, by our clock: what the provider took over later may be it.
    since: DateTime<Utc>,
    /// The provider's ids of texts like this one, which it is not.
    others: Vec<String>,
    /// Of another text like this one nobody knows whether it left.
    other_uncertain: bool,
    /// Its budget is nearly spent.
    low: bool,
    /// It tries a provider that was left alone.
    probes: bool,
    account: Account,
    encoding: SmsEncoding,
    estimate: i64,
    category: Category,
    timezone: Option<String>,
}

/// A text is not for logs: neither its number nor its words.
impl std::fmt::Debug for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plan").field("provider", &self.provider).field("account", &self.account).finish_non_exhaustive()
    }
}

/// What a text needs next.
pub(crate) enum Step {
    /// It is to leave.
    Go(Box<Plan>, Events),
    /// A provider has it already.
    Done(Sent),
}

/// A text that a provider has, as its row tells it.
pub(crate) struct Sent {
    status: SmsState,
    revision: u32,
    provider_id: String,
    encoding: SmsEncoding,
    estimate: i64,
    account: Account,
    verification_id: Option<Uuid>,
}

fn encoding_word(encoding: SmsEncoding) -> &'static str {
    match encoding {
        SmsEncoding::Gsm7 => "GSM-7",
        SmsEncoding::Ucs2 => "UCS-2",
    }
}

fn category_word(category: Category) -> &'static str {
    match category {
        Category::Marketing => "marketing",
        Category::Transactional => "transactional",
        Category::Urgent => "urgent",
    }
}

/// The reverse of [`category_word`].
pub(crate) fn category(word: &str) -> Category {
    match word {
        "marketing" => Category::Marketing,
        "urgent" => Category::Urgent,
        _ => Category::Transactional,
    }
}

/// The reverse of [`encoding_word`].
pub(crate) fn encoding(word: &str) -> SmsEncoding {
    if word == "GSM-7" { SmsEncoding::Gsm7 } else { SmsEncoding::Ucs2 }
}

const COLUMNS: &str = "status, revision, provider, provider_id, encoding, estimate_micro, currency, day, country, \
    template, segments, verification_id";

impl Sent {
    fn read(row: &PgRow) -> Result<Self, Fail> {
        Ok(Sent {
            status: status::parse(row.try_get("status")?).map_err(Fail::Retry)?,
            revision: row.try_get::<i32, _>("revision")?.unsigned_abs(),
            provider_id: row.try_get::<Option<String>, _>("provider_id")?.unwrap_or_default(),
            encoding: encoding(row.try_get("encoding")?),
            estimate: row.try_get("estimate_micro")?,
            account: Account {
                day: row.try_get("day")?,
                country: row.try_get("country")?,
                template: row.try_get("template")?,
                provider: row.try_get("provider")?,
                currency: row.try_get("currency")?,
                segments: row.try_get("segments")?,
            },
            verification_id: row.try_get("verification_id")?,
        })
    }

    /// The event that tells of it.
    pub(crate) fn event(&self, message_id: Uuid) -> Events {
        let sent = SmsSent {
            message_id,
            provider: self.account.provider.clone(),
            provider_id: self.provider_id.clone(),
            status: self.status,
            encoding: self.encoding,
            segments: self.account.segments.unsigned_abs(),
            country: self.account.country.clone(),
            template: Some(self.account.template.clone()).filter(|name| !name.is_empty()),
            estimate_micro: self.estimate,
            currency: self.account.currency.clone(),
            revision: self.revision,
        };
        Events::none().about(message_id.to_string(), sent)
    }

    pub(crate) fn verification(&self) -> Option<Uuid> {
        self.verification_id
    }

    pub(crate) fn country(&self) -> &str {
        &self.account.country
    }

    pub(crate) fn provider(&self) -> &str {
        &self.account.provider
    }
}

impl Texter {
    /// Decides whether a text may leave, and by which way. Writes its row and its estimate.
    pub(crate) async fn plan(&self, cx: &mut Cx<'_>, draft: Draft) -> Result<Step, Fail> {
        // The wall clock, not the command's: this is about when the text leaves, and a replay leaves at another time.
        let since = clock::now();
        if let Some(at) = draft.send_at {
            if at > cx.now() + chrono::Duration::days(FURTHEST) {
                return Err(Fail::reject("invalid", format!("/send_at lies more than {FURTHEST} days ahead")));
            }
            if let Ok(wait) = (at - since).to_std() {
                return Err(Fail::Snooze(wait.max(Duration::from_millis(1))));
            }
        }
        let words = self.words(cx.tenant(), &draft.body, draft.code.as_ref());
        let packing = pack(&words);
        let likeness = self.secret.likeness(&draft.number.e164, &words);
        drop(words);
        let question = Question {
            recipient: &draft.number.e164,
            country: &draft.number.country,
            // The day on which it leaves: what was accepted long ago is paid for now.
            day: since.date_naive(),
            likeness: &likeness,
            marketing: draft.category == Category::Marketing,
        };
        let gate = gate::read(cx, &self.caps, &question).await?;
        if let Some(before) = &gate.before
            && !matches!(before.status.as_str(), "queued" | "uncertain")
        {
            return Ok(Step::Done(self.row(cx).await?));
        }
        let (provider, from) = self.way(&gate, &draft)?;
        let probes = gate.paused.iter().any(|paused| paused == provider.name());
        if probes && !stops::may_probe(cx, provider.name()).await? {
            return Err(Fail::Snooze(stops::LOOK_AGAIN));
        }
        self.may_leave(&gate, &draft, &from, since)?;
        let segments = i32::try_from(packing.segments)?;
        let price = provider.price(&draft.number.country).unwrap_or_default();
        let plan = Plan {
            provider: provider.name().to_owned(),
            to: draft.number.e164.clone(),
            from,
            body: draft.body,
            code: draft.code,
            since,
            others: gate.others.clone(),
            other_uncertain: gate.other_uncertain,
            low: gate.all.is_low(price) || gate.country.is_low(price),
            probes,
            account: Account {
                day: gate.before.as_ref().map_or(question.day, |before| before.day),
                country: draft.number.country.clone(),
                template: draft.template.unwrap_or_default(),
                provider: provider.name().to_owned(),
                currency: self.currency.clone(),
                segments,
            },
            encoding: packing.encoding,
            estimate: price * i64::from(segments),
            category: draft.category,
            timezone: draft.timezone,
        };
        self.write(cx, plan, gate, &likeness).await
    }

    /// Opt-outs, quiet hours, fuses.
    fn may_leave(&self, gate: &Gate, draft: &Draft, from: &str, now: DateTime<Utc>) -> Result<(), Fail> {
        let out = gate.opted_out.iter().any(|sender| sender.is_empty() || sender == from);
        if out && !words::is_farewell(&draft.body) {
            return Err(Fail::reject("opted_out", "the recipient has opted out; nothing was sent"));
        }
        for (purse, whose) in [(&gate.all, "all countries"), (&gate.country, draft.number.country.as_str())] {
            // A later try of what is booked already spends nothing more.
            if gate.before.is_none() && purse.is_shut() {
                let detail = format!(
                    "today's budget for {whose} is spent ({} of {} millionths of {}); nothing was sent. \
                     Put the fuse in again with POST /api/v1/sms/fuse/reset",
                    purse.spent, purse.cap, self.currency
                );
                return Err(Fail::reject("spend_fuse", detail));
            }
        }
        let waits = draft.code.is_none() && draft.category != Category::Urgent;
        if let Some(hours) = gate.quiet.as_ref().filter(|_| waits) {
            let named = draft.timezone.as_deref().map(|name| {
                let zone = name.parse::<chrono_tz::Tz>();
                zone.map_err(|_| Fail::reject("invalid", "/timezone is not an IANA zone such as Europe/Berlin"))
            });
            let zone = named.transpose()?.or_else(|| quiet::zone_of(&draft.number.country));
            let zone = zone.or_else(|| hours.timezone.parse().ok()).unwrap_or(chrono_tz::UTC);
            if let Some(until) = hours.until(now, zone) {
                return Err(Fail::Snooze((until - now).to_std().unwrap_or(Duration::from_secs(1))));
            }
        }
        Ok(())
    }

    /// The cheapest provider that may be used; after a try that failed, the next one.
    fn way(&self, gate: &Gate, draft: &Draft) -> Result<(&dyn Provider, String), Fail> {
        let mut fit = Vec::new();
        for provider in &self.providers {
            let from = match &draft.from {
                None => provider.senders().first(),
                Some(wanted) => provider.senders().iter().find(|sender| *sender == wanted),
            };
            if let (Some(from), Some(price)) = (from, provider.price(&draft.number.country)) {
                fit.push((price, provider.as_ref(), from));
            }
        }
        if fit.is_empty() {
            let country = &draft.number.country;
            return Err(match draft.from {
                Some(_) => {
                    Fail::reject("sender_not_allowed", format!("/from is no sender to {country} of this texter"))
                }
                None => Fail::reject("no_route", format!("nothing is sent to {country}: it has no price (SMS_PRICES)")),
            });
        }
        // Stable: at one price, in the order of the settings.
        fit.sort_by_key(|(price, ..)| *price);
        fit.retain(|(_, provider, _)| !gate.stopped.iter().any(|stopped| stopped == provider.name()));
        if fit.is_empty() {
            let waits = draft.code.is_none();
            return Err(match waits {
                true => Fail::Snooze(stops::LOOK_AGAIN),
                false => Fail::reject("provider_stopped", "every provider is stopped; a code does not wait for one"),
            });
        }
        let last = gate.before.as_ref().and_then(|b| fit.iter().position(|(_, p, _)| p.name() == b.provider));
        let (_, provider, from) = fit[last.map_or(0, |last| (last + 1) % fit.len())];
        Ok((provider, from.clone()))
    }

    async fn write(&self, cx: &mut Cx<'_>, plan: Plan, mut gate: Gate, likeness: &[u8]) -> Result<Step, Fail> {
        let (tenant, message_id, now) = (cx.tenant(), cx.meta().id, cx.now());
        if gate.before.is_some() {
            // Another provider's price is booked when it has taken the text.
            sqlx::query(
                "update texter.messages set provider = $3, sender = $4, tries = tries + 1
                 where tenant = $1 and message_id = $2",
            )
            .bind(tenant)
            .bind(message_id)
            .bind(&plan.provider)
            .bind(&plan.from)
            .execute(cx.db())
            .await?;
            return Ok(Step::Go(Box::new(plan), Events::none()));
        }
        let (account, body) = (&plan.account, Some(&plan.body).filter(|_| plan.code.is_none()));
        let written = sqlx::query(
            "with row as (
                 insert into texter.messages (tenant, message_id, recipient, country, sender, provider, status, encoding,
                     segments, template, body, likeness, verification_id, currency, estimate_micro, day, queued_at,
                     category, timezone)
                 values ($1, $2, $3, $4, $5, $6, 'queued', $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)
                 on conflict do nothing returning 1
             ), line as (
                 insert into texter.ledger (tenant, message_id, number, kind, amount_micro, currency, messages, segments,
                                            day, country, template, provider, booked_at)
                 select $1, $2, 1, 'estimate', $14, $13, 1, $8, $15, $4, $9, $6, $16 from row
             )
             insert into texter.deltas (tenant, day, country, what, n) select $1, $15, $4, 'spend', $14 from row",
        )
        .bind(tenant)
        .bind(message_id)
        .bind(&plan.to)
        .bind(&account.country)
        .bind(&plan.from)
        .bind(&plan.provider)
        .bind(encoding_word(plan.encoding))
        .bind(account.segments)
        .bind(&account.template)
        .bind(body)
        .bind(likeness)
        .bind(plan.code.as_ref().map(|code| code.verification_id))
        .bind(&account.currency)
        .bind(plan.estimate)
        .bind(account.day)
        .bind(now)
        .bind(category_word(plan.category))
        .bind(&plan.timezone)
        .execute(cx.db())
        .await?;
        if written.rows_affected() == 0 {
            // The same words to the same recipient are on their way: told apart afterwards, they couldn't be.
            return Err(Fail::Snooze(Duration::from_secs(1)));
        }
        let mut events = account.booked(message_id, "estimate", plan.estimate);
        for (purse, country) in [(&mut gate.all, ""), (&mut gate.country, account.country.as_str())] {
            purse.spent += plan.estimate;
            events = events.join(ledger::blow(cx, account.day, country, *purse, &account.currency).await?);
        }
        Ok(Step::Go(Box::new(plan), events))
    }

    /// The very words, with the code where the hole is.
    fn words(&self, tenant: &str, body: &str, code: Option<&Code>) -> String {
        match code {
            Some(code) => {
                let digits = self.secret.code(tenant, code.verification_id, code.digits);
                body.replace(HOLE, &digits)
            }
            None => body.to_owned(),
        }
    }

    fn provider(&self, name: &str) -> anyhow::Result<&dyn Provider> {
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
            since: plan.since,
            others: &plan.others,
        }
    }

    /// The call.
    pub(crate) async fn leave(&self, meta: &Meta, plan: &Plan) -> Result<Receipt, CallError> {
        let provider = self.provider(&plan.provider).map_err(CallError::NotDone)?;
        let body = self.words(&meta.tenant, &plan.body, plan.code.as_ref());
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
        let body = self.words(&meta.tenant, &plan.body, plan.code.as_ref());
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

    async fn row(&self, cx: &mut Cx<'_>) -> Result<Sent, Fail> {
        let (tenant, message_id) = (cx.tenant(), cx.meta().id);
        let statement = format!("select {COLUMNS} from texter.messages where tenant = $1 and message_id = $2");
        let row = sqlx::query(sqlx::AssertSqlSafe(statement)).bind(tenant).bind(message_id).fetch_one(cx.db()).await?;
        Sent::read(&row)
    }

    /// Writes down that a provider has it. A callback may have been faster; a person may have given it up.
    pub(crate) async fn took_over(&self, cx: &mut Cx<'_>, plan: &Plan, done: &Receipt) -> Result<(Sent, Events), Fail> {
        let (tenant, message_id) = (cx.tenant(), cx.meta().id);
        let statement = format!(
            "with row as (
                 update texter.messages m set provider_id = coalesce(m.provider_id, $3), provider = $4, detail = null,
                     status = case when m.status in ('queued', 'uncertain') or m.provider_id is null then $5 else m.status end,
                     sent_at = coalesce(m.sent_at, $6), revision = m.revision + 1
                 from (select status as was from texter.messages where tenant = $1 and message_id = $2 for update) before
                 where m.tenant = $1 and m.message_id = $2
                 returning m.*, before.was
             ), counted as (
                 insert into texter.deltas (tenant, day, country, what, n)
                 select $1, day, country, 'sent', 1 from row
                 union all
                 select $1, day, country, was, -1 from row where was in ('failed', 'uncertain')
             )
             select {COLUMNS}, was from row"
        );
        let row = sqlx::query(sqlx::AssertSqlSafe(statement))
            .bind(tenant)
            .bind(message_id)
            .bind(&done.provider_id)
            .bind(&plan.provider)
            .bind(status::word(done.status))
            .bind(done.at)
            .fetch_one(cx.db())
            .await?;
        let mut sent = Sent::read(&row)?;
        let mut events = Events::none();
        if row.try_get::<String, _>("was")? == "failed" {
            // It had been given up and its estimate given back; the truth came late.
            let booked = ledger::book(cx, message_id, &sent.account, "difference", sent.estimate, 1).await?;
            events = events.join(booked);
        }
        if plan.estimate != sent.estimate {
            let difference = plan.estimate - sent.estimate;
            events = events.join(ledger::book(cx, message_id, &sent.account, "difference", difference, 0).await?);
            sqlx::query("update texter.messages set estimate_micro = $3 where tenant = $1 and message_id = $2")
                .bind(tenant)
                .bind(message_id)
                .bind(plan.estimate)
                .execute(cx.db())
                .await?;
            sent.estimate = plan.estimate;
        }
        if let Some(price) = done.price_micro {
            events = events.join(self.billed(cx, message_id, &sent.account, sent.estimate, price).await?);
        }
        if plan.probes {
            stops::lift(cx, &plan.provider).await?;
        }
        if plan.low {
            let (day, country) = (plan.account.day, plan.account.country.clone());
            events = events.join(ledger::watch(cx, &self.caps, day, &country, &plan.account.currency).await?);
        }
        Ok((sent, events))
    }

    /// Books what the provider has billed against the estimate, once.
    pub(crate) async fn billed(
        &self,
        cx: &mut Cx<'_>,
        message_id: Uuid,
        account: &Account,
        estimate: i64,
        price: i64,
    ) -> Result<Events, Fail> {
        let tenant = cx.tenant();
        let known = sqlx::query(
            "update texter.messages set actual_micro = $3, revision = revision + 1
             where tenant = $1 and message_id = $2 and actual_micro is null",
        )
        .bind(tenant)
        .bind(message_id)
        .bind(price)
        .execute(cx.db())
        .await?;
        if known.rows_affected() == 0 || price == estimate {
            return Ok(Events::none());
        }
        let booked = ledger::book(cx, message_id, account, "difference", price - estimate, 0).await?;
        let told = ledger::watch(cx, &self.caps, account.day, &account.country, &account.currency).await?;
        Ok(booked.join(told))
    }

    /// Brings the row into line with any other end.
    pub(crate) async fn settled(
        &self,
        cx: &mut Cx<'_>,
        plan: Option<Plan>,
        how: &Settled,
    ) -> Result<(Option<Sent>, Events), Fail> {
        let message_id = cx.meta().id;
        let (next, code, detail) = match how {
            Settled::Refused { code, detail } => ("failed", *code, detail),
            Settled::GaveUp { detail } => ("failed", "gave_up", detail),
            Settled::Dropped { note } => ("failed", "dropped", note),
            Settled::Uncertain { detail } => ("uncertain", "", detail),
            Settled::Vouched { note } => ("accepted", "", note),
        };
        let Some((sent, was)) = self.settle_row(cx, next, detail).await? else {
            // The row stands further on, and that was told when it got there.
            return Ok((None, Events::none()));
        };
        let (day, country) = (sent.account.day, sent.account.country.clone());
        let mut events = Events::none();
        if next == "failed" {
            if sent.estimate != 0 || sent.account.segments > 0 {
                events = events.join(ledger::book(cx, message_id, &sent.account, "release", -sent.estimate, -1).await?);
            }
            ledger::count(cx, day, &country, "failed", 1).await?;
            if was == "uncertain" {
                ledger::count(cx, day, &country, "uncertain", -1).await?;
            }
            if let (Some(plan), "opted_out") = (&plan, code) {
                let out = consent::Change::refused_by_provider(&plan.to, &plan.from);
                events = events.join(consent::opt_out(cx, out).await?);
            }
            let code = if matches!(how, Settled::Refused { .. }) { "refused" } else { code };
            let (code, detail, revision) = (code.to_owned(), detail.clone(), sent.revision);
            events = events.about(message_id.to_string(), SmsFailed { message_id, code, detail, revision });
            return Ok((None, events));
        }
        if next == "uncertain" {
            ledger::count(cx, day, &country, "uncertain", 1).await?;
            let (detail, revision) = (detail.clone(), sent.revision);
            events = events.about(message_id.to_string(), SmsUncertain { message_id, detail, revision });
            return Ok((None, events));
        }
        ledger::count(cx, day, &country, "sent", 1).await?;
        ledger::count(cx, day, &country, "uncertain", -1).await?;
        Ok((Some(sent), events))
    }

    /// Moves the row forward, never back: `None` if it stands further on. A text that was refused before it was read
    /// gets its row here. Also says where it stood.
    async fn settle_row(&self, cx: &mut Cx<'_>, next: &str, detail: &str) -> Result<Option<(Sent, String)>, Fail> {
        let (tenant, message_id, now) = (cx.tenant(), cx.meta().id, cx.now());
        let statement = format!(
            "with before as (select status as was from texter.messages where tenant = $1 and message_id = $2 for update),
             row as (
                 insert into texter.messages as m (tenant, message_id, recipient, country, sender, provider, status, encoding,
                     segments, likeness, currency, estimate_micro, day, queued_at, detail)
                 values ($1, $2, '', 'ZZ', '', '', $3, 'GSM-7', 0, '', $4, 0, $5, $6, $7)
                 on conflict (tenant, message_id) do update
                     set status = excluded.status, detail = excluded.detail, revision = m.revision + 1,
                         body = case when $3 = 'failed' then null else m.body end
                     where m.status in ('queued', 'uncertain')
                 returning *
             )
             select {COLUMNS}, coalesce((select was from before), 'queued') as was from row"
        );
        let row = sqlx::query(sqlx::AssertSqlSafe(statement))
            .bind(tenant)
            .bind(message_id)
            .bind(next)
            .bind(&self.currency)
            .bind(now.date_naive())
            .bind(now)
            .bind(detail)
            .fetch_optional(cx.db())
            .await?;
        row.map(|row| Ok((Sent::read(&row)?, row.try_get("was")?))).transpose()
    }
}
