//! Email: what the mailer takes, says and answers.

mod templates;

pub use templates::{
    ActivateTemplate, DeleteTemplate, OneTemplate, Origin, Preview, PreviewTemplate, Replay, ReplayTemplate,
    ReplayedMail, SaveTemplate, TemplateActivated, TemplateDeleted, TemplateDraft, TemplateList, TemplatePage,
    TemplateSaved, TemplateSummary, TemplateVersion, Templates,
};

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::catalogue::Domain;
use crate::contract::{Command, Event, Http, Query};

/// The domain's catalogue.
pub fn domain() -> Domain {
    templates::declare(Domain::new("mailer", "Email"))
        .command::<SendEmail>()
        .event::<EmailSent>()
        .event::<EmailFailed>()
        .event::<EmailUncertain>()
        .query::<EmailStatus>()
}

/// Sends one email. 202 means accepted, not delivered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct SendEmail {
    /// Recipients, 1 to 50 addresses.
    #[garde(length(min = 1, max = 50), inner(email, length(max = 254)))]
    pub to: Vec<String>,
    /// Recipients of a copy, at most 50 addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[garde(length(max = 50), inner(email, length(max = 254)))]
    pub cc: Vec<String>,
    /// Recipients whom the others don't see, at most 50 addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[garde(length(max = 50), inner(email, length(max = 254)))]
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
}

/// Headers that the mailer writes itself. RFC 5322 §3.6 and what authenticates a mail.
const RESERVED: &[&str] = &[
    "bcc",
    "cc",
    "content-transfer-encoding",
    "content-type",
    "date",
    "dkim-signature",
    "from",
    "message-id",
    "mime-version",
    "received",
    "reply-to",
    "return-path",
    "sender",
    "subject",
    "to",
];

/// [`one_line`], for the JSON Schema.
const ONE_LINE: &str = r"^[^\u0000-\u001F\u007F-\u009F]*$";

/// The names that [`free_headers`] lets through, for the JSON Schema. Patterns know no case, so each letter has both.
fn free_header_name() -> Value {
    let any_case = |name: &&str| -> String {
        name.chars()
            .map(|c| match c.is_ascii_alphabetic() {
                true => format!("[{}{c}]", c.to_ascii_uppercase()),
                false => c.to_string(),
            })
            .collect()
    };
    let reserved = RESERVED.iter().map(any_case).collect::<Vec<_>>().join("|");
    json!({ "pattern": "^[A-Za-z0-9_-]{1,76}$", "not": { "pattern": format!("^(?:{reserved})$") } })
}

/// A line break in a header starts another header, or the body: header injection.
fn one_line(text: &str, _: &()) -> garde::Result {
    match text.chars().any(char::is_control) {
        true => Err(garde::Error::new("must be one line without control characters")),
        false => Ok(()),
    }
}

fn free_headers(headers: &BTreeMap<String, String>, _: &()) -> garde::Result {
    for (name, value) in headers {
        let token = !name.is_empty()
            && name.len() <= 76
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if !token {
            return Err(garde::Error::new("a header's name must be 1 to 76 characters of A-Z, a-z, 0-9, '-' and '_'"));
        }
        if RESERVED.contains(&name.to_ascii_lowercase().as_str()) {
            return Err(garde::Error::new(format!("the header {name} is written by the mailer and can't be set")));
        }
        if value.len() > 998 || value.chars().any(char::is_control) {
            return Err(garde::Error::new(format!(
                "the header {name} must be one line of at most 998 bytes without control characters"
            )));
        }
    }
    Ok(())
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
        }
    }
}

fn an_email() -> Uuid {
    Uuid::from_u128(0x0197_9f6e_5a00_7000_8000_0000_0000_0003)
}

/// The next server has taken the mail over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EmailSent {
    /// The email's id, which is the command's.
    pub email_id: Uuid,
    /// The `Message-ID` header, the same on every attempt.
    pub message_id: String,
    /// How many recipients it was addressed to.
    pub recipients: u32,
    /// How many of those the server did not take, while it took the others.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub refused: u32,
    /// `smtp` or `file`.
    pub transport: String,
}

fn is_zero(count: &u32) -> bool {
    *count == 0
}

impl Event for EmailSent {
    const DOMAIN: &'static str = "mailer";
    const NAME: &'static str = "email_sent";

    fn example() -> Self {
        EmailSent {
            email_id: an_email(),
            message_id: "<01979f6e-5a00-7000-8000-000000000003@example.com>".into(),
            recipients: 1,
            refused: 0,
            transport: "smtp".into(),
        }
    }
}

/// The mail was refused for good, or given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EmailFailed {
    /// The email's id.
    pub email_id: Uuid,
    /// `refused`, `gave_up` or `dropped`.
    pub code: String,
    /// What the server said, or the last error.
    pub detail: String,
}

impl Event for EmailFailed {
    const DOMAIN: &'static str = "mailer";
    const NAME: &'static str = "email_failed";

    fn example() -> Self {
        EmailFailed { email_id: an_email(), code: "refused".into(), detail: "550 5.1.1 no such user".into() }
    }
}

/// Whether the mail left is not known; it is not sent again unless a person says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EmailUncertain {
    /// The email's id.
    pub email_id: Uuid,
    /// What is known.
    pub detail: String,
}

impl Event for EmailUncertain {
    const DOMAIN: &'static str = "mailer";
    const NAME: &'static str = "email_uncertain";

    fn example() -> Self {
        EmailUncertain { email_id: an_email(), detail: "no answer after the final dot".into() }
    }
}

/// Asks how far an email has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct EmailStatus {
    /// The id that the door answered.
    #[garde(skip)]
    pub email_id: Uuid,
}

/// How far an email can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EmailState {
    /// Accepted; not yet with the next server.
    Queued,
    /// The next server has it.
    Sent,
    /// Refused for good, or given up.
    Failed,
    /// Whether it left is not known.
    Uncertain,
}

/// How far an email has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EmailReport {
    /// The email's id.
    pub email_id: Uuid,
    /// How far it has come.
    pub status: EmailState,
    /// Its `Message-ID` header.
    pub message_id: String,
    /// How many recipients it is addressed to.
    pub recipients: u32,
    /// When it was accepted.
    pub queued_at: DateTime<Utc>,
    /// When the next server took it over.
    pub sent_at: Option<DateTime<Utc>>,
    /// What the server said, or the last error.
    pub detail: Option<String>,
}

impl Query for EmailStatus {
    type Answer = EmailReport;
    const DOMAIN: &'static str = "mailer";
    const NAME: &'static str = "email_status";
    const HTTP: Option<Http> = Some(Http::get("/api/v1/email/{email_id}/status"));
    const SCOPE: &'static str = "email:read";

    fn example() -> Self {
        EmailStatus { email_id: an_email() }
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
        for name in ["From", "to", "Message-ID", "DKIM-Signature", "return-path"] {
            assert_eq!(faults_of(|e| e.headers = [(name.into(), "x".into())].into()), ["/headers"], "{name}");
        }
        assert_eq!(faults_of(|e| e.headers = [("X-Campaign".into(), "spring".into())].into()), [""; 0]);
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
