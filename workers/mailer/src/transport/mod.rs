//! How a mail leaves: over SMTP, by SendGrid, or into a folder.

pub mod file;
mod pool;
mod reply;
pub mod sendgrid;
pub mod smtp;

use chrono::{DateTime, Utc};
use omnibus_runtime::{CallError, Found};
use omnibus_schemas::mailer::Provider;

pub use file::Folder;
pub use reply::{no_such_mailbox, without_addresses};
pub use sendgrid::SendGrid;
pub use smtp::Smtp;

use crate::settings::Settings;

/// Exactly what is about to leave.
#[derive(Clone, PartialEq, Eq)]
pub struct Mail {
    /// By which way it is to leave.
    pub way: Provider,
    /// Its `Message-ID`.
    pub message_id: String,
    /// The envelope's sender.
    pub sender: String,
    /// The envelope's recipients.
    pub recipients: Vec<String>,
    /// Headers and body, ASCII with CRLF. For SendGrid, the body of the request.
    pub text: String,
    /// Is it one of many? Then it waits for connections of its own, and no single mail waits for it.
    pub bulk: bool,
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

/// What became of one recipient's copy. Words are without addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The next server has it.
    Sent,
    /// The server said "later" (4xx).
    Deferred(String),
    /// The server said no (5xx). `hard`: the address itself is no good.
    Bounced {
        /// What it said.
        detail: String,
        /// There is no such mailbox.
        hard: bool,
    },
    /// The server took the recipient, and then nothing was heard of the mail.
    Unknown(String),
}

/// The mail was dealt with: each recipient by itself, in the envelope's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// When.
    pub at: DateTime<Utc>,
    /// One for each of the envelope's recipients.
    pub verdicts: Vec<Verdict>,
}

impl Receipt {
    /// Everybody's copy was taken.
    pub fn all_sent(at: DateTime<Utc>, recipients: usize) -> Self {
        Receipt { at, verdicts: vec![Verdict::Sent; recipients] }
    }

    /// How many copies were not taken, for good (5xx) or for now (4xx).
    pub fn refused(&self) -> usize {
        self.refusals().count()
    }

    /// What the server said to the first of them.
    pub fn detail(&self) -> Option<&str> {
        self.refusals().next()
    }

    fn refusals(&self) -> impl Iterator<Item = &str> {
        self.verdicts.iter().filter_map(|verdict| match verdict {
            Verdict::Sent | Verdict::Unknown(_) => None,
            Verdict::Deferred(detail) | Verdict::Bounced { detail, .. } => Some(detail.as_str()),
        })
    }
}

/// The ways that the settings open.
#[derive(Debug)]
pub struct Transport {
    smtp: Option<Smtp>,
    sendgrid: Option<SendGrid>,
    folder: Folder,
    /// In which order they are tried where a tenant says nothing else.
    order: Vec<Provider>,
}

impl Transport {
    /// Reads the settings; connects to nothing yet.
    pub fn new(settings: &Settings) -> anyhow::Result<Self> {
        let smtp = settings.smtp_host.as_deref().map(|host| Smtp::new(host, settings)).transpose()?;
        let sendgrid = settings.sendgrid_api_key.as_ref().map(|key| SendGrid::new(key, settings)).transpose()?;
        let mut transport = Transport { smtp, sendgrid, folder: Folder::new(settings.mail_dir.clone()), order: vec![] };
        transport.order = match settings.mail_providers.as_slice() {
            [] => [Provider::Smtp, Provider::Sendgrid].into_iter().filter(|way| transport.has(*way)).collect(),
            named => named.iter().map(|way| (*way).into()).collect(),
        };
        if let Some(closed) = transport.order.iter().find(|way| !transport.has(**way)) {
            anyhow::bail!("MAIL_PROVIDERS names {}, which is not set up", closed.as_str());
        }
        if transport.order.is_empty() {
            transport.order.push(Provider::File);
        }
        Ok(transport)
    }

    /// Is this way open?
    pub fn has(&self, way: Provider) -> bool {
        match way {
            Provider::Smtp => self.smtp.is_some(),
            Provider::Sendgrid => self.sendgrid.is_some(),
            Provider::File => true,
        }
    }

    /// The installation's order.
    pub fn order(&self) -> &[Provider] {
        &self.order
    }

    /// Lets the mail leave.
    pub async fn send(&self, mail: &Mail) -> Result<Receipt, CallError> {
        match mail.way {
            Provider::Smtp => self.smtp.as_ref().ok_or_else(|| closed(mail.way))?.send(mail).await,
            Provider::Sendgrid => self.sendgrid.as_ref().ok_or_else(|| closed(mail.way))?.send(mail).await,
            Provider::File => self.folder.write(mail).await,
        }
    }

    /// Did it leave? SMTP and SendGrid have no question for that. A folder has.
    pub async fn find(&self, way: Provider, message_id: &str, recipients: usize) -> std::io::Result<Found<Receipt>> {
        match way {
            Provider::File => self.folder.find(message_id, recipients).await,
            Provider::Smtp | Provider::Sendgrid => Ok(Found::CannotTell),
        }
    }
}

fn closed(way: Provider) -> CallError {
    CallError::NotDone(anyhow::anyhow!("this worker is not set up for {}", way.as_str()))
}
