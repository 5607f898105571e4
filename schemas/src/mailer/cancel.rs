//! Taking mails back before they leave.

use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::an_email;
use super::rules::{ONE_LINE, one_line};
use crate::contract::{Command, Http};

/// Takes a mail back. What has left, or is leaving just now, can't be: the command is then rejected with `already_left`
/// or `leaving`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct CancelEmail {
    /// The email.
    #[garde(skip)]
    pub email_id: Uuid,
}

impl Command for CancelEmail {
    const DOMAIN: &'static str = "mailer";
    const NAME: &'static str = "cancel_email";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/email/{email_id}/cancel"));
    const SCOPE: &'static str = "email:send";

    fn example() -> Self {
        CancelEmail { email_id: an_email() }
    }
}

/// Takes back every mail with this `cancel_key` that has not left: the reason for them is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct RetractEmails {
    /// As the mails have it, such as `invoice-4711`. 1 to 200 characters.
    #[garde(length(chars, min = 1, max = 200), custom(one_line))]
    #[schemars(regex(pattern = ONE_LINE))]
    pub cancel_key: String,
}

impl Command for RetractEmails {
    const DOMAIN: &'static str = "mailer";
    const NAME: &'static str = "retract_emails";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/email/retract"));
    const SCOPE: &'static str = "email:send";

    fn example() -> Self {
        RetractEmails { cancel_key: "invoice-4711".into() }
    }
}
