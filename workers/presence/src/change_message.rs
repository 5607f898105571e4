//! Says it otherwise, or takes it back.

use omnibus_runtime::{Cx, Events, Fail, Handle};
use omnibus_schemas::Token;
use omnibus_schemas::presence::{DeleteMessage, EditMessage, File, Kind, MessageDeleted, MessageEdited, Role, What};
use serde_json::Value;
use uuid::Uuid;

use crate::Presence;
use crate::channel::{entry, hold, next};
use crate::discarded::let_go;
use crate::post_message::check_text;
use crate::who::{acting, member};

/// A message as far as it matters to whoever wants to change it.
struct Standing {
    author: String,
    deleted: bool,
    attachments: Vec<File>,
}

async fn standing(cx: &mut Cx<'_>, room: &Token, message_id: Uuid) -> Result<Standing, Fail> {
    let tenant = cx.tenant();
    let row: Option<(String, bool, Value)> = sqlx::query_as(
        "select user_id, deleted_at is not null, attachments from presence.messages
         where tenant = $1 and room_id = $2 and message_id = $3",
    )
    .bind(tenant)
    .bind(room.as_str())
    .bind(message_id)
    .fetch_optional(cx.db())
    .await?;
    let (author, deleted, attachments) =
        row.ok_or_else(|| Fail::reject("no_such_message", "the room has no such message"))?;
    Ok(Standing { author, deleted, attachments: serde_json::from_value(attachments)? })
}

impl Handle<EditMessage> for Presence {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: EditMessage) -> Result<Events, Fail> {
        let user = acting(cx.meta(), cmd.user)?;
        let EditMessage { room_id: room, message_id, text, .. } = cmd;
        // Whoever leaves at this moment has either left before, or is still there.
        hold(cx, &room).await?;
        member(cx, &room, &user).await?;
        check_text(&text)?;
        let found = standing(cx, &room, message_id).await?;
        if found.author != user.as_str() {
            return Err(Fail::reject("not_the_author", "only who wrote a message can change it"));
        }
        if found.deleted {
            return Err(Fail::reject("message_deleted", "the message was taken back"));
        }
        let revision = next(cx, Kind::Room, room.as_str()).await?;
        let (tenant, now) = (cx.tenant(), cx.now());
        sqlx::query(
            "update presence.messages set text = $4, edited_at = $5
             where tenant = $1 and room_id = $2 and message_id = $3",
        )
        .bind(tenant)
        .bind(room.as_str())
        .bind(message_id)
        .bind(&text)
        .bind(now)
        .execute(cx.db())
        .await?;
        Ok(entry(cx, Kind::Room, room.as_str(), revision, What::Edited { message_id, text })
            .about(room.as_str(), MessageEdited { room_id: room.clone(), message_id, revision }))
    }
}

impl Handle<DeleteMessage> for Presence {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: DeleteMessage) -> Result<Events, Fail> {
        let user = acting(cx.meta(), cmd.user)?;
        let DeleteMessage { room_id: room, message_id, .. } = cmd;
        hold(cx, &room).await?;
        let role = member(cx, &room, &user).await?;
        let found = standing(cx, &room, message_id).await?;
        if found.author != user.as_str() && role != Role::Moderator {
            return Err(Fail::reject("not_the_author", "only who wrote a message, or a moderator, can take it back"));
        }
        if found.deleted {
            return Err(Fail::reject("message_deleted", "the message was taken back before"));
        }
        let revision = next(cx, Kind::Room, room.as_str()).await?;
        let (tenant, now) = (cx.tenant(), cx.now());
        sqlx::query(
            "update presence.messages set text = '', mentions = '{}', attachments = '[]', deleted_at = $4
             where tenant = $1 and room_id = $2 and message_id = $3",
        )
        .bind(tenant)
        .bind(room.as_str())
        .bind(message_id)
        .bind(now)
        .execute(cx.db())
        .await?;
        sqlx::query(
            "update presence.channels set messages = messages - 1 where tenant = $1 and kind = 'room' and id = $2",
        )
        .bind(tenant)
        .bind(room.as_str())
        .execute(cx.db())
        .await?;
        let files: Vec<Uuid> = found.attachments.iter().map(|file| file.file_id).collect();
        let_go(cx, &room, &files).await?;
        Ok(entry(cx, Kind::Room, room.as_str(), revision, What::Deleted { message_id })
            .about(room.as_str(), MessageDeleted { room_id: room.clone(), message_id, by: user, revision }))
    }
}
