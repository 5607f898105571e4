//! A mail that holds a secret, such as a code, and is told "later". A follow-up would carry the secret into the inbox, the
//! schedule and another command, which keep it. Nothing has left, so its own command is tried again instead, and sooner
//! than others are: by then a code is not worth much. As after every attempt that was not done, the next one may leave by
//! another way.
//!
//! A row of a batch is made again from what the batch says, and needs none of this.

use anyhow::anyhow;
use chrono::{DateTime, Utc};
use omnibus_runtime::{CallError, Cx};
use omnibus_schemas::mailer::EmailState;
use uuid::Uuid;

use super::ledger::CONSUMERS;
use super::rows::{Change, News, advance};
use super::{Addressee, Plan};
use crate::transport::{Receipt, Verdict};

/// With this the ledger's words on such an attempt begin. What the server said comes after it.
const LATER: &str = "told \"later\": ";

/// Is its text to be kept by nothing but the command that brought it?
pub(super) fn is_in(plan: &Plan) -> bool {
    plan.email.confidential && plan.batch.is_none()
}

/// If everybody was told "later", the attempt was not done. Where somebody's fate is known already, the command has brought
/// something about, and those who are told "later" need one of their own like others.
pub(super) fn unless_all_later(plan: &Plan, receipt: Receipt) -> Result<Receipt, CallError> {
    let all_later = receipt.verdicts.iter().all(|verdict| matches!(verdict, Verdict::Deferred(_)));
    match all_later && is_in(plan) {
        true => Err(CallError::NotDone(anyhow!("{LATER}{}", receipt.detail().unwrap_or_default()))),
        false => Ok(receipt),
    }
}

/// Brings the recipients' rows into line with the attempt before this one, if all were told "later" by then. Whoever calls
/// holds the lock on the email's row.
pub(super) async fn note_later(cx: &mut Cx<'_>, email_id: Uuid, waiting: &mut [Addressee]) -> Result<(), sqlx::Error> {
    let last: Option<(String, DateTime<Utc>)> = sqlx::query_as(
        "select detail, closed_at from (
             select a.* from unnest($4::text[]) as c(consumer)
             cross join lateral (
                 select number, result, detail, closed_at from bus.attempts
                 where consumer = c.consumer and tenant = $1 and message_id = $2 order by number desc limit 1) a
             order by a.number desc limit 1) latest
         where result = 'not_done' and starts_with(detail, $3)",
    )
    .bind(cx.tenant())
    .bind(cx.meta().id)
    .bind(LATER)
    .bind(&*CONSUMERS)
    .fetch_optional(cx.db())
    .await?;
    let Some((words, at)) = last else { return Ok(()) };
    let said = words.strip_prefix(LATER).unwrap_or(&words);
    let deferred = |addressee: &Addressee| Change {
        recipient: addressee.recipient,
        state: EmailState::Deferred,
        detail: Some(said.to_owned()),
    };
    let changes: Vec<_> = waiting.iter().map(deferred).collect();
    advance(cx, email_id, &changes, News { at, attempt: true }).await?;
    for addressee in waiting {
        addressee.tries += 1;
    }
    Ok(())
}
