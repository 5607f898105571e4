//! Tells once that every row of a batch has been dealt with. It looks, rather than count along: a counter in one row
//! would make all of a batch's mails wait for each other.

use chrono::{DateTime, Duration, Utc};
use omnibus_runtime::{Cx, Events, Fail, Handle};
use omnibus_schemas::mailer::{BatchCompleted, CloseBatch};
use sqlx::Row;
use uuid::Uuid;

use crate::Mailer;

/// No wait between two looks is longer.
const LONGEST: Duration = Duration::seconds(30);
/// After so many looks, more than a day, a row that is still not dealt with is told of as it is.
const LOOKS: u32 = 3000;

pub(super) fn first_look(now: DateTime<Utc>) -> DateTime<Utc> {
    now + Duration::seconds(1)
}

impl Handle<CloseBatch> for Mailer {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: CloseBatch) -> Result<Events, Fail> {
        let batch_id = cmd.batch_id;
        let another_look = || {
            let at = cmd.at + Duration::seconds(1i64 << cmd.looks.min(5)).min(LONGEST);
            Events::none().then_at(at, CloseBatch { batch_id, looks: cmd.looks + 1, at })
        };
        if cmd.looks < LOOKS && last_wait(cx, batch_id).await? {
            return Ok(another_look());
        }
        let row = sqlx::query(
            "select count(*), count(*) filter (where b.rejected is not null),
                 count(*) filter (where b.rejected is null and coalesce(r.state, 'queued') = 'queued'),
                 count(*) filter (where b.rejected is null and r.state in ('sent', 'delivered', 'complained')),
                 count(*) filter (where b.rejected is null and r.state = 'suppressed')
             from mailer.batch_rows b
             left join lateral (
                 select state from mailer.recipients
                 where tenant = b.tenant and email_id = b.email_id and recipient = 0 limit 1) r on true
             where b.tenant = $1 and b.batch_id = $2",
        )
        .bind(cx.tenant())
        .bind(batch_id)
        .fetch_one(cx.db())
        .await?;
        let count = |n: usize| row.try_get::<i64, _>(n).map(|count| u32::try_from(count).unwrap_or(u32::MAX));
        let (rows, rejected, waiting, sent, suppressed) = (count(0)?, count(1)?, count(2)?, count(3)?, count(4)?);
        if waiting > 0 && cmd.looks < LOOKS {
            return Ok(another_look());
        }
        let closed = sqlx::query(
            "update mailer.batches set completed_at = $3
             where tenant = $1 and batch_id = $2 and completed_at is null",
        )
        .bind(cx.tenant())
        .bind(batch_id)
        .bind(cmd.at)
        .execute(cx.db())
        .await?;
        if closed.rows_affected() == 0 {
            return Err(Fail::reject("not_found", "there is no such batch, or it is closed"));
        }
        let others = rows - rejected - sent - suppressed;
        let completed = BatchCompleted { batch_id, rows, sent, rejected, suppressed, others };
        Ok(Events::none().about(batch_id.to_string(), completed))
    }
}

/// Does one of the last rows wait? They leave last: as long as one does, the others need not be looked at.
async fn last_wait(cx: &mut Cx<'_>, batch_id: Uuid) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(
        "select exists (
             select from (
                 select email_id from mailer.batch_rows
                 where tenant = $1 and batch_id = $2 and rejected is null order by row desc limit 100) b
             left join lateral (
                 select state from mailer.recipients
                 where tenant = $1 and email_id = b.email_id and recipient = 0 limit 1) r on true
             where coalesce(r.state, 'queued') = 'queued')",
    )
    .bind(cx.tenant())
    .bind(batch_id)
    .fetch_one(cx.db())
    .await
}
