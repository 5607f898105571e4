//! Reads the counters that the handlers keep in their own transactions.

use omnibus_runtime::{Answer, Ask, AskError};
use omnibus_schemas::mailer::{EmailStats, StatsRow, StatsTable};
use sqlx::Row;

use crate::Mailer;

impl Answer<EmailStats> for Mailer {
    async fn answer(&self, ask: &mut Ask<'_>, query: EmailStats) -> Result<StatsTable, AskError> {
        let rows = sqlx::query(
            "select day, stream, template, sum(queued)::bigint as queued, sum(deferred)::bigint as deferred,
                 sum(uncertain)::bigint as uncertain, sum(cancelled)::bigint as cancelled,
                 sum(suppressed)::bigint as suppressed, sum(failed)::bigint as failed, sum(sent)::bigint as sent,
                 sum(delivered)::bigint as delivered, sum(bounced)::bigint as bounced,
                 sum(complained)::bigint as complained, sum(unsubscribed)::bigint as unsubscribed
             from mailer.daily
             where tenant = $1 and ($2::date is null or day >= $2) and ($3::date is null or day <= $3)
               and ($4::text is null or stream = $4) and ($5::text is null or template = $5)
             group by day, stream, template order by day desc, stream, template limit 1000",
        )
        .bind(ask.tenant)
        .bind(query.from)
        .bind(query.to)
        .bind(&query.stream)
        .bind(&query.template)
        .fetch_all(&mut *ask.db)
        .await?;
        let read = |row: &sqlx::postgres::PgRow| {
            let count = |name: &str| row.try_get::<i64, _>(name).map(i64::unsigned_abs);
            let template: String = row.try_get("template")?;
            Ok(StatsRow {
                day: row.try_get("day")?,
                stream: row.try_get("stream")?,
                template: Some(template).filter(|template| !template.is_empty()),
                queued: count("queued")?,
                deferred: count("deferred")?,
                uncertain: count("uncertain")?,
                cancelled: count("cancelled")?,
                suppressed: count("suppressed")?,
                failed: count("failed")?,
                sent: count("sent")?,
                delivered: count("delivered")?,
                bounced: count("bounced")?,
                complained: count("complained")?,
                unsubscribed: count("unsubscribed")?,
            })
        };
        Ok(StatsTable { rows: rows.iter().map(read).collect::<Result<_, sqlx::Error>>()? })
    }
}
