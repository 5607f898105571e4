//! Hands rows over to be sent, so many at a time, each as a command of its own.

use omnibus_runtime::{Cx, Events, Fail, Handle};
use omnibus_schemas::mailer::{CloseBatch, ExpandBatch, SendBatchRow};

use super::close_batch::first_look;
use crate::Mailer;

/// Rows of one chunk. Their commands stand in one row of the inbox, and are published before the next chunk is begun,
/// in one go: whatever else is to be told meanwhile waits for them.
const CHUNK: i64 = 100;

impl Handle<ExpandBatch> for Mailer {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: ExpandBatch) -> Result<Events, Fail> {
        let batch_id = cmd.batch_id;
        let rows: Vec<i32> = sqlx::query_scalar(
            "select r.row from mailer.batch_rows r
             join mailer.batches b on b.tenant = r.tenant and b.batch_id = r.batch_id
             where r.tenant = $1 and r.batch_id = $2 and r.row > $3 and r.rejected is null and b.completed_at is null
             order by r.row limit $4",
        )
        .bind(cx.tenant())
        .bind(batch_id)
        .bind(cmd.after as i32)
        .bind(CHUNK)
        .fetch_all(cx.db())
        .await?;
        let known: bool =
            sqlx::query_scalar("select exists (select from mailer.batches where tenant = $1 and batch_id = $2)")
                .bind(cx.tenant())
                .bind(batch_id)
                .fetch_one(cx.db())
                .await?;
        if !known {
            return Err(Fail::reject("not_found", "there is no such batch"));
        }
        let events = rows
            .iter()
            .fold(Events::none(), |events, row| events.then(SendBatchRow { batch_id, row: row.unsigned_abs() }));
        Ok(match rows.last() {
            Some(last) if rows.len() as i64 == CHUNK => {
                events.then(ExpandBatch { batch_id, after: last.unsigned_abs() })
            }
            _ => {
                let at = first_look(cx.now());
                events.then_at(at, CloseBatch { batch_id, looks: 0, at })
            }
        })
    }
}
