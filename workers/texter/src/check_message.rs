//! Asks the provider how far a text is and what it costs, for what its callbacks don't tell. Asking is harmless, so it
//! may be repeated.

use chrono::Duration;
use omnibus_runtime::{CallError, Cx, Effect, Events, Fail, Meta, Policy, Prepared, WhenUncertain};
use omnibus_schemas::texter::CheckMessage;
use serde::{Deserialize, Serialize};
use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::Texter;
use crate::ledger::Account;
use crate::provider::Word;
use crate::send_sms::POLICY;
use crate::status;

/// How long after each question the next one follows, minutes; after the last there is none.
const ROUNDS: [i64; 5] = [2, 10, 60, 360, 1440];

/// Which text, by its provider's id.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Lookup {
    message_id: Uuid,
    round: u32,
    provider: String,
    provider_id: String,
}

impl Effect<CheckMessage> for Texter {
    const POLICY: Policy = POLICY;
    const PROVIDER: Option<&'static str> = Some("sms-lookups");

    type Plan = Lookup;
    type Done = Option<Word>;

    async fn prepare(&self, cx: &mut Cx<'_>, cmd: CheckMessage) -> Result<Prepared<Lookup>, Fail> {
        let tenant = cx.tenant();
        let row = sqlx::query(
            "select provider, provider_id, actual_micro is not null as billed, status from texter.messages
             where tenant = $1 and message_id = $2 and provider_id is not null",
        )
        .bind(tenant)
        .bind(cmd.message_id)
        .fetch_optional(cx.db())
        .await?;
        let row = row.ok_or_else(|| Fail::reject("not_found", "there is no such text at a provider"))?;
        let state = status::parse(row.try_get("status")?).map_err(Fail::Retry)?;
        if row.try_get("billed")? && status::is_final(state) {
            return Ok(Prepared::Skip(Events::none()));
        }
        Ok(Prepared::go(Lookup {
            message_id: cmd.message_id,
            round: cmd.round,
            provider: row.try_get("provider")?,
            provider_id: row.try_get("provider_id")?,
        }))
    }

    async fn perform(&self, _meta: &Meta, plan: &Lookup) -> Result<Option<Word>, CallError> {
        let provider = self.providers.iter().find(|provider| provider.name() == plan.provider);
        let Some(provider) = provider else { return Ok(None) };
        provider.ask(&plan.provider_id).await.map_err(CallError::NotDone)
    }

    async fn record(&self, cx: &mut Cx<'_>, plan: Lookup, word: Option<Word>) -> Result<Events, Fail> {
        let Some(word) = word else { return Ok(Events::none()) };
        let mut events = Events::none();
        if let Some((price, currency)) = &word.price {
            events = events.join(self.price(cx, plan.message_id, *price, currency).await?);
        }
        // The end of a text asks for its price by itself.
        let heard = self.hear(cx, plan.message_id, &plan.provider, &plan.provider_id, &word).await?;
        let over = status::is_final(word.status) && word.price.is_some();
        let asked_for = status::is_final(word.status) && !heard.is_empty();
        let more = match ROUNDS.get(plan.round as usize).filter(|_| !over && !asked_for) {
            Some(minutes) => {
                let again = CheckMessage { message_id: plan.message_id, round: plan.round + 1 };
                Events::none().then_at(cx.now() + Duration::minutes(*minutes), again)
            }
            None => Events::none(),
        };
        Ok(events.join(heard).join(more))
    }

    fn when_uncertain(&self, _plan: &Lookup) -> WhenUncertain {
        WhenUncertain::Resend
    }
}

/// What the lines of a text's row are booked to.
pub(crate) fn account(row: &PgRow) -> Result<Account, sqlx::Error> {
    Ok(Account {
        day: row.try_get("day")?,
        country: row.try_get("country")?,
        template: row.try_get("template")?,
        provider: row.try_get("provider")?,
        currency: row.try_get("currency")?,
        segments: row.try_get("segments")?,
    })
}

impl Texter {
    async fn price(&self, cx: &mut Cx<'_>, message_id: Uuid, price: i64, currency: &str) -> Result<Events, Fail> {
        let tenant = cx.tenant();
        let row = sqlx::query(
            "select day, country, template, provider, currency, segments, estimate_micro from texter.messages
             where tenant = $1 and message_id = $2",
        )
        .bind(tenant)
        .bind(message_id)
        .fetch_one(cx.db())
        .await?;
        let account = account(&row)?;
        if account.currency != currency {
            // Two currencies can't be subtracted. The estimate stands.
            tracing::warn!(%message_id, billed = currency, booked = account.currency, "a provider bills in another currency");
            return Ok(Events::none());
        }
        self.billed(cx, message_id, &account, row.try_get("estimate_micro")?, price).await
    }
}
