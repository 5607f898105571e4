//! Reads a batch's rows from its file, so many lines at a time: neither the file nor the batch is ever held whole.

use omnibus_runtime::{CallError, Cx, Effect, Events, Fail, Found, Meta, Prepared, Settled, WhenUncertain};
use omnibus_schemas::body::{self, Encoding};
use omnibus_schemas::mailer::{BatchRecipient, ExpandBatch, ReadBatch};
use serde::{Deserialize, Serialize};
use serde_json::Map;
use sqlx::Row;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, BufReader};
use uuid::Uuid;

use super::rows::{self, Line};
use crate::Mailer;

/// Lines of one reading: each begins at the file's first byte, for an object store has no other.
const CHUNK: usize = 5000;
/// Bytes of one reading, which stand in memory together.
const CHUNK_BYTES: usize = 4 << 20;
/// Bytes of one line: a file without line ends must not stand in memory whole.
const LONGEST_LINE: usize = 256 << 10;
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
        read_chunk(&mut BufReader::new(object), plan.after).await
    }
}

/// The lines behind the first `after` ones, as many as make a chunk.
async fn read_chunk<R: AsyncBufRead + Unpin>(reader: &mut R, after: u32) -> anyhow::Result<Chunk> {
    let (mut bytes, mut number, mut held) = (Vec::new(), 0u32, 0usize);
    let mut chunk = Chunk { lines: Vec::new(), more: false, upto: after };
    loop {
        bytes.clear();
        let fits = next_line(reader, &mut bytes).await?;
        if bytes.is_empty() {
            return Ok(chunk);
        }
        number += 1;
        if number <= after {
            continue;
        }
        let full = chunk.lines.len() == CHUNK || held > CHUNK_BYTES;
        if full || chunk.upto - after >= 10 * CHUNK as u32 {
            chunk.more = true;
            return Ok(chunk);
        }
        chunk.upto = number;
        held += bytes.len();
        let line = bytes.trim_ascii();
        match fits {
            true if line.is_empty() => {}
            true => chunk.lines.push(read_line(number, line)),
            false => chunk.lines.push(rejected(number, format!("the line has more than {LONGEST_LINE} bytes"))),
        }
    }
}

/// One line with its end, or nothing at the file's end. What is longer than a line may be is passed over: `false`.
async fn next_line<R: AsyncBufRead + Unpin>(reader: &mut R, bytes: &mut Vec<u8>) -> std::io::Result<bool> {
    (&mut *reader).take(LONGEST_LINE as u64 + 1).read_until(b'\n', bytes).await?;
    if bytes.len() <= LONGEST_LINE || bytes.ends_with(b"\n") {
        return Ok(true);
    }
    bytes.truncate(1);
    loop {
        let more = reader.fill_buf().await?;
        let end = more.iter().position(|byte| *byte == b'\n');
        let passed = end.map_or(more.len(), |at| at + 1);
        reader.consume(passed);
        if end.is_some() || passed == 0 {
            return Ok(false);
        }
    }
}

fn rejected(row: u32, reason: String) -> Line {
    Line { row, address: String::new(), variables: Map::new(), rejected: Some(reason) }
}

fn read_line(row: u32, line: &[u8]) -> Line {
    match body::decode_strict::<BatchRecipient>(Encoding::Json, line) {
        Ok(recipient) => Line::of(row, recipient),
        Err(faults) => {
            let reason = faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            rejected(row, reason.chars().take(500).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_line_that_is_too_long_is_one_rejected_row_and_is_not_held() {
        let long = "x".repeat(3 * LONGEST_LINE);
        let file = format!("{{\"to\": \"a@example.com\"}}\n{long}\n\n{{\"to\": \"b@example.com\"}}");
        let chunk = read_chunk(&mut file.as_bytes(), 0).await.unwrap();
        let rows: Vec<_> = chunk.lines.iter().map(|line| (line.row, line.rejected.is_some())).collect();
        assert_eq!((rows, chunk.more, chunk.upto), (vec![(1, false), (2, true), (4, false)], false, 4));
        assert!(chunk.lines[1].rejected.as_ref().unwrap().contains("262144 bytes"));
        assert_eq!(read_chunk(&mut long.as_bytes(), 0).await.unwrap().lines.len(), 1);
        assert_eq!(read_chunk(&mut &b""[..], 0).await.unwrap().upto, 0);
    }

    #[tokio::test]
    async fn a_file_is_read_in_chunks_each_of_which_begins_where_the_last_ended() {
        let file: String = (0..CHUNK + 7).map(|n| format!("{{\"to\": \"r{n}@example.com\"}}\n")).collect();
        let first = read_chunk(&mut file.as_bytes(), 0).await.unwrap();
        assert_eq!((first.lines.len(), first.more, first.upto as usize), (CHUNK, true, CHUNK));
        let second = read_chunk(&mut file.as_bytes(), first.upto).await.unwrap();
        assert_eq!((second.lines.len(), second.more), (7, false));
        assert_eq!(second.lines[0].row, first.upto + 1);
    }

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
