//! What was said in a room, as it reads today.

use omnibus_runtime::{Answer, Ask, AskError};
use omnibus_schemas::presence::{HistoryPage, Message, RoomHistory, Said};
use sqlx::Row;

use crate::Presence;
use crate::who::{may_read, token};

impl Answer<RoomHistory> for Presence {
    async fn answer(&self, ask: &mut Ask<'_>, query: RoomHistory) -> Result<HistoryPage, AskError> {
        may_read(ask, &query.room_id).await?;
        let limit = query.limit.unwrap_or(50) as usize;
        let rows = sqlx::query(
            "select * from presence.messages
             where tenant = $1 and room_id = $2 and revision < $3
             order by revision desc limit $4",
        )
        .bind(ask.tenant)
        .bind(query.room_id.as_str())
        .bind(query.before.unwrap_or(i64::MAX))
        .bind(limit as i64 + 1)
        .fetch_all(&mut *ask.db)
        .await?;
        let more = rows.len() > limit;
        let messages = rows.into_iter().take(limit).map(|row| {
            let mentions: Vec<String> = row.try_get("mentions")?;
            let attachments = serde_json::from_value(row.try_get("attachments")?);
            let message = Message {
                message_id: row.try_get("message_id")?,
                user: token(row.try_get("user_id")?)?,
                text: row.try_get("text")?,
                reply_to: row.try_get("reply_to")?,
                mentions: mentions.into_iter().map(token).collect::<Result<_, _>>()?,
                attachments: attachments.map_err(|error| sqlx::Error::Decode(Box::new(error)))?,
            };
            Ok::<_, sqlx::Error>(Said {
                message,
                revision: row.try_get("revision")?,
                at: row.try_get("posted_at")?,
                edited_at: row.try_get("edited_at")?,
                deleted_at: row.try_get("deleted_at")?,
            })
        });
        let messages: Vec<Said> = messages.collect::<Result<_, sqlx::Error>>()?;
        let next = messages.last().filter(|_| more).map(|last| last.revision);
        Ok(HistoryPage { messages, next })
    }
}
