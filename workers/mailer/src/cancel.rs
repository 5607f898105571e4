//! Takes mails back before they leave. What is leaving just now can't be: the attempt ledger says so, and it is read
//! under the lock that an attempt is prepared under.

use chrono::{DateTime, Utc};
use omnibus_runtime::{Cx, Events, Fail, Handle};
use omnibus_schemas::mailer::{CancelEmail, EmailCancelled, EmailState, RetractEmails, SendEmail};
use sqlx::Row;
use uuid::Uuid;

use crate::Mailer;
use crate::delivery::{Change, News, advance, leaving};

/// Mails that one command takes back; the rest by its follow-up.
const AT_ONCE: i64 = 500;

enum Tried {
    Cancelled(u32),
    /// A call is out.
    Leaving,
    /// Nobody is left to take it back from.
    TooLate,
    NotFound,
}

impl Handle<CancelEmail> for Mailer {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: CancelEmail) -> Result<Events, Fail> {
        let email_id = cmd.email_id;
        match cancel(cx, email_id).await? {
            Tried::Cancelled(recipients) => {
                Ok(Events::none().about(email_id.to_string(), EmailCancelled { email_id, recipients }))
            }
            Tried::Leaving => Err(Fail::reject("leaving", "the mail is leaving just now")),
            Tried::TooLate => Err(Fail::reject("already_left", "the mail has left, or was taken back before")),
            Tried::NotFound => Err(Fail::reject("not_found", "there is no such email")),
        }
    }
}

impl Handle<RetractEmails> for Mailer {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: RetractEmails) -> Result<Events, Fail> {
        sqlx::query(
            "insert into mailer.retractions as r (tenant, cancel_key, at) values ($1, $2, $3)
             on conflict (tenant, cancel_key) do update set at = greatest(r.at, excluded.at)",
        )
        .bind(cx.tenant())
        .bind(&cmd.cancel_key)
        .bind(cx.now())
        .execute(cx.db())
        .await?;
        let ids: Vec<Uuid> = sqlx::query_scalar(
            "select e.email_id from mailer.emails e
             where e.tenant = $1 and e.cancel_key = $2 and e.cancelled_at is null and exists (
                 select from mailer.recipients r
                 where r.tenant = $1 and r.email_id = e.email_id and r.state = any ($3))
             order by e.email_id limit $4",
        )
        .bind(cx.tenant())
        .bind(&cmd.cancel_key)
        .bind(WAITING.map(EmailState::as_str).as_slice())
        .bind(AT_ONCE)
        .fetch_all(cx.db())
        .await?;
        let mut events = Events::none();
        for email_id in &ids {
            if let Tried::Cancelled(recipients) = cancel(cx, *email_id).await? {
                let cancelled = EmailCancelled { email_id: *email_id, recipients };
                events = events.about(email_id.to_string(), cancelled);
            }
        }
        match ids.len() as i64 == AT_ONCE && !events.is_empty() {
            true => Ok(events.then(cmd)),
            false => Ok(events),
        }
    }
}

/// Was the mail's reason taken back since it was queued? Then it is taken back here, wherever it was when that was said:
/// not made yet, waiting, or leaving.
pub(crate) async fn retracted(
    cx: &mut Cx<'_>,
    email_id: Uuid,
    email: &SendEmail,
    queued_at: DateTime<Utc>,
) -> Result<Option<Events>, sqlx::Error> {
    let Some(key) = &email.cancel_key else { return Ok(None) };
    let gone: bool = sqlx::query_scalar(
        "select exists (select from mailer.retractions where tenant = $1 and cancel_key = $2 and at >= $3)",
    )
    .bind(cx.tenant())
    .bind(key)
    .bind(queued_at)
    .fetch_one(cx.db())
    .await?;
    if !gone {
        return Ok(None);
    }
    let recipients = take_back(cx, email_id).await?;
    let told = Events::none();
    Ok(Some(match recipients {
        0 => told,
        recipients => told.about(email_id.to_string(), EmailCancelled { email_id, recipients }),
    }))
}

/// States from which a mail can be taken back.
const WAITING: [EmailState; 2] = [EmailState::Queued, EmailState::Deferred];

async fn cancel(cx: &mut Cx<'_>, email_id: Uuid) -> Result<Tried, sqlx::Error> {
    let row = sqlx::query("select carrier from mailer.emails where tenant = $1 and email_id = $2 for update")
        .bind(cx.tenant())
        .bind(email_id)
        .fetch_optional(cx.db())
        .await?;
    let Some(row) = row else { return Ok(Tried::NotFound) };
    let carrier: Option<Uuid> = row.try_get(0)?;
    let commands: Vec<Uuid> = [Some(email_id), carrier].into_iter().flatten().collect();
    if leaving(cx, &commands).await? {
        return Ok(Tried::Leaving);
    }
    Ok(match take_back(cx, email_id).await? {
        0 => Tried::TooLate,
        recipients => Tried::Cancelled(recipients),
    })
}

/// Cancels those who wait, and says how many that were.
async fn take_back(cx: &mut Cx<'_>, email_id: Uuid) -> Result<u32, sqlx::Error> {
    let now = cx.now();
    let waiting: Vec<i32> = sqlx::query_scalar(
        "select recipient from mailer.recipients where tenant = $1 and email_id = $2 and state = any ($3)",
    )
    .bind(cx.tenant())
    .bind(email_id)
    .bind(WAITING.map(EmailState::as_str).as_slice())
    .fetch_all(cx.db())
    .await?;
    let changes: Vec<_> = waiting
        .iter()
        .map(|recipient| Change { recipient: recipient.unsigned_abs(), state: EmailState::Cancelled, detail: None })
        .collect();
    let moved = advance(cx, email_id, &changes, News { at: now, attempt: false }).await?;
    if moved.is_empty() {
        return Ok(0);
    }
    sqlx::query("update mailer.emails set cancelled_at = $3 where tenant = $1 and email_id = $2")
        .bind(cx.tenant())
        .bind(email_id)
        .bind(now)
        .execute(cx.db())
        .await?;
    Ok(u32::try_from(moved.len()).unwrap_or(u32::MAX))
}
