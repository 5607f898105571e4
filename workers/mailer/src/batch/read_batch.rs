//! Reads a batch's rows from its file, so many lines at a time: neither the file nor the batch is ever held whole.

use omnibus_runtime::{CallError, Cx, Effect, Events, Fail, Found, Meta, Prepared, Settled, WhenUncertain};
use omnibus_schemas::body::{self, Encoding};
use omnibus_schemas::mailer::{BatchRecipient, ExpandBatch, ReadBatch};
use serde::{Deserialize, Serialize};
use serde_json::Map;
use sqlx::Row;
use tokio::io::{AsyncBufReadExt, BufReader};
use uuid::Uuid;

use super::rows::{self, Line};
use crate::Mailer;

/// Lines of one reading.
const CHUNK: usize = 1000;
/// Rows of a batch.
const MOST: u32 = 100_000;

/// What is to be read.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReadPlan {
    batch_id: Uuid,
    after: u32,
    bucket: String,
    object: String,
}

/// What was read.
#[derive(Debug, Clone)]
pub struct Chunk {
    lines: Vec<Line>,
    /// Is there more to read?
    more: bool,
    /// Lines that are read by now.
    upto: u32,
}

impl Effect<ReadBatch> for Mailer {
    type Plan = ReadPlan;
    type Done = Chunk;

    async fn prepare(&self, cx: &mut Cx<'_>, cmd: ReadBatch) -> Result<Prepared<ReadPlan>, Fail> {
        let row = sqlx::query(
            "select a.bucket, a.object, b.read_rows from mailer.batches b
             join mailer.attachments a on a.tenant = b.tenant and a.attachment_id = (b.spec ->> 'recipients_id')::uuid
             where b.tenant = $1 and b.batch_id = $2",
        )
        .bind(cx.tenant())
        .bind(cmd.batch_id)
        .fetch_optional(cx.db())
        .await?;
        let Some(row) = row else { return Err(Fail::reject("not_found", "there is no such batch, or it has no file")) };
        if row.try_get::<Option<i32>, _>(2)?.is_none_or(|read| read.unsigned_abs() != cmd.after) {
            return Err(Fail::reject("read_before", "these rows have been read"));
        }
        let (bucket, object) = (row.try_get(0)?, row.try_get(1)?);
        Ok(Prepared::go(ReadPlan { batch_id: cmd.batch_id, after: cmd.after, bucket, object }))
    }

    async fn perform(&self, _meta: &Meta, plan: &ReadPlan) -> Result<Chunk, CallError> {
        self.read(plan).await.map_err(CallError::NotDone)
    }

    async fn record(&self, cx: &mut Cx<'_>, plan: ReadPlan, done: Chunk) -> Result<Events, Fail> {
        let batch_id = plan.batch_id;
        rows::insert(cx, batch_id, &done.lines).await?;
        let full = done.more && done.upto >= MOST;
        sqlx::query(
            "update mailer.batches set read_rows = $3, detail = coalesce($4, detail) where tenant = $1 and batch_id = $2",
        )
        .bind(cx.tenant())
        .bind(batch_id)
        .bind(done.upto as i32)
        .bind(full.then(|| format!("the file has more than {MOST} rows; the rest of them was left out")))
        .execute(cx.db())
        .await?;
        Ok(match done.more && !full {
            true => Events::none().then(ReadBatch { batch_id, after: done.upto }),
            false => Events::none().then(ExpandBatch { batch_id, after: 0 }),
        })
    }

    /// Reading changes nothing: it may always be done again.
    async fn reconcile(&self, _meta: &Meta, _plan: &ReadPlan) -> Result<Found<Chunk>, Fail> {
        Ok(Found::NotDone)
    }

    fn when_uncertain(&self, _plan: &ReadPlan) -> WhenUncertain {
        WhenUncertain::Resend
    }

    async fn settle(&self, cx: &mut Cx<'_>, plan: Option<ReadPlan>, how: &Settled) -> Result<Events, Fail> {
        let (Some(plan), Settled::GaveUp { detail } | Settled::Refused { detail, .. }) = (plan, how) else {
            return Ok(Events::none());
        };
        sqlx::query("update mailer.batches set detail = $3 where tenant = $1 and batch_id = $2")
            .bind(cx.tenant())
            .bind(plan.batch_id)
            .bind(format!("its file could not be read: {detail}"))
            .execute(cx.db())
            .await?;
        Ok(Events::none())
    }
}

impl Mailer {
    async fn read(&self, plan: &ReadPlan) -> anyhow::Result<Chunk> {
        let object = self.objects.open(&plan.bucket, &plan.object).await?;
        let mut reader = BufReader::new(object);
        let (mut bytes, mut number) = (Vec::new(), 0u32);
        let mut chunk = Chunk { lines: Vec::new(), more: false, upto: plan.after };
        loop {
            bytes.clear();
            if reader.read_until(b'\n', &mut bytes).await? == 0 {
                return Ok(chunk);
            }
            number += 1;
            if number <= plan.after {
                continue;
            }
            if chunk.lines.len() == CHUNK || chunk.upto - plan.after >= 10 * CHUNK as u32 {
                chunk.more = true;
                return Ok(chunk);
            }
            chunk.upto = number;
            let line = bytes.trim_ascii();
            if !line.is_empty() {
                chunk.lines.push(read_line(number, line));
            }
        }
    }
}

fn read_line(row: u32, line: &[u8]) -> Line {
    match body::decode_strict::<BatchRecipient>(Encoding::Json, line) {
        Ok(recipient) => Line::of(row, recipient),
        Err(faults) => {
            let reason = faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            let reason = reason.chars().take(500).collect();
            Line { row, address: String::new(), variables: Map::new(), rejected: Some(reason) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_no_recipient_says_why_without_its_values() {
        for (line, words) in [
            (r#"{"to": "nonsense"}"#, "/to"),
            (r#"{"to": "a@example.com", "name": "secretvalue"}"#, "/name: unknown field"),
            ("{", "EOF"),
            (r#"{"to": 5}"#, "/to"),
        ] {
            let reason = read_line(1, line.as_bytes()).rejected.unwrap();
            assert!(reason.contains(words) && !reason.contains("secretvalue"), "{reason}");
        }
        assert_eq!(read_line(7, br#"{"to": "a@example.com"}"#).rejected, None);
    }
}
