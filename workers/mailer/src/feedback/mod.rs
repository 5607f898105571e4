//! What is heard of a mail after it left, whoever tells it: a provider's webhook, a returned mail, its recipient.

mod returned_mail;
mod sendgrid_events;
mod unsubscribe_page;

pub(crate) use sendgrid_events::key as webhook_key;

use chrono::{DateTime, Utc};
use omnibus_runtime::{Cx, Events, Fail, Handle};
use omnibus_schemas::mailer::{
    EmailBounced, EmailComplained, EmailDeferred, EmailDelivered, EmailState, Feedback, RecipientUnsubscribed,
    RecordFeedback, SuppressionReason, Unsubscribe,
};
use sqlx::Row;
use uuid::Uuid;

use crate::Mailer;
use crate::delivery::{Change, News, advance};
use crate::suppressions;

/// A recipient of a mail whose row is locked.
struct Known {
    recipient: u32,
    address: String,
    state: EmailState,
    tries: u32,
    stream: String,
}

/// Finds a recipient by address or by number.
async fn find(cx: &mut Cx<'_>, email_id: Uuid, address: Option<&str>, recipient: Option<u32>) -> Result<Known, Fail> {
    let row = sqlx::query(
        "select r.recipient, r.address, r.state, r.tries, e.stream
         from mailer.emails e join mailer.recipients r on r.tenant = e.tenant and r.email_id = e.email_id
         where e.tenant = $1 and e.email_id = $2 and (lower(r.address) = lower($3) or r.recipient = $4)
         order by r.recipient limit 1 for update of e",
    )
    .bind(cx.tenant())
    .bind(email_id)
    .bind(address)
    .bind(recipient.map(|recipient| recipient as i32))
    .fetch_optional(cx.db())
    .await?;
    let row = row.ok_or_else(|| Fail::reject("not_found", "there is no such email, or it has no such recipient"))?;
    let state: String = row.try_get(2)?;
    Ok(Known {
        recipient: row.try_get::<i32, _>(0)?.unsigned_abs(),
        address: row.try_get(1)?,
        state: EmailState::parse(&state).ok_or_else(|| anyhow::anyhow!("no such state")).map_err(Fail::Retry)?,
        tries: row.try_get::<i32, _>(3)?.unsigned_abs(),
        stream: row.try_get(4)?,
    })
}

impl Handle<RecordFeedback> for Mailer {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: RecordFeedback) -> Result<Events, Fail> {
        let known = find(cx, cmd.email_id, Some(&cmd.address), None).await?;
        let (email_id, recipient, at) = (cmd.email_id, known.recipient, cmd.at);
        let (about, detail) = (email_id.to_string(), cmd.detail.clone().unwrap_or_default());
        let state = match cmd.what {
            Feedback::Delivered => EmailState::Delivered,
            Feedback::Deferred => EmailState::Deferred,
            Feedback::Bounced => EmailState::Bounced,
            Feedback::Complained => EmailState::Complained,
            Feedback::Unsubscribed => return unsubscribe(cx, email_id, &known, at).await,
        };
        let events = match cmd.what {
            Feedback::Bounced if cmd.hard => {
                suppressions::add(cx, &known.address, None, SuppressionReason::Bounced, at).await?
            }
            Feedback::Complained => {
                suppressions::add(cx, &known.address, Some(&known.stream), SuppressionReason::Complained, at).await?
            }
            _ => Events::none(),
        };
        let change = Change { recipient, state, detail: cmd.detail };
        let moved = advance(cx, email_id, &[change], News { at, attempt: false }).await?;
        Ok(match cmd.what {
            // A provider that is told "later" has taken the mail over, so this is no step back, but worth telling.
            Feedback::Deferred if known.state == EmailState::Sent || !moved.is_empty() => {
                let deferred = EmailDeferred { email_id, recipient, tries: known.tries, next_at: None, detail };
                events.about(about, deferred)
            }
            _ if moved.is_empty() => events,
            Feedback::Delivered => events.about(about, EmailDelivered { email_id, recipient, at }),
            Feedback::Bounced => events.about(about, EmailBounced { email_id, recipient, hard: cmd.hard, detail }),
            Feedback::Complained => events.about(about, EmailComplained { email_id, recipient, at }),
            Feedback::Deferred | Feedback::Unsubscribed => events,
        })
    }
}

impl Handle<Unsubscribe> for Mailer {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: Unsubscribe) -> Result<Events, Fail> {
        let known = find(cx, cmd.email_id, None, Some(cmd.recipient)).await?;
        let now = cx.now();
        unsubscribe(cx, cmd.email_id, &known, now).await
    }
}

/// From the mail's stream, and from no other.
async fn unsubscribe(cx: &mut Cx<'_>, email_id: Uuid, known: &Known, at: DateTime<Utc>) -> Result<Events, Fail> {
    let (stream, recipient) = (known.stream.clone(), known.recipient);
    let new = suppressions::add(cx, &known.address, Some(&stream), SuppressionReason::Unsubscribed, at).await?;
    if new.is_empty() {
        return Ok(new);
    }
    sqlx::query(
        "insert into mailer.daily as d (tenant, day, stream, template, slot, unsubscribed)
         select $1, ($3 at time zone 'UTC')::date, e.stream, coalesce(e.template, ''), pg_backend_pid() % 64, 1
         from mailer.emails e where e.tenant = $1 and e.email_id = $2
         on conflict (tenant, day, stream, template, slot) do update set unsubscribed = d.unsubscribed + 1",
    )
    .bind(cx.tenant())
    .bind(email_id)
    .bind(at)
    .execute(cx.db())
    .await?;
    Ok(new.about(email_id.to_string(), RecipientUnsubscribed { email_id, recipient, stream }))
}
