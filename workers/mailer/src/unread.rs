//! Somebody was written to in a chat and has not read it: he gets a mail. Once he has read it, what has not left is taken back.

use omnibus_runtime::{Cx, Events, Fail, React};
use omnibus_schemas::Token;
use omnibus_schemas::mailer::{RetractEmails, SendTemplate, TRANSACTIONAL};
use omnibus_schemas::presence::{MessagesReadLate, MessagesUnread};
use serde_json::{Map, Value};

use crate::Mailer;

/// The template that makes it. A tenant's own of this name takes the place of the one that everybody has.
const TEMPLATE: &str = "notification";

/// What such a mail is about: what this user has not read of that room since then. Read later, it takes back no mail about
/// what came afterwards.
fn cancel_key(room: &Token, user: &Token, told_since: i64) -> String {
    format!("unread:{room}:{user}:{told_since}")
}

impl React<MessagesUnread> for Mailer {
    async fn react(&self, _: &mut Cx<'_>, event: MessagesUnread) -> Result<Events, Fail> {
        let MessagesUnread { user, room_id, direct, count, author, told_since, email, link, .. } = event;
        let (title, waiting) = match direct {
            true => (format!("{author} wrote to you"), "for you"),
            false => (format!("{author} mentioned you in {room_id}"), "that name you"),
        };
        let message = match count {
            1 => format!("A message {waiting} is unread."),
            _ => format!("{count} messages {waiting} are unread."),
        };
        let mut variables =
            Map::from_iter([("title".to_owned(), title.into()), ("message".to_owned(), message.into())]);
        if let Some(link) = link {
            variables.insert("action_url".to_owned(), link.into());
            variables.insert("action_label".to_owned(), Value::from("Read it"));
        }
        Ok(Events::none().then(SendTemplate {
            template: TEMPLATE.to_owned(),
            version: None,
            variables,
            to: vec![email],
            cc: vec![],
            bcc: vec![],
            from: None,
            from_name: None,
            reply_to: None,
            stream: TRANSACTIONAL.to_owned(),
            attachments: vec![],
            send_at: None,
            send_at_local: None,
            time_zone: None,
            cancel_key: Some(cancel_key(&room_id, &user, told_since)),
            resend_uncertain: None,
        }))
    }
}

impl React<MessagesReadLate> for Mailer {
    async fn react(&self, _: &mut Cx<'_>, event: MessagesReadLate) -> Result<Events, Fail> {
        let MessagesReadLate { user, room_id, told_since, .. } = event;
        Ok(Events::none().then(RetractEmails { cancel_key: cancel_key(&room_id, &user, told_since) }))
    }
}
