//! How far an email has come. Another tenant's email is no email.

use chrono::{DateTime, Utc};
use omnibus_runtime::{Answer, Ask, AskError};
use omnibus_schemas::mailer::{EmailReport, EmailState, EmailStatus};
use sqlx::Row;

use crate::Mailer;

impl Answer<EmailStatus> for Mailer {
    async fn answer(&self, ask: &mut Ask<'_>, query: EmailStatus) -> Result<EmailReport, AskError> {
        let row = sqlx::query(
            "select status, message_id, recipients, queued_at, sent_at, detail
             from mailer.emails where tenant = $1 and email_id = $2",
        )
        .bind(ask.tenant)
        .bind(query.email_id)
        .fetch_optional(&mut *ask.db)
        .await?;
        let row = row.ok_or_else(|| AskError::NotFound("no email of that id has reached the mailer".into()))?;
        Ok(EmailReport {
            email_id: query.email_id,
            status: state(row.try_get("status")?)?,
            message_id: row.try_get("message_id")?,
            recipients: row.try_get::<i32, _>("recipients")?.unsigned_abs(),
            queued_at: row.try_get::<DateTime<Utc>, _>("queued_at")?,
            sent_at: row.try_get("sent_at")?,
            detail: row.try_get("detail")?,
        })
    }
}

fn state(word: &str) -> Result<EmailState, AskError> {
    match word {
        "queued" => Ok(EmailState::Queued),
        "sent" => Ok(EmailState::Sent),
        "failed" => Ok(EmailState::Failed),
        "uncertain" => Ok(EmailState::Uncertain),
        other => Err(AskError::Failed(anyhow::anyhow!("the row says {other}, which is no status"))),
    }
}
