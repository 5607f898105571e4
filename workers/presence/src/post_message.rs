//! Says something in a room.

use omnibus_runtime::{Cx, Events, Fail, Handle};
use omnibus_schemas::presence::{File, Kind, Message, MessagePosted, PostMessage, What};
use omnibus_schemas::{Fault, Token};

use crate::Presence;
use crate::channel::{entry, next};
use crate::files;
use crate::who::{acting, member};

impl Handle<PostMessage> for Presence {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: PostMessage) -> Result<Events, Fail> {
        let user = acting(cx, cmd.user.clone())?;
        let (tenant, now, message_id) = (cx.tenant(), cx.now(), cx.meta().id);
        member(cx, &cmd.room_id, &user).await?;
        check_text(&cmd.text)?;
        let attachments = check_references(cx, &cmd, &user).await?;
        let PostMessage { room_id: room, text, reply_to, mentions, .. } = cmd;
        let revision = next(cx, Kind::Room, room.as_str()).await?;
        sqlx::query(
            "insert into presence.messages
                (tenant, room_id, message_id, revision, user_id, text, reply_to, mentions, posted_at,
                 attachments)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        )
        .bind(tenant)
        .bind(room.as_str())
        .bind(message_id)
        .bind(revision)
        .bind(user.as_str())
        .bind(&text)
        .bind(reply_to)
        .bind(mentions.iter().map(Token::as_str).collect::<Vec<_>>())
        .bind(now)
        .bind(serde_json::to_value(&attachments)?)
        .execute(cx.db())
        .await?;
        let looks = self.look_after(cx, &room, &user, &mentions).await?;
        let said = Message { message_id, user: user.clone(), text, reply_to, mentions: mentions.clone(), attachments };
        let posted = MessagePosted { room_id: room.clone(), message_id, user, mentions, revision };
        Ok(entry(cx, Kind::Room, room.as_str(), revision, What::Message(said)).about(room.as_str(), posted).join(looks))
    }
}

/// PostgreSQL keeps every character but one.
pub(crate) fn check_text(text: &str) -> Result<(), Fail> {
    match text.contains('\0') {
        true => Err(Fail::Invalid(vec![Fault::new("/text", "holds the character U+0000; plain text does not")])),
        false => Ok(()),
    }
}

/// What a message refers to must be of its room, and its files its author's. Returns the files.
async fn check_references(cx: &mut Cx<'_>, cmd: &PostMessage, author: &Token) -> Result<Vec<File>, Fail> {
    let (tenant, room) = (cx.tenant(), cmd.room_id.as_str());
    let mut faults = Vec::new();
    if let Some(answered) = cmd.reply_to {
        let known: bool = sqlx::query_scalar(
            "select exists (select from presence.messages where tenant = $1 and room_id = $2 and message_id = $3)",
        )
        .bind(tenant)
        .bind(room)
        .bind(answered)
        .fetch_one(cx.db())
        .await?;
        if !known {
            faults.push(Fault::new("/reply_to", "is no message of this room"));
        }
    }
    if !cmd.mentions.is_empty() {
        let named: Vec<_> = cmd.mentions.iter().map(Token::as_str).collect();
        let known: Vec<String> = sqlx::query_scalar(
            "select user_id from presence.members where tenant = $1 and room_id = $2 and user_id = any($3)",
        )
        .bind(tenant)
        .bind(room)
        .bind(named)
        .fetch_all(cx.db())
        .await?;
        for (n, mention) in cmd.mentions.iter().enumerate() {
            if !known.iter().any(|user| user == mention.as_str()) {
                faults.push(Fault::new(format!("/mentions/{n}"), "is no member of this room"));
            }
        }
    }
    let mut files = Vec::new();
    for (n, file_id) in cmd.attachments.iter().enumerate() {
        let found = sqlx::query(
            "select * from presence.files where tenant = $1 and room_id = $2 and file_id = $3 and user_id = $4",
        )
        .bind(tenant)
        .bind(room)
        .bind(file_id)
        .bind(author.as_str())
        .fetch_optional(cx.db())
        .await?;
        match found {
            Some(row) => files.push(files::read(&row)?),
            None => faults.push(Fault::new(format!("/attachments/{n}"), "is no file that its author brought here")),
        }
    }
    match faults.is_empty() {
        true => Ok(files),
        false => Err(Fail::Invalid(faults)),
    }
}
