//! A batch's rows: put in once, each address once.

use omnibus_runtime::Cx;
use omnibus_schemas::body;
use omnibus_schemas::mailer::BatchRecipient;
use serde_json::{Map, Value};
use uuid::Uuid;

/// A row as it came: a recipient, or why it is none.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Line {
    pub(super) row: u32,
    pub(super) address: String,
    pub(super) variables: Map<String, Value>,
    pub(super) rejected: Option<String>,
}

impl Line {
    pub(super) fn of(row: u32, recipient: BatchRecipient) -> Self {
        let rejected = body::validate(&recipient).err().map(|faults| {
            faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ").chars().take(500).collect()
        });
        Line { row, address: recipient.to, variables: recipient.variables, rejected }
    }
}

/// The mail of a row: the same however often its command comes.
pub(super) fn email_of(batch_id: Uuid, row: u32) -> Uuid {
    Uuid::new_v5(&batch_id, format!("row/{row}").as_bytes())
}

/// Writes rows. An address that stands in the batch already is rejected: nobody gets two. It is looked up by the address:
/// the tenant is asked for in words that the table's key can't answer, since of a table of which nothing is known the planner
/// takes the key for as good, and would read the whole batch for each row.
pub(super) async fn insert(cx: &mut Cx<'_>, batch_id: Uuid, lines: &[Line]) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into mailer.batch_rows (tenant, batch_id, row, address, variables, email_id, rejected)
         select $1, $2, row, address, variables, case when reason is null then email_id end, reason from (
             select x.row, x.address, x.variables, x.email_id, coalesce(x.rejected, case
                 when row_number() over (partition by lower(x.address), x.rejected is null order by x.row) > 1
                     or exists (select from mailer.batch_rows b where b.tenant is not distinct from $1 and b.batch_id = $2
                                and lower(b.address) = lower(x.address) and b.rejected is null and b.row <> x.row)
                 then 'the address stands in the batch already' end) as reason
             from unnest($3::int[], $4::text[], $5::jsonb[], $6::uuid[], $7::text[])
                 as x(row, address, variables, email_id, rejected)) y
         on conflict do nothing",
    )
    .bind(cx.tenant())
    .bind(batch_id)
    .bind(lines.iter().map(|line| line.row as i32).collect::<Vec<_>>())
    .bind(lines.iter().map(|line| line.address.replace('\0', "\u{fffd}")).collect::<Vec<_>>())
    .bind(lines.iter().map(|line| without_nul(&line.variables)).collect::<Vec<_>>())
    .bind(lines.iter().map(|line| email_of(batch_id, line.row)).collect::<Vec<_>>())
    .bind(lines.iter().map(|line| line.rejected.clone()).collect::<Vec<_>>())
    .execute(cx.db())
    .await?;
    Ok(())
}

/// jsonb holds no NUL.
fn without_nul(variables: &Map<String, Value>) -> Value {
    let text = Value::Object(variables.clone()).to_string();
    let value = if text.contains("\\u0000") { text.replace("\\u0000", "\\ufffd") } else { text };
    serde_json::from_str(&value).unwrap_or_else(|_| Value::Object(Map::new()))
}

/// Says of a row that it is no mail, and why.
pub(crate) async fn reject_row(cx: &mut Cx<'_>, batch_id: Uuid, row: u32, reason: &str) -> Result<(), sqlx::Error> {
    sqlx::query("update mailer.batch_rows set rejected = $4 where tenant = $1 and batch_id = $2 and row = $3")
        .bind(cx.tenant())
        .bind(batch_id)
        .bind(row as i32)
        .bind(reason.replace('\0', "\u{fffd}"))
        .execute(cx.db())
        .await?;
    Ok(())
}
