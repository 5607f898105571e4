//! What a provider says of a text afterwards. It comes late, twice and out of order; the furthest status stands.

use chrono::Duration;
use omnibus_runtime::{Cx, Each, Events, Fail, HandleMany, One};
use omnibus_schemas::texter::{CheckMessage, NoteStatus, RetrySms, SmsState, SmsStatusChanged};
use sqlx::{PgConnection, Row};
use uuid::Uuid;

use crate::check_message::account;
use crate::errors::{self, Verdict};
use crate::provider::{Word, state_of};
use crate::{Texter, consent, ledger, locks, status, stops};

/// A price is there some time after the end is.
const PRICE_AFTER_SECONDS: i64 = 20;
/// A text that could not be delivered for now is sent again after so long, and not more often than this.
const RETRY_AFTER_SECONDS: i64 = 120;
const MOST_TRIES: u8 = 2;

impl HandleMany<NoteStatus> for Texter {
    async fn handle_many(&self, db: &mut PgConnection, many: Vec<One<'_, NoteStatus>>) -> Each<Events> {
        locks::take(db, many.iter().map(|one| (one.tenant(), one.command.message_id)).collect()).await?;
        let mut answers = Vec::with_capacity(many.len());
        for one in many {
            let mut cx = Cx::new(one.meta(), &mut *db);
            match self.note(&mut cx, one.command).await {
                // Nothing more is to be had of this transaction.
                Err(fail @ Fail::Retry(_)) => return Err(fail),
                answer => answers.push(answer),
            }
        }
        Ok(answers)
    }
}

impl Texter {
    async fn note(&self, cx: &mut Cx<'_>, cmd: NoteStatus) -> Result<Events, Fail> {
        let error = cmd.error_code.map(|code| code.to_string()).unwrap_or_default();
        let message = cmd.message_id.to_string();
        let parts = ["status", cx.tenant(), &message, &cmd.provider_id, &cmd.status, &error];
        if !self.secret.is_proof(&parts, &cmd.proof) {
            return Err(Fail::reject("forged", "only the texter's webhook writes this command"));
        }
        // A status of a message that came in, or one that is not known yet, changes nothing.
        let Some(state) = state_of(&cmd.status) else { return Ok(Events::none()) };
        let word = Word { status: state, error_code: cmd.error_code, price: None };
        self.hear(cx, cmd.message_id, &cmd.provider, &cmd.provider_id, &word).await
    }

    /// Moves a text forward by what its provider says.
    pub(crate) async fn hear(
        &self,
        cx: &mut Cx<'_>,
        message_id: Uuid,
        provider: &str,
        provider_id: &str,
        word: &Word,
    ) -> Result<Events, Fail> {
        let tenant = cx.tenant();
        let row = sqlx::query(
            "select status, provider, provider_id, recipient, sender, country, day, template, currency, segments,
                    estimate_micro, body is not null as kept, sent_at is null as news
             from texter.messages where tenant = $1 and message_id = $2 for update",
        )
        .bind(tenant)
        .bind(message_id)
        .fetch_optional(cx.db())
        .await?;
        let row = row.ok_or_else(|| Fail::reject("not_found", "there is no such text"))?;
        let known: Option<String> = row.try_get("provider_id")?;
        let same = row.try_get::<String, _>("provider")? == provider;
        if !same || known.as_deref().is_some_and(|known| known != provider_id) {
            return Err(Fail::reject("not_found", "the provider has the text under another id"));
        }
        let before = status::parse(row.try_get("status")?).map_err(Fail::Retry)?;
        // That it could not be delivered is said of what was refused here too; a delivery is always news.
        if !status::is_further(word.status, before) || (status::has_failed(before) && status::has_failed(word.status)) {
            return Ok(Events::none());
        }
        let (day, country): (chrono::NaiveDate, String) = (row.try_get("day")?, row.try_get("country")?);
        let failed = status::has_failed(word.status);
        let again = failed && word.error_code.is_some_and(|code| errors::verdict(code) == Verdict::Again);
        let retry = again && row.try_get("kept")?;
        let revision: i32 = sqlx::query_scalar(
            "update texter.messages set status = $3, provider_id = $4, error_code = coalesce($5, error_code),
                 sent_at = coalesce(sent_at, $7), revision = revision + 1, body = case when $6 then null else body end
             where tenant = $1 and message_id = $2 returning revision",
        )
        .bind(tenant)
        .bind(message_id)
        .bind(status::word(word.status))
        .bind(provider_id)
        .bind(word.error_code.map(i32::try_from).transpose()?)
        .bind(status::is_final(word.status) && !retry)
        .bind(cx.now())
        .fetch_one(cx.db())
        .await?;
        let mut events = Events::none();
        let taken_back = before == SmsState::Canceled;
        if taken_back || (before == SmsState::Failed && known.is_none()) {
            // It had been taken back or given up, and its estimate given back; now its provider has sent it after all.
            let account = account(&row)?;
            let estimate: i64 = row.try_get("estimate_micro")?;
            events = events.join(ledger::book(cx, message_id, &account, "difference", estimate, 1).await?);
        }
        if word.status == SmsState::Canceled {
            // It never left its provider, which bills nothing.
            let (account, estimate): (_, i64) = (account(&row)?, row.try_get("estimate_micro")?);
            events = events.join(ledger::book(cx, message_id, &account, "release", -estimate, -1).await?);
        }
        events = events.about(
            message_id.to_string(),
            SmsStatusChanged {
                message_id,
                status: word.status,
                previous: before,
                error_code: word.error_code,
                revision: revision.unsigned_abs(),
            },
        );
        // Its answer may be under way still, or lost; and what is taken back was not sent.
        let news: bool = row.try_get("news")?;
        let sent = i64::from(news || taken_back) - i64::from(word.status == SmsState::Canceled);
        if sent != 0 {
            ledger::count(cx, day, &country, "sent", sent).await?;
        }
        ledger::moved(cx, day, &country, before, word.status).await?;
        if let Some(code) = word.error_code {
            match errors::verdict(code) {
                Verdict::Stop { .. } => events = events.join(stops::stop(cx, provider, code).await?),
                Verdict::OptedOut => {
                    let (recipient, sender): (String, String) = (row.try_get("recipient")?, row.try_get("sender")?);
                    let out = consent::Change::refused_by_provider(&recipient, &sender);
                    events = events.join(consent::opt_out(cx, out).await?);
                }
                Verdict::Again | Verdict::Final => {}
            }
        }
        if retry {
            let at = cx.now() + Duration::seconds(RETRY_AFTER_SECONDS);
            events = events.then_at(at, RetrySms { message_id, number: MOST_TRIES });
        }
        let can_be_asked = self.providers.iter().any(|p| p.name() == provider && p.can_be_asked());
        let billed = status::is_final(word.status) && word.status != SmsState::Canceled;
        if billed && can_be_asked && word.price.is_none() {
            let at = cx.now() + Duration::seconds(PRICE_AFTER_SECONDS);
            events = events.then_at(at, CheckMessage { message_id, round: 0 });
        }
        Ok(events)
    }
}
