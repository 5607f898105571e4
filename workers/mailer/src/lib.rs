#![doc = include_str!("../README.md")]

mod attachments;
mod batch;
mod cancel;
mod confirm_sender_domain;
pub mod content;
mod deliver_confidential;
mod deliver_email;
mod delivery;
mod dkim;
mod email_status;
mod feedback;
mod links;
pub mod message;
mod objects;
mod send_email;
mod send_template;
mod sender_domains;
pub mod settings;
mod stats;
mod streams;
mod suppressions;
mod templates;
pub mod transport;
mod unread;

pub use batch::{Chunk, ReadPlan};
pub use confirm_sender_domain::Proofs;
pub use delivery::Plan;
pub use settings::Settings;

use std::sync::Arc;

use anyhow::Context;
use omnibus_dns::Dns;
use omnibus_runtime::{Desk, Worker};
use omnibus_schemas::mailer::{
    ActivateTemplate, AddSenderDomain, AddSuppression, BatchRows, BatchStatus, CancelEmail, CloseBatch,
    ConfirmSenderDomain, DeleteTemplate, DeliverConfidential, DeliverEmail, EmailStats, EmailStatus, ExpandBatch,
    MailRoutes, OneClickUnsubscribe, OneTemplate, PreviewTemplate, PutMailRoute, PutMailStream, ReadBatch,
    RecordFeedback, RemoveSenderDomain, RemoveSuppression, RenderedEmail, ReplayTemplate, RetractEmails, ReturnedMail,
    SaveTemplate, SendBatch, SendBatchRow, SendEmail, SendGridEvents, SendTemplate, SenderDomains, Suppressions,
    Templates, Unsubscribe, UnsubscribePage, UploadAttachment,
};

use omnibus_schemas::presence::{MessagesReadLate, MessagesUnread};
use p256::ecdsa::VerifyingKey;
use secrecy::SecretString;

use content::Content;
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
    ("0004_batches", include_str!("../migrations/0004_batches.sql")),
    ("0010_templates", include_str!("../migrations/0010_templates.sql")),
    ("0011_sender_domains", include_str!("../migrations/0011_sender_domains.sql")),
    ("0012_look_ups", include_str!("../migrations/0012_look_ups.sql")),
    ("0013_beside", include_str!("../migrations/0013_beside.sql")),
];

/// The worker: its tables, and what it does with each command and query.
pub fn worker(settings: Settings) -> anyhow::Result<Worker> {
    Ok(Worker::new("mailer", Mailer::new(&settings)?)
        .migrations("mailer", MIGRATIONS)
        .effects_many::<SendEmail>()
        .effects_many::<SendTemplate>()
        .effects_many::<DeliverEmail>()
        .effects_many::<DeliverConfidential>()
        .effects_many::<SendBatchRow>()
        .effects::<ReadBatch>()
        .handles::<UploadAttachment>()
        .handles::<SendBatch>()
        .handles::<ExpandBatch>()
        .handles::<CloseBatch>()
        .handles::<RecordFeedback>()
        .handles::<Unsubscribe>()
        .handles::<CancelEmail>()
        .handles::<RetractEmails>()
        .handles::<AddSuppression>()
        .handles::<RemoveSuppression>()
        .handles::<AddSenderDomain>()
        .effects::<ConfirmSenderDomain>()
        .handles::<RemoveSenderDomain>()
        .handles::<PutMailStream>()
        .handles::<PutMailRoute>()
        .handles::<SaveTemplate>()
        .handles::<ActivateTemplate>()
        .handles::<DeleteTemplate>()
        .answers::<Templates>()
        .answers::<OneTemplate>()
        .answers::<PreviewTemplate>()
        .answers::<ReplayTemplate>()
        .answers::<EmailStatus>()
        .answers::<RenderedEmail>()
        .answers::<EmailStats>()
        .answers::<BatchStatus>()
        .answers::<BatchRows>()
        .answers::<Suppressions>()
        .answers::<SenderDomains>()
        .answers::<MailRoutes>()
        .reacts::<MessagesUnread>()
        .reacts::<MessagesReadLate>()
        .receives::<UnsubscribePage>()
        .receives::<OneClickUnsubscribe>()
        .receives::<SendGridEvents>()
        .receives::<ReturnedMail>()
        .runs("objects", |mailer: Arc<Mailer>, desk: Desk| async move {
            mailer.objects.connected(desk.bus.jetstream());
            Ok(())
        })
        .runs("mailer.brands", |mailer: Arc<Mailer>, desk| async move { mailer.content.brands.follow(desk).await })
        .build())
}

/// What the handlers share.
#[derive(Debug)]
pub struct Mailer {
    senders: Senders,
    transport: Transport,
    content: Content,
    links: Links,
    objects: Objects,
    specs: batch::Specs,
    dkim: Dkim,
    /// None where the machine names no server and the settings don't either.
    dns: Option<Dns>,
    defer_seconds: u32,
    max_attachment_bytes: u64,
    sendgrid_webhook_key: Option<VerifyingKey>,
    returned_mail_secret: Option<SecretString>,
    sender_approval_secret: Option<SecretString>,
}

impl Mailer {
    /// Checks the settings. Connects to nothing yet.
    pub fn new(settings: &Settings) -> anyhow::Result<Self> {
        Ok(Mailer {
            senders: settings.senders()?,
            transport: Transport::new(settings)?,
            content: Content::new()?,
            links: Links::new(settings.door()?),
            objects: Objects::default(),
            specs: batch::Specs::default(),
            dkim: Dkim::new(settings.dkim_dir.clone())?,
            dns: dns(&settings.dns_servers)?,
            sender_approval_secret: settings.sender_approval_secret.clone(),
            defer_seconds: settings.defer_seconds,
            max_attachment_bytes: settings.max_attachment_bytes,
            sendgrid_webhook_key: settings.sendgrid_webhook_key.as_deref().map(feedback::webhook_key).transpose()?,
            returned_mail_secret: settings.returned_mail_secret.clone(),
        })
    }

    /// The ways that the settings opened.
    pub fn transport(&self) -> &Transport {
        &self.transport
    }
}

/// A closed network has no DNS, and can do without: senders' domains are then approved by the operator.
fn dns(servers: &[std::net::SocketAddr]) -> anyhow::Result<Option<Dns>> {
    match Dns::new(servers) {
        Ok(dns) => Ok(Some(dns)),
        Err(error) if servers.is_empty() => {
            tracing::warn!(%error, "this machine names no DNS server: senders' domains can't be looked up");
            Ok(None)
        }
        Err(error) => Err(error).context("DNS_SERVERS"),
    }
}
