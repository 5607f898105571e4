//! What is heard of a mail after it left: from a provider, from a receiving server, from its recipient.

use chrono::{DateTime, Utc};
use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::an_email;
use super::rules::{ONE_LINE, one_line};
use crate::contract::{Command, Http};
use crate::hook::{Hook, MOST};

/// What was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Feedback {
    /// The recipient's server has it.
    Delivered,
    /// The recipient's server said "later"; the provider tries again.
    Deferred,
    /// The recipient's server does not want it.
    Bounced,
    /// The recipient called it spam.
    Complained,
    /// The recipient wants no more of its stream.
    Unsubscribed,
}

/// Books what was heard of one recipient's copy. The mailer's webhooks publish this, with the provider's own id, so that
/// what is told twice is booked once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct RecordFeedback {
    /// The email.
    #[garde(skip)]
    pub email_id: Uuid,
    /// The recipient's address.
    #[garde(email, length(max = 254))]
    #[schemars(extend("x-personal" = "subject"))]
    pub address: String,
    /// What was heard.
    #[garde(skip)]
    pub what: Feedback,
    /// For bounces: is the address itself no good?
    #[serde(default)]
    #[garde(skip)]
    pub hard: bool,
    /// A server's words, on one line and without addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(chars, max = 500), custom(one_line)))]
    #[schemars(length(max = 500), regex(pattern = ONE_LINE))]
    pub detail: Option<String>,
    /// When, by the one who says so.
    #[garde(skip)]
    pub at: DateTime<Utc>,
}

impl Command for RecordFeedback {
    const DOMAIN: &'static str = "mailer";
    const NAME: &'static str = "record_feedback";
    /// Of its own: what is told of ten thousand mails must not make one wait.
    const LANE: &'static str = "feedback";
    const SCOPE: &'static str = "mailer:operate";

    fn example() -> Self {
        RecordFeedback {
            email_id: an_email(),
            address: "test@example.com".into(),
            what: Feedback::Bounced,
            hard: true,
            detail: Some("550 5.1.1 no such user".into()),
            at: DateTime::UNIX_EPOCH,
        }
    }
}

/// Takes a recipient off the mail's stream. Published by the unsubscribe link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct Unsubscribe {
    /// The email by whose link it was said.
    #[garde(skip)]
    pub email_id: Uuid,
    /// Which of its recipients, counted from 0.
    #[garde(skip)]
    pub recipient: u32,
}

impl Command for Unsubscribe {
    const DOMAIN: &'static str = "mailer";
    const NAME: &'static str = "unsubscribe";
    const SCOPE: &'static str = "mailer:operate";

    fn example() -> Self {
        Unsubscribe { email_id: an_email(), recipient: 0 }
    }
}

/// The page behind an unsubscribe link.
#[derive(Debug)]
pub struct UnsubscribePage;

impl Hook for UnsubscribePage {
    const DOMAIN: &'static str = "mailer";
    const NAME: &'static str = "unsubscribe_page";
    const HTTP: Http = Http::get("/unsubscribe/{token}");
    const SUMMARY: &'static str =
        "Shows a button that unsubscribes. Changes nothing by itself: mail scanners follow links. Proved by the token.";
}

/// One click, by a mail client or by the page's button. RFC 8058.
#[derive(Debug)]
pub struct OneClickUnsubscribe;

impl Hook for OneClickUnsubscribe {
    const DOMAIN: &'static str = "mailer";
    const NAME: &'static str = "one_click_unsubscribe";
    const HTTP: Http = Http::post("/unsubscribe/{token}");
    const MAX_BODY: usize = 4 * 1024;
    const SUMMARY: &'static str =
        "Unsubscribes at once: no cookie, no redirect, no question. RFC 8058. Proved by the token.";
}

/// SendGrid's event webhook.
#[derive(Debug)]
pub struct SendGridEvents;

impl Hook for SendGridEvents {
    const DOMAIN: &'static str = "mailer";
    const NAME: &'static str = "sendgrid_events";
    const HTTP: Http = Http::post("/hooks/email/sendgrid");
    const HEADERS: &'static [&'static str] =
        &["x-twilio-email-event-webhook-signature", "x-twilio-email-event-webhook-timestamp"];
    const MAX_BODY: usize = MOST;
    const SUMMARY: &'static str =
        "SendGrid's signed event webhook: ECDSA over timestamp and raw body, by SENDGRID_WEBHOOK_KEY.";
}

/// Returned mails (DSN, RFC 3464) and complaints (ARF, RFC 5965), as they came.
#[derive(Debug)]
pub struct ReturnedMail;

impl Hook for ReturnedMail {
    const DOMAIN: &'static str = "mailer";
    const NAME: &'static str = "returned_mail";
    const HTTP: Http = Http::post("/hooks/email/returned/{secret}");
    const MAX_BODY: usize = MOST;
    const SUMMARY: &'static str = "A returned mail or a complaint, raw (message/rfc822), as a mail server pipes it. Proved by RETURNED_MAIL_SECRET in the address.";
}
