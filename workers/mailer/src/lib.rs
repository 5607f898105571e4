#![doc = include_str!("../README.md")]

pub mod content;
mod email_status;
pub mod message;
mod send_email;
pub mod settings;
mod templates;
pub mod transport;

pub use settings::Settings;

use std::sync::Arc;

use omnibus_runtime::Worker;
use omnibus_schemas::mailer::{
    ActivateTemplate, DeleteTemplate, EmailStatus, OneTemplate, PreviewTemplate, ReplayTemplate, SaveTemplate,
    SendEmail, Templates,
};

use content::Content;
use settings::Senders;
use transport::{Folder, Smtp, Transport};

/// The worker: its tables, and what it does with each command and query.
pub fn worker(settings: Settings) -> anyhow::Result<Worker> {
    Ok(Worker::new("mailer", Mailer::new(&settings)?)
        .migrations(
            "mailer",
            &[
                ("0001_emails", include_str!("../migrations/0001_emails.sql")),
                ("0010_templates", include_str!("../migrations/0010_templates.sql")),
            ],
        )
        .effects::<SendEmail>()
        .handles::<SaveTemplate>()
        .handles::<ActivateTemplate>()
        .handles::<DeleteTemplate>()
        .answers::<EmailStatus>()
        .answers::<Templates>()
        .answers::<OneTemplate>()
        .answers::<PreviewTemplate>()
        .answers::<ReplayTemplate>()
        .runs("mailer.brands", |mailer: Arc<Mailer>, desk| async move { mailer.content.brands.follow(desk).await })
        .build())
}

/// What the handlers share.
#[derive(Debug)]
pub struct Mailer {
    senders: Senders,
    transport: Transport,
    content: Content,
}

impl Mailer {
    /// Checks the settings. Connects to nothing yet.
    pub fn new(settings: &Settings) -> anyhow::Result<Self> {
        let senders = settings.senders()?;
        let transport = match &settings.smtp_host {
            Some(host) => Transport::Smtp(Box::new(Smtp::new(host, settings)?)),
            None => Transport::File(Folder::new(settings.mail_dir.clone())),
        };
        Ok(Mailer { senders, transport, content: Content::new()? })
    }

    /// The way that the settings chose.
    pub fn transport(&self) -> &Transport {
        &self.transport
    }
}
