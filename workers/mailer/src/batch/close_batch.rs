//! Tells once that every row of a batch has been dealt with. It looks, rather than count along: a counter in one row
//! would make all of a batch's mails wait for each other.

use chrono::{DateTime, Duration, Utc};
use omnibus_runtime::{Cx, Events, Fail, Handle};
use omnibus_schemas::mailer::{BatchCompleted, CloseBatch};
use sqlx::Row;

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
        let row = sqlx::query(
            "select count(*), count(*) filter (where b.rejected is not null),
                 count(*) filter (where b.rejected is null and coalesce(r.state, 'queued') = 'queued'),
                 count(*) filter (where b.rejected is null and r.state in ('sent', 'delivered', 'complained')),
                 count(*) filter (where b.rejected is null and r.state = 'suppressed')
             from mailer.batch_rows b
             left join mailer.recipients r on r.tenant = b.tenant and r.email_id = b.email_id and r.recipient = 0
             where b.tenant = $1 and b.batch_id = $2",
        )
        .bind(cx.tenant())
        .bind(batch_id)
        .fetch_one(cx.db())
        .await?;
        let count = |n: usize| row.try_get::<i64, _>(n).map(|count| u32::try_from(count).unwrap_or(u32::MAX));
        let (rows, rejected, waiting, sent, suppressed) = (count(0)?, count(1)?, count(2)?, count(3)?, count(4)?);
        if waiting > 0 && cmd.looks < LOOKS {
            let wait = Duration::seconds(1i64 << cmd.looks.min(5)).min(LONGEST);
            let at = cmd.at + wait;
            return Ok(Events::none().then_at(at, CloseBatch { batch_id, looks: cmd.looks + 1, at }));
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
