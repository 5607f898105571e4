//! What stands in the attempt ledger while a mail is out: all that it is made of, and to whom it goes.

use chrono::{DateTime, Utc};
use omnibus_schemas::mailer::{Provider, SendEmail};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What is about to leave. From the same plan come the same bytes, but for the time in a DKIM signature.
#[derive(Clone, Serialize, Deserialize)]
pub struct Plan {
    pub(crate) email_id: Uuid,
    pub(crate) email: SendEmail,
    pub(crate) message_id: String,
    /// When the mail was queued: its `Date`.
    pub(crate) date: DateTime<Utc>,
    pub(crate) way: Provider,
    pub(crate) from: String,
    pub(crate) from_name: Option<String>,
    /// How many recipients the mail has in all.
    pub(crate) total: u32,
    /// Those to whom it goes now.
    pub(crate) to: Vec<Addressee>,
    /// Those to whom it does not go, and why.
    pub(crate) suppressed: Vec<(u32, String)>,
    /// The link of its one recipient.
    pub(crate) unsubscribe: Option<String>,
    /// Where the files lie that were uploaded before, by their place among the attachments.
    pub(crate) stored: Vec<Stored>,
    /// See [`super::Order::unheard`].
    pub(crate) unheard: bool,
    /// Attempts before this one of which nobody knows whether they happened.
    #[serde(default)]
    pub(crate) unclear: usize,
    pub(crate) batch: Option<(Uuid, u32)>,
}

/// A recipient of this attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Addressee {
    pub(crate) recipient: u32,
    pub(crate) address: String,
    /// Attempts before this one.
    pub(crate) tries: u32,
}

/// An uploaded file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stored {
    /// Which of the attachments.
    pub(crate) place: usize,
    pub(crate) bucket: String,
    pub(crate) name: String,
    pub(crate) filename: String,
    pub(crate) content_type: String,
    pub(crate) size: u64,
    /// SHA-256 of what is in it, lower case hex: another file under the same name must not leave.
    pub(crate) sha256: String,
}
