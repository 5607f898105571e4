//! Email: what the mailer takes, says and answers.

mod cancel;
mod deliver;
mod events;
mod rules;
mod send;
mod senders;
mod state;
mod status;
mod suppression;

pub use cancel::{CancelEmail, RetractEmails};
pub use deliver::{DeliverEmail, DeliveryCause};
pub use events::{
    EmailBounced, EmailCancelled, EmailComplained, EmailDeferred, EmailDelivered, EmailFailed, EmailQueued, EmailSent,
    EmailSuppressed, EmailUncertain, RecipientUnsubscribed,
};
pub use rules::RESERVED;
pub use send::{Attachment, SendEmail, TRANSACTIONAL, Uncertain};
pub use senders::{
    AddSenderDomain, ConfirmSenderDomain, MailRoute, MailRouteList, MailRoutes, Provider, PutMailRoute, PutMailStream,
    RemoveSenderDomain, SenderDomain, SenderDomainList, SenderDomains, StreamKind,
};
pub use state::EmailState;
pub use status::{DeliveryReport, EmailPage, EmailReport, EmailStatus, RecipientKind, RenderedEmail, StoredAttachment};
pub use suppression::{
    AddSuppression, RemoveSuppression, Suppression, SuppressionList, SuppressionReason, Suppressions,
};

use crate::catalogue::Domain;

/// The domain's catalogue.
pub fn domain() -> Domain {
    Domain::new("mailer", "Email")
        .command::<SendEmail>()
        .command::<DeliverEmail>()
        .command::<CancelEmail>()
        .command::<RetractEmails>()
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
        .query::<EmailStatus>()
        .query::<RenderedEmail>()
        .query::<Suppressions>()
        .query::<SenderDomains>()
        .query::<MailRoutes>()
}

/// The id in examples.
fn an_email() -> uuid::Uuid {
    uuid::Uuid::from_u128(0x0197_9f6e_5a00_7000_8000_0000_0000_0003)
}
