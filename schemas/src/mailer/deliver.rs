//! The mailer's own follow-ups: a mail whose time has come, or recipients who were told "later".
//!
//! A mail that holds a secret has a follow-up of its own, which is no [`DeliverEmail`] without its text: whoever did
//! not know where the text is read would send the mail without it.

use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{SendEmail, an_email};
use crate::contract::Command;

/// Why a mail is delivered by a command of its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryCause {
    /// Its time has come.
    #[default]
    Due,
    /// These recipients were told "later" before.
    Deferred,
    /// Whether these recipients got it is not known, while the others' fate is: a person decides.
    Unknown,
}

/// Delivers a mail that is known already, to some of its recipients. The mailer publishes this itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct DeliverEmail {
    /// The email.
    #[garde(skip)]
    pub email_id: Uuid,
    /// What it is: templates are rendered already.
    #[garde(dive)]
    pub email: SendEmail,
    /// To which recipients, counted from 0; to all if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[garde(length(max = 150))]
    pub only: Vec<u32>,
    /// Why.
    #[serde(default)]
    #[garde(skip)]
    pub cause: DeliveryCause,
}

impl Command for DeliverEmail {
    const DOMAIN: &'static str = "mailer";
    const NAME: &'static str = "deliver_email";
    const SCOPE: &'static str = "mailer:operate";

    fn example() -> Self {
        DeliverEmail { email_id: an_email(), email: SendEmail::example(), only: vec![], cause: DeliveryCause::Due }
    }
}

/// Delivers a mail that holds a secret to some of its recipients. The text is read in the command that brought it, for
/// it stands nowhere else. The mailer publishes this itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct DeliverConfidential {
    /// The email.
    #[garde(skip)]
    pub email_id: Uuid,
    /// To which recipients, counted from 0; to all if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[garde(length(max = 150))]
    pub only: Vec<u32>,
    /// Why.
    #[serde(default)]
    #[garde(skip)]
    pub cause: DeliveryCause,
}

impl Command for DeliverConfidential {
    const DOMAIN: &'static str = "mailer";
    const NAME: &'static str = "deliver_confidential";
    const SCOPE: &'static str = "mailer:operate";

    fn example() -> Self {
        DeliverConfidential { email_id: an_email(), only: vec![1], cause: DeliveryCause::Deferred }
    }
}
