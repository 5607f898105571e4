//! Answers to words that come in: each word of a number is answered once a day, so that nobody can make a tenant pay by
//! writing it again and again. And which text is the farewell, the one that an opt-out does not stop.

use omnibus_runtime::{Cx, Fail};
use uuid::Uuid;

use crate::words::{self, Word};

/// Is the word to be answered, by the text of this id? Once for each number, word and day (UTC).
pub(crate) async fn is_due(cx: &mut Cx<'_>, recipient: &str, word: Word, message_id: Uuid) -> Result<bool, Fail> {
    let (tenant, day) = (cx.tenant(), cx.now().date_naive());
    let due = sqlx::query(
        "insert into texter.replies (tenant, recipient, word, day, message_id) values ($1, $2, $3, $4, $5)
         on conflict do nothing",
    )
    .bind(tenant)
    .bind(recipient)
    .bind(word.as_str())
    .bind(day)
    .bind(message_id)
    .execute(cx.db())
    .await?;
    Ok(due.rows_affected() > 0)
}

/// Does this text answer the recipient's own STOP? Whoever else writes the same words does not.
pub(crate) async fn is_farewell(cx: &mut Cx<'_>, recipient: &str, body: &str) -> Result<bool, Fail> {
    if !words::is_farewell(body) {
        return Ok(false);
    }
    let (tenant, message_id) = (cx.tenant(), cx.meta().id);
    let ours = sqlx::query_scalar(
        "select exists (select 1 from texter.replies
                        where tenant = $1 and recipient = $2 and word = 'stop' and message_id = $3)",
    )
    .bind(tenant)
    .bind(recipient)
    .bind(message_id)
    .fetch_one(cx.db())
    .await?;
    Ok(ours)
}
