//! What became of a text: its row, its books, its events.

use omnibus_runtime::{Cx, Events, Fail, Settled};
use omnibus_schemas::texter::{SmsEncoding, SmsFailed, SmsSent, SmsState, SmsUncertain};
use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::draft::{Plan, encoding};
use crate::ledger::{self, Account};
use crate::provider::Receipt;
use crate::{Texter, consent, status, stops};

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

/// Of a text's row, what [`Sent::read`] reads.
pub(crate) const COLUMNS: &str = "status, revision, provider, provider_id, encoding, estimate_micro, currency, day, country, \
    template, segments, verification_id";

impl Sent {
    pub(crate) fn read(row: &PgRow) -> Result<Self, Fail> {
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
    pub(crate) async fn row(&self, cx: &mut Cx<'_>) -> Result<Sent, Fail> {
        let (tenant, message_id) = (cx.tenant(), cx.meta().id);
        let statement = format!("select {COLUMNS} from texter.messages where tenant = $1 and message_id = $2");
        let row = sqlx::query(sqlx::AssertSqlSafe(statement)).bind(tenant).bind(message_id).fetch_one(cx.db()).await?;
        Sent::read(&row)
    }

    /// Writes down that a provider has it. A callback may have been faster; a person may have given it up. That it was sent
    /// is counted by whoever learns of it first, and `sent_at` says that it was.
    pub(crate) async fn took_over(&self, cx: &mut Cx<'_>, plan: &Plan, done: &Receipt) -> Result<(Sent, Events), Fail> {
        let (tenant, message_id) = (cx.tenant(), cx.meta().id);
        let statement = format!(
            "with row as (
                 update texter.messages m set provider_id = coalesce(m.provider_id, $3), provider = $4, detail = null,
                     status = case when m.status in ('queued', 'uncertain') or m.provider_id is null then $5 else m.status end,
                     sent_at = coalesce(m.sent_at, $6), revision = m.revision + 1
                 from (select status as was, sent_at is null as news, (status = 'failed' and provider_id is null) as given_up
                       from texter.messages where tenant = $1 and message_id = $2 for update) before
                 where m.tenant = $1 and m.message_id = $2
                 returning m.*, before.was, before.news, before.given_up
             ), counted as (
                 insert into texter.deltas (tenant, day, country, what, n)
                 select $1, day, country, 'sent', 1 from row where news
             )
             select {COLUMNS}, was, given_up from row"
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
        let was = status::parse(row.try_get("was")?).map_err(Fail::Retry)?;
        ledger::moved(cx, sent.account.day, &sent.account.country, was, sent.status).await?;
        if row.try_get("given_up")? {
            // It had been given up and its estimate given back; the truth came late. One that failed at its provider,
            // whose callback was faster than its answer, was not: it stands in the books.
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
        ledger::moved(cx, day, &country, was, sent.status).await?;
        if next == "failed" {
            // For what only waited, nothing was booked.
            if was != SmsState::Waiting && (sent.estimate != 0 || sent.account.segments > 0) {
                events = events.join(ledger::book(cx, message_id, &sent.account, "release", -sent.estimate, -1).await?);
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
            let (detail, revision) = (detail.clone(), sent.revision);
            events = events.about(message_id.to_string(), SmsUncertain { message_id, detail, revision });
            return Ok((None, events));
        }
        ledger::count(cx, day, &country, "sent", 1).await?;
        Ok((Some(sent), events))
    }

    /// Moves the row forward, never back: `None` if it stands further on. A text that was refused before it was read
    /// gets its row here. Also says where it stood: that is looked at first, since nobody sees it once the row is written.
    async fn settle_row(&self, cx: &mut Cx<'_>, next: &str, detail: &str) -> Result<Option<(Sent, SmsState)>, Fail> {
        let (tenant, message_id, now) = (cx.tenant(), cx.meta().id, cx.now());
        let statement = format!(
            "with before as (select status as was from texter.messages where tenant = $1 and message_id = $2 for update),
             row as (
                 insert into texter.messages as m (tenant, message_id, recipient, country, sender, provider, status, encoding,
                     segments, likeness, currency, estimate_micro, day, queued_at, detail, sent_at)
                 select $1, $2, '', 'ZZ', '', '', $3, 'GSM-7', 0, '', $4, 0, $5, $6, $7,
                     case when $3 = 'accepted' then $6 end
                 from (select count(*) from before) looked_first
                 on conflict (tenant, message_id) do update
                     set status = excluded.status, detail = excluded.detail, revision = m.revision + 1,
                         sent_at = coalesce(m.sent_at, excluded.sent_at), waits_for = null, waits_until = null,
                         body = case when $3 = 'failed' then null else m.body end
                     where m.status in ('waiting', 'queued', 'uncertain')
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
        let Some(row) = row else { return Ok(None) };
        let was = status::parse(row.try_get("was")?).map_err(Fail::Retry)?;
        Ok(Some((Sent::read(&row)?, was)))
    }
}
