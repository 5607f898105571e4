//! How far a batch has come: as a whole, and row by row. Mails are looked up one by one, by their key: joined to tables that were
//! never analysed, each row would cost a look at all of a tenant's mails.

use omnibus_runtime::{Answer, Ask, AskError};
use omnibus_schemas::mailer::{BatchCount, BatchReport, BatchRow, BatchRowList, BatchRows, BatchStatus, EmailState};
use sqlx::Row;

use crate::Mailer;

fn unknown() -> AskError {
    AskError::NotFound("no batch of that id has reached the mailer".into())
}

impl Answer<BatchStatus> for Mailer {
    async fn answer(&self, ask: &mut Ask<'_>, query: BatchStatus) -> Result<BatchReport, AskError> {
        let batch = sqlx::query(
            "select queued_at, completed_at, detail from mailer.batches where tenant = $1 and batch_id = $2",
        )
        .bind(ask.tenant)
        .bind(query.batch_id)
        .fetch_optional(&mut *ask.db)
        .await?
        .ok_or_else(unknown)?;
        let counts = sqlx::query(
            "select case when b.rejected is not null then 'rejected' else coalesce(r.state, 'queued') end, count(*)
             from mailer.batch_rows b
             left join lateral (
                 select state from mailer.recipients
                 where tenant = b.tenant and email_id = b.email_id and recipient = 0 limit 1) r on true
             where b.tenant = $1 and b.batch_id = $2 group by 1 order by 1",
        )
        .bind(ask.tenant)
        .bind(query.batch_id)
        .fetch_all(&mut *ask.db)
        .await?;
        let mut report = BatchReport {
            batch_id: query.batch_id,
            rows: 0,
            waiting: 0,
            rejected: 0,
            states: vec![],
            queued_at: batch.try_get(0)?,
            completed_at: batch.try_get(1)?,
            detail: batch.try_get(2)?,
        };
        for row in &counts {
            let (word, rows): (String, i64) = (row.try_get(0)?, row.try_get(1)?);
            let rows = u32::try_from(rows).unwrap_or(u32::MAX);
            report.rows += rows;
            match (word.as_str(), EmailState::parse(&word)) {
                ("rejected", _) => report.rejected = rows,
                ("queued", _) => report.waiting = rows,
                (_, Some(status)) => report.states.push(BatchCount { status, rows }),
                (other, None) => return Err(AskError::Failed(anyhow::anyhow!("a row says {other}"))),
            }
        }
        Ok(report)
    }
}

impl Answer<BatchRows> for Mailer {
    async fn answer(&self, ask: &mut Ask<'_>, query: BatchRows) -> Result<BatchRowList, AskError> {
        let rows = sqlx::query(
            "select b.row, b.address, b.email_id,
                 case when b.rejected is not null then 'rejected'
                      when coalesce(r.state, 'queued') = 'queued' then 'waiting' else r.state end,
                 coalesce(b.rejected, r.detail)
             from mailer.batch_rows b
             left join lateral (
                 select state, detail from mailer.recipients
                 where tenant = b.tenant and email_id = b.email_id and recipient = 0 limit 1) r on true
             where b.tenant = $1 and b.batch_id = $2 and b.row > $3 order by b.row limit $4",
        )
        .bind(ask.tenant)
        .bind(query.batch_id)
        .bind(i32::try_from(query.after).unwrap_or(i32::MAX))
        .bind(i64::from(query.limit))
        .fetch_all(&mut *ask.db)
        .await?;
        let read = |row: &sqlx::postgres::PgRow| {
            Ok(BatchRow {
                row: row.try_get::<i32, _>(0)?.unsigned_abs(),
                address: row.try_get(1)?,
                email_id: row.try_get(2)?,
                status: row.try_get(3)?,
                detail: row.try_get(4)?,
            })
        };
        Ok(BatchRowList { rows: rows.iter().map(read).collect::<Result<_, sqlx::Error>>()? })
    }
}
