//! How a mail leaves: over SMTP, or into a folder.

pub mod file;
mod pool;
mod reply;
pub mod smtp;

use chrono::{DateTime, Utc};
use omnibus_runtime::{CallError, Found};
use serde::{Deserialize, Serialize};

pub use file::Folder;
pub use smtp::Smtp;

/// Exactly what is about to leave.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mail {
    /// By which way it is to leave.
    pub way: Way,
    /// Its `Message-ID`.
    pub message_id: String,
    /// The envelope's sender.
    pub sender: String,
    /// The envelope's recipients.
    pub recipients: Vec<String>,
    /// Headers and body, ASCII with CRLF.
    pub text: String,
}

/// A mail is not for logs: neither its addresses nor its text.
impl std::fmt::Debug for Mail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mail")
            .field("way", &self.way)
            .field("message_id", &self.message_id)
            .field("recipients", &self.recipients.len())
            .field("bytes", &self.text.len())
            .finish_non_exhaustive()
    }
}

/// The two ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// A mail server takes it over.
    Smtp,
    /// It is written into a folder.
    File,
}

impl Way {
    /// As it stands in rows and events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Way::Smtp => "smtp",
            Way::File => "file",
        }
    }
}

/// The mail was taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// When.
    pub at: DateTime<Utc>,
    /// Recipients that the server did not take, for good (5xx) or for now (4xx). Fewer than all.
    pub refused: u32,
    /// What the server said to the first of them. No address in it.
    pub detail: Option<String>,
}

/// The way that the settings chose.
#[derive(Debug)]
pub enum Transport {
    /// See [`Smtp`].
    Smtp(Box<Smtp>),
    /// See [`Folder`].
    File(Folder),
}

impl Transport {
    /// Which of the two.
    pub fn way(&self) -> Way {
        match self {
            Transport::Smtp(_) => Way::Smtp,
            Transport::File(_) => Way::File,
        }
    }

    /// Lets the mail leave.
    pub async fn send(&self, mail: &Mail) -> Result<Receipt, CallError> {
        match self {
            Transport::Smtp(smtp) => smtp.send(mail).await,
            Transport::File(folder) => folder.write(mail).await,
        }
    }

    /// Did it leave? SMTP has no question for that. A folder has, if it was this folder's kind that took it.
    pub async fn find(&self, mail: &Mail) -> std::io::Result<Found<Receipt>> {
        match (self, mail.way) {
            (Transport::File(folder), Way::File) => folder.find(mail).await,
            _ => Ok(Found::CannotTell),
        }
    }
}
