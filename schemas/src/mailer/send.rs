//! One mail, as its sender asks for it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::rules::{
    CONTENT_ID, FILE_NAME, MEDIA_TYPE, ONE_LINE, TOKEN, content_id_text, file_name, free_header_name, free_headers,
    media_type, one_line, token,
};
use crate::contract::{Command, Http};

/// The stream of mails that somebody waits for.
pub const TRANSACTIONAL: &str = "transactional";

fn transactional() -> String {
    TRANSACTIONAL.to_owned()
}

fn is_transactional(stream: &String) -> bool {
    stream == TRANSACTIONAL
}

/// Sends one email. 202 means accepted, not delivered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct SendEmail {
    /// Recipients, 1 to 50 addresses.
    #[garde(length(min = 1, max = 50), inner(email, length(max = 254)))]
    #[schemars(extend("x-personal" = "subject"))]
    pub to: Vec<String>,
    /// Recipients of a copy, at most 50 addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[garde(length(max = 50), inner(email, length(max = 254)))]
    #[schemars(extend("x-personal" = "subject"))]
    pub cc: Vec<String>,
    /// Recipients whom the others don't see, at most 50 addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[garde(length(max = 50), inner(email, length(max = 254)))]
    #[schemars(extend("x-personal" = "subject"))]
    pub bcc: Vec<String>,
    /// The sender's address; the configured one if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(email, length(max = 254)))]
    #[schemars(email, length(max = 254))]
    pub from: Option<String>,
    /// The sender's name, shown beside the address. At most 200 characters, on one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(chars, min = 1, max = 200), custom(one_line)))]
    #[schemars(length(min = 1, max = 200), regex(pattern = ONE_LINE))]
    pub from_name: Option<String>,
    /// Where an answer goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(email, length(max = 254)))]
    #[schemars(email, length(max = 254))]
    pub reply_to: Option<String>,
    /// 1 to 500 characters, on one line.
    #[garde(length(chars, min = 1, max = 500), custom(one_line))]
    #[schemars(regex(pattern = ONE_LINE))]
    pub subject: String,
    /// The text, at most 512 KiB.
    #[garde(length(max = 524_288))]
    pub body: String,
    /// The same as HTML, at most 512 KiB. The mail then carries both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(max = 524_288)))]
    #[schemars(length(max = 524_288))]
    pub html: Option<String>,
    /// Further headers, at most 20. Those that the mailer writes itself are refused.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[garde(length(max = 20), custom(free_headers))]
    #[schemars(extend(
        "maxProperties" = 20,
        "propertyNames" = free_header_name(),
        "additionalProperties" = json!({ "type": "string", "maxLength": 998, "pattern": ONE_LINE })
    ))]
    pub headers: BTreeMap<String, String>,
    /// The stream: `transactional`, `marketing` or a name of the tenant's own. Suppressions and routes hold by stream; a
    /// mail of a marketing stream has one recipient and carries an unsubscribe link.
    #[serde(default = "transactional", skip_serializing_if = "is_transactional")]
    #[garde(custom(token))]
    #[schemars(regex(pattern = TOKEN))]
    pub stream: String,
    /// Files, at most 10 and 10 MB in all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[garde(length(max = 10), dive)]
    pub attachments: Vec<Attachment>,
    /// Not before this time; at most a year ahead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub send_at: Option<DateTime<Utc>>,
    /// Not before this time on the clocks of `time_zone`, such as `2026-03-29T09:00`. Instead of `send_at`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(max = 32)))]
    #[schemars(length(max = 32))]
    pub send_at_local: Option<String>,
    /// The IANA zone of `send_at_local`, such as `Europe/Berlin`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(max = 64)))]
    #[schemars(length(max = 64))]
    pub time_zone: Option<String>,
    /// What the mail is about, such as `invoice-4711`: all mails with it can be taken back at once while they have not
    /// left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(chars, min = 1, max = 200), custom(one_line)))]
    #[schemars(length(min = 1, max = 200), regex(pattern = ONE_LINE))]
    pub cancel_key: Option<String>,
    /// What to do when nobody can know whether it left.
    #[serde(default, skip_serializing_if = "Uncertain::is_hold")]
    #[garde(skip)]
    pub when_uncertain: Uncertain,
    /// Does it hold a secret, such as a code or a reset link? Then neither subject nor text are kept to be looked at.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[garde(skip)]
    pub confidential: bool,
}

/// What to do when nobody can know whether a mail left.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Uncertain {
    /// Stop, and let a person decide.
    #[default]
    Hold,
    /// Send it again, as the same mail: twice is better than not at all, as with a reset link.
    Resend,
}

impl Uncertain {
    fn is_hold(&self) -> bool {
        *self == Uncertain::Hold
    }
}

/// A file that goes with a mail. Either `content` or `attachment_id` says what is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct Attachment {
    /// Its name for the recipient, 1 to 200 characters, without folders. For an uploaded file, its own if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(chars, min = 1, max = 200), custom(file_name)))]
    #[schemars(length(min = 1, max = 200), regex(pattern = FILE_NAME))]
    pub filename: Option<String>,
    /// Its media type, such as `application/pdf`. For an uploaded file, its own if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(custom(media_type)))]
    #[schemars(regex(pattern = MEDIA_TYPE), extend("examples" = ["application/pdf"]))]
    pub content_type: Option<String>,
    /// What is in it, as base64 (RFC 4648 §4). The command as a whole must stay below 1 MB: upload what is larger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(max = 1_000_000)))]
    #[schemars(length(max = 1_000_000))]
    pub content: Option<String>,
    /// A file that was uploaded before, by the id that `POST /api/v1/email/attachments` answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub attachment_id: Option<Uuid>,
    /// For an image inside the HTML: `<img src="cid:logo">` shows the one whose content id is `logo`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(min = 1, max = 100), custom(content_id_text)))]
    #[schemars(length(min = 1, max = 100), regex(pattern = CONTENT_ID))]
    pub content_id: Option<String>,
}

impl Command for SendEmail {
    const DOMAIN: &'static str = "mailer";
    const NAME: &'static str = "send_email";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/email/send"));
    const SCOPE: &'static str = "email:send";
    const STATUS: Option<&'static str> = Some("/api/v1/email/{id}/status");

    fn example() -> Self {
        SendEmail {
            to: vec!["test@example.com".into()],
            cc: vec![],
            bcc: vec![],
            from: None,
            from_name: None,
            reply_to: None,
            subject: "Test".into(),
            body: "Hello".into(),
            html: None,
            headers: BTreeMap::new(),
            stream: transactional(),
            attachments: vec![],
            send_at: None,
            send_at_local: None,
            time_zone: None,
            cancel_key: None,
            when_uncertain: Uncertain::Hold,
            confidential: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::validate;

    fn faults_of(change: impl FnOnce(&mut SendEmail)) -> Vec<String> {
        let mut email = SendEmail::example();
        change(&mut email);
        validate(&email).map(|()| vec![]).unwrap_or_else(|faults| faults.into_iter().map(|f| f.pointer).collect())
    }

    #[test]
    fn the_first_body_that_people_try_is_valid() {
        let body = br#"{"to": ["test@example.com"], "subject": "Test", "body": "Hello"}"#;
        let email: SendEmail = crate::body::decode_strict(crate::Encoding::Json, body).unwrap();
        assert_eq!(validate(&email), Ok(()));
    }

    #[test]
    fn a_line_break_in_a_header_is_refused() {
        assert_eq!(faults_of(|e| e.subject = "Hi\r\nBcc: x@example.com".into()), ["/subject"]);
        assert_eq!(faults_of(|e| e.from_name = Some("A\nB".into())), ["/from_name"]);
        assert_eq!(faults_of(|e| e.to = vec!["a@example.com\r\nBcc: b@example.com".into()]), ["/to/0"]);
        assert_eq!(faults_of(|e| e.headers = [("X-A".into(), "1\r\nBcc: b@c.de".into())].into()), ["/headers"]);
        assert_eq!(faults_of(|e| e.headers = [("X-A\r\nB".into(), "1".into())].into()), ["/headers"]);
    }

    #[test]
    fn a_header_that_the_mailer_writes_is_refused() {
        let written = [
            "From",
            "To",
            "Cc",
            "Bcc",
            "Sender",
            "Date",
            "Subject",
            "Content-Type",
            "MIME-Version",
            "DKIM-Signature",
            "Return-Path",
            "Message-ID",
            "to",
            "MESSAGE-id",
            "List-Unsubscribe",
            "Reply-To",
        ];
        for name in written {
            assert_eq!(faults_of(|e| e.headers = [(name.into(), "x".into())].into()), ["/headers"], "{name}");
        }
        assert_eq!(faults_of(|e| e.headers = [("X-Campaign".into(), "spring".into())].into()), [""; 0]);
    }

    #[test]
    fn a_files_name_type_and_content_id_are_checked() {
        let attachment = |filename: &str, content_type: &str, content_id: &str| Attachment {
            filename: Some(filename.into()),
            content_type: Some(content_type.into()),
            content: Some("aGk=".into()),
            attachment_id: None,
            content_id: Some(content_id.into()),
        };
        let faults = |attachment: Attachment| faults_of(|e| e.attachments = vec![attachment]);
        assert_eq!(faults(attachment("invoice.pdf", "application/pdf", "logo")), [""; 0]);
        assert_eq!(faults(attachment("../a\r\nX: 1", "application/pdf", "logo")), ["/attachments/0/filename"]);
        assert_eq!(faults(attachment("a/b.pdf", "application/pdf", "logo")), ["/attachments/0/filename"]);
        assert_eq!(faults(attachment("a.pdf", "pdf", "logo")), ["/attachments/0/content_type"]);
        assert_eq!(faults(attachment("a.pdf", "text/plain; x=\r\n", "logo")), ["/attachments/0/content_type"]);
        assert_eq!(faults(attachment("a.pdf", "application/pdf", "a>b")), ["/attachments/0/content_id"]);
        let eleven = vec![attachment("a.pdf", "application/pdf", "logo"); 11];
        assert_eq!(faults_of(|e| e.attachments = eleven), ["/attachments"]);
    }

    #[test]
    fn every_faulty_field_is_told_at_once() {
        let mut faults = faults_of(|e| {
            e.to = vec!["ok@example.com".into(), "nonsense".into()];
            e.subject = String::new();
        });
        faults.sort();
        assert_eq!(faults, ["/subject", "/to/1"]);
    }
}
