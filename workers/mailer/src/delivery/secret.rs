//! A mail that holds a secret, such as a code, and is told "later". A follow-up must not carry the secret into the inbox,
//! the schedule and another command, which keep it.
//!
//! Told "later" by all, nothing has left, so the mail's own command is tried again instead, and sooner than others are:
//! by then a code is not worth much. As after every attempt that was not done, the next one may leave by another way.
//! Where somebody's fate is known, the others need a follow-up of their own. It says whom it is for, and reads the text
//! where that stands: in the command that brought it, which the bus keeps for longer than anybody is told "later".
//!
//! A row of a batch is made again from what the batch says, and needs none of this.

use std::collections::BTreeMap;

use anyhow::anyhow;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::RawMessageErrorKind;
use chrono::{DateTime, Utc};
use omnibus_runtime::{CallError, Cx, Fail, Meta};
use omnibus_schemas::catalogue::read_command;
use omnibus_schemas::mailer::{EmailState, SendEmail, SendTemplate};
use omnibus_schemas::{Command, subject};
use uuid::Uuid;

use super::ledger::CONSUMERS;
use super::rows::{Change, News, advance};
use super::{Addressee, Dispatch, Plan};
use crate::Mailer;
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

/// What is kept of a plan until a person has decided on it: for whom it was, without what was said to them.
pub(super) fn left_out(plan: Plan) -> Plan {
    let email = SendEmail {
        subject: String::new(),
        body: String::new(),
        html: None,
        headers: BTreeMap::new(),
        attachments: vec![],
        ..plan.email
    };
    Plan { email, ..plan }
}

impl Mailer {
    /// The mail whole, as the command made it that brought it.
    pub(crate) async fn with_its_secret(&self, cx: &mut Cx<'_>, email_id: Uuid) -> Result<SendEmail, Fail> {
        let gone = || Fail::reject("gone", "the command that brought the mail's text is no longer on the bus");
        let sequence: Option<i64> = sqlx::query_scalar(
            "select i.sequence from unnest($3::text[]) as c(consumer)
             cross join lateral (
                 select sequence from bus.inbox
                 where consumer = c.consumer and tenant = $1 and message_id = $2 and name = any ($4) limit 1) i
             limit 1",
        )
        .bind(cx.tenant())
        .bind(email_id)
        .bind(&*CONSUMERS)
        .bind([SendEmail::NAME, SendTemplate::NAME].as_slice())
        .fetch_optional(cx.db())
        .await?;
        let stored = self.stored(sequence.ok_or_else(gone)?.unsigned_abs()).await?.ok_or_else(gone)?;
        let at = DateTime::from_timestamp(stored.time.unix_timestamp(), stored.time.nanosecond()).ok_or_else(gone)?;
        let (meta, checked) = Meta::at(&stored.subject, Some(&stored.headers), &stream(), stored.sequence, at);
        if checked.is_err() || meta.tenant != cx.tenant() || meta.id != email_id {
            return Err(gone());
        }
        // As itself: with its own time, and under its own id.
        let mut own = Cx::new(&meta, cx.db());
        let order = match meta.name.as_str() {
            SendEmail::NAME => {
                let command: SendEmail =
                    read_command(meta.version, meta.encoding, &stored.payload).map_err(|_| gone())?;
                command.order(self, &mut own).await?
            }
            _ => {
                let command: SendTemplate =
                    read_command(meta.version, meta.encoding, &stored.payload).map_err(|_| gone())?;
                command.order(self, &mut own).await?
            }
        };
        order.map(|order| order.email).map_err(|_| gone())
    }

    /// A command of the mailer's as it stands in its stream. None if it was trimmed.
    async fn stored(&self, sequence: u64) -> Result<Option<StreamMessage>, Fail> {
        let stream = self.objects.bus().map_err(Fail::Retry)?.get_stream_no_info(stream()).await?;
        match stream.get_raw_message(sequence).await {
            Ok(stored) => Ok(Some(stored)),
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

fn stream() -> String {
    subject::command_stream(SendEmail::DOMAIN)
}
