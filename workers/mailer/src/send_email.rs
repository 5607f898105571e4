//! Sends one email, once. What is not known to have left is never sent again by itself.

use std::time::Duration;

use anyhow::Context;
use omnibus_runtime::{CallError, Cx, Effect, Events, Fail, Found, Meta, Policy, Prepared, Settled, WhenUncertain};
use omnibus_schemas::mailer::{EmailFailed, EmailSent, EmailUncertain, SendEmail};
use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::Mailer;
use crate::message::{Stamp, compose};
use crate::transport::{Mail, Receipt};

/// A row of `mailer.emails`, as far as events tell of it.
struct Email {
    message_id: String,
    status: String,
    transport: String,
    recipients: u32,
    refused: u32,
}

impl Effect<SendEmail> for Mailer {
    /// The time-out stands above the five of the transport's own, which know how far a mail came.
    const POLICY: Policy = Policy { timeout: Duration::from_secs(180), ..Policy::DEFAULT };

    const PROVIDER: Option<&'static str> = Some("smtp");

    type Plan = Mail;
    type Done = Receipt;

    async fn prepare(&self, cx: &mut Cx<'_>, cmd: SendEmail) -> Result<Prepared<Mail>, Fail> {
        let email_id = cx.meta().id;
        let queued = self.queue(cx, &cmd).await?;
        if queued.status == "sent" {
            return Ok(Prepared::Skip(sent(email_id, queued)));
        }
        let stamp = Stamp { message_id: &queued.message_id, date: cx.now(), seed: cx.id("boundary") };
        let composed = compose(&cmd, &self.senders, stamp).map_err(|e| Fail::reject(e.code(), e.to_string()))?;
        sqlx::query("update mailer.emails set recipients = $3, transport = $4 where tenant = $1 and email_id = $2")
            .bind(cx.tenant())
            .bind(email_id)
            .bind(i32::try_from(composed.recipients.len())?)
            .bind(self.transport.way().as_str())
            .execute(cx.db())
            .await?;
        Ok(Prepared::go(Mail {
            way: self.transport.way(),
            message_id: queued.message_id,
            sender: composed.sender,
            recipients: composed.recipients,
            text: composed.text,
        }))
    }

    async fn perform(&self, _meta: &Meta, plan: &Mail) -> Result<Receipt, CallError> {
        self.transport.send(plan).await
    }

    async fn record(&self, cx: &mut Cx<'_>, plan: Mail, done: Receipt) -> Result<Events, Fail> {
        let all = plan.recipients.len();
        let detail = done.detail.map(|said| format!("{} of {all} recipients were refused: {said}", done.refused));
        // `sent` ends every other status: a worker that was overtaken may report late, but it was there.
        let row = sqlx::query(
            "update mailer.emails set status = 'sent', sent_at = coalesce(sent_at, $3), refused = $4, detail = $5
             where tenant = $1 and email_id = $2
             returning message_id, status, transport, recipients, refused",
        )
        .bind(cx.tenant())
        .bind(cx.meta().id)
        .bind(done.at)
        .bind(i32::try_from(done.refused)?)
        .bind(detail)
        .fetch_one(cx.db())
        .await?;
        Ok(sent(cx.meta().id, Email::read(&row)?))
    }

    async fn reconcile(&self, _meta: &Meta, plan: &Mail) -> Result<Found<Receipt>, Fail> {
        let found = self.transport.find(plan).await;
        found.context("can't look into the folder of mails").map_err(Fail::Retry)
    }

    fn when_uncertain(&self, _plan: &Mail) -> WhenUncertain {
        WhenUncertain::Hold
    }

    async fn settle(&self, cx: &mut Cx<'_>, plan: Option<Mail>, how: &Settled) -> Result<Events, Fail> {
        let email_id = cx.meta().id;
        let (status, code, detail) = match how {
            Settled::Refused { detail, .. } => ("failed", "refused", detail),
            Settled::GaveUp { detail } => ("failed", "gave_up", detail),
            Settled::Dropped { note } => ("failed", "dropped", note),
            Settled::Uncertain { detail } => ("uncertain", "", detail),
            Settled::Vouched { note } => ("sent", "", note),
        };
        let Some(email) = self.settle_row(cx, plan, status, detail).await? else {
            // The row stands on a later status, and that was told when it got there.
            return Ok(Events::none());
        };
        let detail = detail.clone();
        Ok(match status {
            "sent" => sent(email_id, email),
            "uncertain" => Events::none().about(email_id.to_string(), EmailUncertain { email_id, detail }),
            _ => Events::none().about(email_id.to_string(), EmailFailed { email_id, code: code.into(), detail }),
        })
    }
}

impl Mailer {
    /// The email's row, made on the first attempt. Its Message-ID stays what it was then, whatever the settings are now.
    async fn queue(&self, cx: &mut Cx<'_>, cmd: &SendEmail) -> Result<Email, Fail> {
        let recipients = cmd.to.len() + cmd.cc.len() + cmd.bcc.len();
        let row = sqlx::query(
            "insert into mailer.emails (tenant, email_id, message_id, status, transport, recipients, queued_at)
             values ($1, $2, $3, 'queued', $4, $5, $6)
             on conflict (tenant, email_id) do update set message_id = emails.message_id
             returning message_id, status, transport, recipients, refused",
        )
        .bind(cx.tenant())
        .bind(cx.meta().id)
        .bind(self.message_id(cx))
        .bind(self.transport.way().as_str())
        .bind(i32::try_from(recipients)?)
        .bind(cx.now())
        .fetch_one(cx.db())
        .await?;
        Ok(Email::read(&row)?)
    }

    /// Moves the row forward, never back: `None` if it stands further on. A command that was never prepared gets its
    /// row here.
    async fn settle_row(
        &self,
        cx: &mut Cx<'_>,
        plan: Option<Mail>,
        status: &str,
        detail: &str,
    ) -> Result<Option<Email>, Fail> {
        let (way, message_id, recipients) = match plan {
            Some(plan) => (plan.way, plan.message_id, plan.recipients.len()),
            None => (self.transport.way(), self.message_id(cx), 0),
        };
        let row = sqlx::query(
            "insert into mailer.emails (tenant, email_id, message_id, status, transport, recipients, queued_at, detail)
             values ($1, $2, $3, $4, $5, $6, $7, $8)
             on conflict (tenant, email_id) do update set status = excluded.status, detail = excluded.detail
             where array_position(array['queued', 'uncertain', 'failed', 'sent'], emails.status)
                 <= array_position(array['queued', 'uncertain', 'failed', 'sent'], excluded.status)
             returning message_id, status, transport, recipients, refused",
        )
        .bind(cx.tenant())
        .bind(cx.meta().id)
        .bind(message_id)
        .bind(status)
        .bind(way.as_str())
        .bind(i32::try_from(recipients)?)
        .bind(cx.now())
        .bind(detail)
        .fetch_optional(cx.db())
        .await?;
        Ok(row.as_ref().map(Email::read).transpose()?)
    }

    /// The same for every attempt. The tenant is in it, as a hash: ids come from callers, and two tenants that choose
    /// the same one must not be taken for each other, be it by a receiving server or by the folder's file names.
    fn message_id(&self, cx: &Cx<'_>) -> String {
        let (email_id, tenant) = (cx.meta().id, cx.id(cx.tenant()).as_fields().0);
        format!("<{email_id}-{tenant:08x}@{}>", self.senders.address.domain())
    }
}

impl Email {
    fn read(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Email {
            message_id: row.try_get("message_id")?,
            status: row.try_get("status")?,
            transport: row.try_get("transport")?,
            recipients: row.try_get::<i32, _>("recipients")?.unsigned_abs(),
            refused: row.try_get::<i32, _>("refused")?.unsigned_abs(),
        })
    }
}

fn sent(email_id: Uuid, email: Email) -> Events {
    let Email { message_id, transport, recipients, refused, .. } = email;
    Events::none().about(email_id.to_string(), EmailSent { email_id, message_id, recipients, refused, transport })
}
