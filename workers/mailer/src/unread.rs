//! Somebody was written to in a chat and has not read it: he gets a mail.

use omnibus_runtime::{Cx, Events, Fail, React};
use omnibus_schemas::mailer::{SendTemplate, TRANSACTIONAL};
use omnibus_schemas::presence::MessagesUnread;
use serde_json::{Map, Value};

use crate::Mailer;

/// The template that makes it. A tenant's own of this name takes the place of the one that everybody has.
const TEMPLATE: &str = "notification";

impl React<MessagesUnread> for Mailer {
    async fn react(&self, _: &mut Cx<'_>, event: MessagesUnread) -> Result<Events, Fail> {
        let MessagesUnread { room_id, direct, count, author, email, link, .. } = event;
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
            cancel_key: None,
            resend_uncertain: None,
        }))
    }
}
