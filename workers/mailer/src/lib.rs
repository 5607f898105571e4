#![doc = include_str!("../README.md")]

mod cancel;
mod deliver_email;
mod delivery;
mod dkim;
mod email_status;
mod links;
pub mod message;
mod objects;
mod send_email;
mod sender_domains;
pub mod settings;
mod streams;
mod suppressions;
pub mod transport;

pub use delivery::Plan;
pub use settings::Settings;

use omnibus_runtime::Worker;
use omnibus_schemas::mailer::{
    AddSenderDomain, AddSuppression, CancelEmail, ConfirmSenderDomain, DeliverEmail, EmailStatus, MailRoutes,
    PutMailRoute, PutMailStream, RemoveSenderDomain, RemoveSuppression, RenderedEmail, RetractEmails, SendEmail,
    SenderDomains, Suppressions,
};

use dkim::Dkim;
use links::Links;
use objects::Objects;
use settings::Senders;
use transport::Transport;

/// Its tables, in the order in which they came.
const MIGRATIONS: &[(&str, &str)] = &[
    ("0001_emails", include_str!("../migrations/0001_emails.sql")),
    ("0002_recipients", include_str!("../migrations/0002_recipients.sql")),
    ("0003_attachments", include_str!("../migrations/0003_attachments.sql")),
];

/// The worker: its tables, and what it does with each command and query.
pub fn worker(settings: Settings) -> anyhow::Result<Worker> {
    Ok(Worker::new("mailer", Mailer::new(&settings)?)
        .migrations("mailer", MIGRATIONS)
        .effects::<SendEmail>()
        .effects::<DeliverEmail>()
        .handles::<CancelEmail>()
        .handles::<RetractEmails>()
        .handles::<AddSuppression>()
        .handles::<RemoveSuppression>()
        .handles::<AddSenderDomain>()
        .handles::<ConfirmSenderDomain>()
        .handles::<RemoveSenderDomain>()
        .handles::<PutMailStream>()
        .handles::<PutMailRoute>()
        .answers::<EmailStatus>()
        .answers::<RenderedEmail>()
        .answers::<Suppressions>()
        .answers::<SenderDomains>()
        .answers::<MailRoutes>()
        .build())
}

/// What the handlers share.
#[derive(Debug)]
pub struct Mailer {
    senders: Senders,
    transport: Transport,
    links: Links,
    objects: Objects,
    dkim: Dkim,
    defer_seconds: u32,
    max_attachment_bytes: u64,
}

impl Mailer {
    /// Checks the settings. Connects to nothing yet.
    pub fn new(settings: &Settings) -> anyhow::Result<Self> {
        Ok(Mailer {
            senders: settings.senders()?,
            transport: Transport::new(settings)?,
            links: Links::new(settings.door()?),
            objects: Objects::default(),
            dkim: Dkim::new(settings.dkim_dir.clone()),
            defer_seconds: settings.defer_seconds,
            max_attachment_bytes: settings.max_attachment_bytes,
        })
    }

    /// The ways that the settings opened.
    pub fn transport(&self) -> &Transport {
        &self.transport
    }
}
