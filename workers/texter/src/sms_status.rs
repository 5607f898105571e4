//! How far a text has come. Another tenant's text is no text.

use omnibus_runtime::{Answer, Ask, AskError};
use omnibus_schemas::texter::{SmsReport, SmsStatus};
use sqlx::Row;

use crate::{Texter, draft, number, status, waiting};

impl Answer<SmsStatus> for Texter {
    async fn answer(&self, ask: &mut Ask<'_>, query: SmsStatus) -> Result<SmsReport, AskError> {
        let row = sqlx::query(
            "select status, revision, recipient, country, encoding, segments, provider, provider_id, template, error_code,
                    detail, estimate_micro, actual_micro, currency, queued_at, sent_at, waits_for, waits_until
             from texter.messages where tenant = $1 and message_id = $2",
        )
        .bind(ask.tenant)
        .bind(query.message_id)
        .fetch_optional(&mut *ask.db)
        .await?;
        let row = row.ok_or_else(|| AskError::NotFound("no text of that id has reached the texter".into()))?;
        Ok(SmsReport {
            message_id: query.message_id,
            status: status::parse(row.try_get("status")?).map_err(AskError::Failed)?,
            waits_for: row.try_get::<Option<&str>, _>("waits_for")?.and_then(waiting::parse),
            waits_until: row.try_get("waits_until")?,
            revision: row.try_get::<i32, _>("revision")?.unsigned_abs(),
            to: number::masked(row.try_get("recipient")?),
            country: row.try_get("country")?,
            encoding: draft::encoding(row.try_get("encoding")?),
            segments: row.try_get::<i32, _>("segments")?.unsigned_abs(),
            provider: row.try_get("provider")?,
            provider_id: row.try_get("provider_id")?,
            template: Some(row.try_get("template")?).filter(|name: &String| !name.is_empty()),
            error_code: row.try_get::<Option<i32>, _>("error_code")?.map(i32::unsigned_abs),
            detail: row.try_get("detail")?,
            estimate_micro: row.try_get("estimate_micro")?,
            actual_micro: row.try_get("actual_micro")?,
            currency: row.try_get("currency")?,
            queued_at: row.try_get("queued_at")?,
            sent_at: row.try_get("sent_at")?,
        })
    }
}
