//! Email: what the mailer takes, says and answers.

mod attachment;
mod batch;
mod cancel;
mod deliver;
mod events;
mod feedback;
mod previews;
mod rules;
mod send;
mod send_template;
mod senders;
mod state;
mod stats;
mod status;
mod suppression;
mod templates;

pub use attachment::UploadAttachment;
pub use batch::{
    BatchCompleted, BatchCount, BatchRecipient, BatchReport, BatchRow, BatchRowList, BatchRows, BatchStatus,
    CloseBatch, ExpandBatch, ReadBatch, SendBatch, SendBatchRow,
};
pub use cancel::{CancelEmail, RetractEmails};
pub use deliver::{DeliverConfidential, DeliverEmail, DeliveryCause};
pub use events::{
    EmailBounced, EmailCancelled, EmailComplained, EmailDeferred, EmailDelivered, EmailFailed, EmailQueued, EmailSent,
    EmailSuppressed, EmailUncertain, RecipientUnsubscribed,
};
pub use feedback::{
    Feedback, OneClickUnsubscribe, RecordFeedback, ReturnedMail, SendGridEvents, Unsubscribe, UnsubscribePage,
};
pub use previews::{Preview, PreviewTemplate, Replay, ReplayTemplate, ReplayedMail, TemplateDraft};
pub use rules::RESERVED;
pub use send::{Attachment, SendEmail, TRANSACTIONAL, Uncertain};
pub use send_template::SendTemplate;
pub use senders::{
    AddSenderDomain, ConfirmSenderDomain, ConfirmedBy, MailRoute, MailRouteList, MailRoutes, Provider, PutMailRoute,
    PutMailStream, RemoveSenderDomain, SenderDomain, SenderDomainAdded, SenderDomainConfirmed, SenderDomainList,
    SenderDomainRemoved, SenderDomains, StreamKind,
};
pub use state::EmailState;
pub use stats::{EmailStats, StatsRow, StatsTable};
pub use status::{DeliveryReport, EmailPage, EmailReport, EmailStatus, RecipientKind, RenderedEmail, StoredAttachment};
pub use suppression::{
    AddSuppression, ConsentChanged, RemoveSuppression, Suppression, SuppressionList, SuppressionReason, Suppressions,
};
pub use templates::{
    ActivateTemplate, DeleteTemplate, OneTemplate, Origin, SaveTemplate, TemplateActivated, TemplateDeleted,
    TemplateList, TemplatePage, TemplateSaved, TemplateSummary, TemplateVersion, Templates,
};

use crate::catalogue::Domain;

/// The domain's catalogue.
pub fn domain() -> Domain {
    templates::declare(Domain::new("mailer", "Email"))
        .command::<SendEmail>()
        .command::<SendTemplate>()
        .command::<DeliverEmail>()
        .command::<DeliverConfidential>()
        .command::<CancelEmail>()
        .command::<RetractEmails>()
        .command::<UploadAttachment>()
        .command::<SendBatch>()
        .command::<ReadBatch>()
        .command::<ExpandBatch>()
        .command::<SendBatchRow>()
        .command::<CloseBatch>()
        .command::<RecordFeedback>()
        .command::<Unsubscribe>()
        .command::<AddSuppression>()
        .command::<RemoveSuppression>()
        .command::<AddSenderDomain>()
        .command::<ConfirmSenderDomain>()
        .command::<RemoveSenderDomain>()
        .command::<PutMailStream>()
        .command::<PutMailRoute>()
        .event::<EmailQueued>()
        .event::<EmailSent>()
        .event::<EmailDelivered>()
        .event::<EmailDeferred>()
        .event::<EmailBounced>()
        .event::<EmailComplained>()
        .event::<EmailFailed>()
        .event::<EmailSuppressed>()
        .event::<EmailUncertain>()
        .event::<EmailCancelled>()
        .event::<RecipientUnsubscribed>()
        .event::<ConsentChanged>()
        .event::<BatchCompleted>()
        .event::<SenderDomainAdded>()
        .event::<SenderDomainConfirmed>()
        .event::<SenderDomainRemoved>()
        .query::<EmailStatus>()
        .query::<RenderedEmail>()
        .query::<EmailStats>()
        .query::<BatchStatus>()
        .query::<BatchRows>()
        .query::<Suppressions>()
        .query::<SenderDomains>()
        .query::<MailRoutes>()
        .reacts::<crate::presence::MessagesUnread>()
        .reacts::<crate::presence::MessagesReadLate>()
        .hook::<UnsubscribePage>()
        .hook::<OneClickUnsubscribe>()
        .hook::<SendGridEvents>()
        .hook::<ReturnedMail>()
}

/// The id in examples.
fn an_email() -> uuid::Uuid {
    uuid::Uuid::from_u128(0x0197_9f6e_5a00_7000_8000_0000_0000_0003)
}
