//! How far an email has come, and what it looked like. Another tenant's email is no email.

use chrono::{DateTime, Utc};
use omnibus_runtime::{Answer, Ask, AskError};
use omnibus_schemas::mailer::{
    DeliveryReport, EmailPage, EmailReport, EmailState, EmailStatus, RecipientKind, RenderedEmail, StoredAttachment,
};
use serde_json::Value;
use sqlx::Row;
use sqlx::postgres::PgRow;

use crate::Mailer;

fn unknown() -> AskError {
    AskError::NotFound("no email of that id has reached the mailer".into())
}

fn odd(what: &str) -> AskError {
    AskError::Failed(anyhow::anyhow!("a row says {what}, which is not known"))
}

impl Answer<EmailStatus> for Mailer {
    async fn answer(&self, ask: &mut Ask<'_>, query: EmailStatus) -> Result<EmailReport, AskError> {
        let row = sqlx::query(
            "select message_id, stream, queued_at, send_at, sent_at, transport, detail
             from mailer.emails where tenant = $1 and email_id = $2",
        )
        .bind(ask.tenant)
        .bind(query.email_id)
        .fetch_optional(&mut *ask.db)
        .await?
        .ok_or_else(unknown)?;
        let recipients = sqlx::query(
            "select recipient, address, kind, state, tries, at, detail
             from mailer.recipients where tenant = $1 and email_id = $2 order by recipient",
        )
        .bind(ask.tenant)
        .bind(query.email_id)
        .fetch_all(&mut *ask.db)
        .await?;
        let deliveries = recipients.iter().map(delivery).collect::<Result<Vec<_>, _>>()?;
        let states: Vec<_> = deliveries.iter().map(|delivery| delivery.status).collect();
        let sent_at: Option<DateTime<Utc>> = row.try_get("sent_at")?;
        Ok(EmailReport {
            email_id: query.email_id,
            status: EmailState::of_all(&states, sent_at.is_some()),
            message_id: row.try_get("message_id")?,
            stream: row.try_get("stream")?,
            recipients: u32::try_from(deliveries.len()).unwrap_or(u32::MAX),
            queued_at: row.try_get("queued_at")?,
            send_at: row.try_get("send_at")?,
            sent_at,
            transport: row.try_get("transport")?,
            detail: row.try_get("detail")?,
            deliveries,
        })
    }
}

fn delivery(row: &PgRow) -> Result<DeliveryReport, AskError> {
    let (kind, state): (String, String) = (row.try_get("kind")?, row.try_get("state")?);
    Ok(DeliveryReport {
        recipient: row.try_get::<i32, _>("recipient")?.unsigned_abs(),
        address: row.try_get("address")?,
        kind: RecipientKind::parse(&kind).ok_or_else(|| odd(&kind))?,
        status: EmailState::parse(&state).ok_or_else(|| odd(&state))?,
        tries: row.try_get::<i32, _>("tries")?.unsigned_abs(),
        at: row.try_get("at")?,
        detail: row.try_get("detail")?,
    })
}

impl Answer<RenderedEmail> for Mailer {
    async fn answer(&self, ask: &mut Ask<'_>, query: RenderedEmail) -> Result<EmailPage, AskError> {
        let row = sqlx::query(
            "select message_id, sender, stream, template, confidential, subject, body, html, attachments
             from mailer.emails where tenant = $1 and email_id = $2",
        )
        .bind(ask.tenant)
        .bind(query.email_id)
        .fetch_optional(&mut *ask.db)
        .await?
        .ok_or_else(unknown)?;
        let attachments: Value = row.try_get("attachments")?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let attached = |one: &Value| StoredAttachment {
            filename: text(&one["filename"]),
            content_type: text(&one["content_type"]),
            size: one["size"].as_u64().unwrap_or_default(),
        };
        Ok(EmailPage {
            email_id: query.email_id,
            message_id: row.try_get("message_id")?,
            from: row.try_get("sender")?,
            stream: row.try_get("stream")?,
            template: row.try_get("template")?,
            confidential: row.try_get("confidential")?,
            subject: row.try_get("subject")?,
            text: row.try_get("body")?,
            html: row.try_get("html")?,
            attachments: attachments.as_array().into_iter().flatten().map(attached).collect(),
        })
    }
}
