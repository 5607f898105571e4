//! Asking about one mail.

use chrono::{DateTime, Utc};
use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{EmailState, an_email};
use crate::contract::{Http, Query};

/// Asks how far an email has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct EmailStatus {
    /// The id that the door answered.
    #[garde(skip)]
    pub email_id: Uuid,
}

/// How a recipient is addressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecipientKind {
    /// In the header `To`.
    To,
    /// In the header `Cc`.
    Cc,
    /// In no header.
    Bcc,
}

impl RecipientKind {
    /// As it stands in rows.
    pub const fn as_str(self) -> &'static str {
        match self {
            RecipientKind::To => "to",
            RecipientKind::Cc => "cc",
            RecipientKind::Bcc => "bcc",
        }
    }

    /// The reverse of [`RecipientKind::as_str`].
    pub fn parse(word: &str) -> Option<Self> {
        [RecipientKind::To, RecipientKind::Cc, RecipientKind::Bcc].into_iter().find(|kind| kind.as_str() == word)
    }
}

/// How far one recipient's copy has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeliveryReport {
    /// Its number in events, counted from 0.
    pub recipient: u32,
    /// The address.
    pub address: String,
    /// How it is addressed.
    pub kind: RecipientKind,
    /// How far it has come.
    pub status: EmailState,
    /// How often a server was asked to take it.
    pub tries: u32,
    /// When it came there.
    pub at: DateTime<Utc>,
    /// What the server said last, without addresses.
    pub detail: Option<String>,
}

/// How far an email has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EmailReport {
    /// The email's id.
    pub email_id: Uuid,
    /// How far it has come as a whole.
    pub status: EmailState,
    /// Its `Message-ID` header.
    pub message_id: String,
    /// The stream it belongs to.
    pub stream: String,
    /// How many recipients it is addressed to.
    pub recipients: u32,
    /// When it was accepted.
    pub queued_at: DateTime<Utc>,
    /// When it is or was to leave, if not at once.
    pub send_at: Option<DateTime<Utc>>,
    /// When the next server took it over first.
    pub sent_at: Option<DateTime<Utc>>,
    /// By which way it left, or is to leave: `smtp`, `sendgrid` or `file`.
    pub transport: Option<String>,
    /// What the server said, or the last error.
    pub detail: Option<String>,
    /// Each recipient by itself.
    pub deliveries: Vec<DeliveryReport>,
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

/// Asks for an email as it was made. Of a confidential one, neither subject nor text are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct RenderedEmail {
    /// The id that the door answered.
    #[garde(skip)]
    pub email_id: Uuid,
}

/// A file that went with a mail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StoredAttachment {
    /// Its name.
    pub filename: String,
    /// Its media type.
    pub content_type: String,
    /// In bytes.
    pub size: u64,
}

/// An email as it was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EmailPage {
    /// The email's id.
    pub email_id: Uuid,
    /// Its `Message-ID` header.
    pub message_id: String,
    /// The sender.
    pub from: Option<String>,
    /// The stream it belongs to.
    pub stream: String,
    /// The template it was made by, if one was.
    pub template: Option<String>,
    /// Does it hold a secret? Then the three fields below are absent.
    pub confidential: bool,
    /// The subject.
    pub subject: Option<String>,
    /// The text.
    pub text: Option<String>,
    /// The HTML, if it has any.
    pub html: Option<String>,
    /// The files that went with it, without what is in them.
    pub attachments: Vec<StoredAttachment>,
}

impl Query for RenderedEmail {
    type Answer = EmailPage;
    const DOMAIN: &'static str = "mailer";
    const NAME: &'static str = "rendered_email";
    const HTTP: Option<Http> = Some(Http::get("/api/v1/email/{email_id}"));
    const SCOPE: &'static str = "email:read";

    fn example() -> Self {
        RenderedEmail { email_id: an_email() }
    }
}
