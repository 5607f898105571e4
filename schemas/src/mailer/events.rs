//! What the mailer says of mails. None of these holds an address, a text or a code: recipients are numbers, and
//! `GET /api/v1/email/{email_id}/status` says whose they are.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::an_email;
use crate::contract::Event;

/// The mail is accepted and has its row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EmailQueued {
    /// The email's id, which is the command's.
    pub email_id: Uuid,
    /// The `Message-ID` header, the same on every attempt.
    pub message_id: String,
    /// How many recipients it is addressed to.
    pub recipients: u32,
    /// The stream it belongs to.
    pub stream: String,
    /// When it is to leave, if not at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send_at: Option<DateTime<Utc>>,
}

impl Event for EmailQueued {
    const DOMAIN: &'static str = "mailer";
    const NAME: &'static str = "email_queued";

    fn example() -> Self {
        EmailQueued {
            email_id: an_email(),
            message_id: "<01979f6e-5a00-7000-8000-000000000003@example.com>".into(),
            recipients: 1,
            stream: super::TRANSACTIONAL.into(),
            send_at: None,
        }
    }
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
    /// `smtp`, `sendgrid` or `file`.
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

/// The recipient's server has the mail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EmailDelivered {
    /// The email's id.
    pub email_id: Uuid,
    /// Which of its recipients, counted from 0: to, cc, bcc.
    pub recipient: u32,
    /// When, by the one who says so.
    pub at: DateTime<Utc>,
}

impl Event for EmailDelivered {
    const DOMAIN: &'static str = "mailer";
    const NAME: &'static str = "email_delivered";

    fn example() -> Self {
        EmailDelivered { email_id: an_email(), recipient: 0, at: DateTime::UNIX_EPOCH }
    }
}

/// A server said "later" (4xx) to one recipient, who is tried again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EmailDeferred {
    /// The email's id.
    pub email_id: Uuid,
    /// Which of its recipients, counted from 0.
    pub recipient: u32,
    /// How often it has been tried.
    pub tries: u32,
    /// When it is tried next, if the mailer does that; a provider keeps its own times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_at: Option<DateTime<Utc>>,
    /// What the server said.
    pub detail: String,
}

impl Event for EmailDeferred {
    const DOMAIN: &'static str = "mailer";
    const NAME: &'static str = "email_deferred";

    fn example() -> Self {
        EmailDeferred {
            email_id: an_email(),
            recipient: 0,
            tries: 1,
            next_at: Some(DateTime::UNIX_EPOCH),
            detail: "450 4.2.0 greylisted".into(),
        }
    }
}

/// A server refused one recipient for good (5xx), at once or after it had taken the mail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EmailBounced {
    /// The email's id.
    pub email_id: Uuid,
    /// Which of its recipients, counted from 0.
    pub recipient: u32,
    /// Is the address itself no good? It then stands on the suppression list.
    pub hard: bool,
    /// What the server said.
    pub detail: String,
}

impl Event for EmailBounced {
    const DOMAIN: &'static str = "mailer";
    const NAME: &'static str = "email_bounced";

    fn example() -> Self {
        EmailBounced { email_id: an_email(), recipient: 0, hard: true, detail: "550 5.1.1 no such user".into() }
    }
}

/// A recipient called the mail spam. The address is suppressed in the mail's stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EmailComplained {
    /// The email's id.
    pub email_id: Uuid,
    /// Which of its recipients, counted from 0.
    pub recipient: u32,
    /// When, by the one who says so.
    pub at: DateTime<Utc>,
}

impl Event for EmailComplained {
    const DOMAIN: &'static str = "mailer";
    const NAME: &'static str = "email_complained";

    fn example() -> Self {
        EmailComplained { email_id: an_email(), recipient: 0, at: DateTime::UNIX_EPOCH }
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

/// One recipient got no copy, because the address stands on the suppression list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EmailSuppressed {
    /// The email's id.
    pub email_id: Uuid,
    /// Which of its recipients, counted from 0.
    pub recipient: u32,
    /// Why the address stands there: `bounced`, `complained`, `unsubscribed` or `manual`.
    pub reason: String,
}

impl Event for EmailSuppressed {
    const DOMAIN: &'static str = "mailer";
    const NAME: &'static str = "email_suppressed";

    fn example() -> Self {
        EmailSuppressed { email_id: an_email(), recipient: 0, reason: "unsubscribed".into() }
    }
}

/// Whether the mail left is not known; it is not sent again unless its policy or a person says so.
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

/// The mail was taken back before it left, for those recipients who had not got it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EmailCancelled {
    /// The email's id.
    pub email_id: Uuid,
    /// How many recipients will not get it.
    pub recipients: u32,
}

impl Event for EmailCancelled {
    const DOMAIN: &'static str = "mailer";
    const NAME: &'static str = "email_cancelled";

    fn example() -> Self {
        EmailCancelled { email_id: an_email(), recipients: 1 }
    }
}

/// A recipient wants no more mails of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RecipientUnsubscribed {
    /// The email by whose link it was said.
    pub email_id: Uuid,
    /// Which of its recipients, counted from 0.
    pub recipient: u32,
    /// From which stream.
    pub stream: String,
}

impl Event for RecipientUnsubscribed {
    const DOMAIN: &'static str = "mailer";
    const NAME: &'static str = "recipient_unsubscribed";

    fn example() -> Self {
        RecipientUnsubscribed { email_id: an_email(), recipient: 0, stream: "marketing".into() }
    }
}
