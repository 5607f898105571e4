//! What providers tell of texts afterwards, and texts that come in. These commands come from the texter's own webhooks.

use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{DOMAIN, a_message};
use crate::contract::{Command, Event};

/// Notes what a provider said about a text. Written by the texter's webhook, which has checked who said it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct NoteStatus {
    /// The text.
    #[garde(skip)]
    pub message_id: Uuid,
    /// Who said it.
    #[garde(length(chars, min = 1, max = 40))]
    pub provider: String,
    /// The provider's own id of the text.
    #[garde(length(chars, min = 1, max = 100))]
    pub provider_id: String,
    /// The status in the provider's words.
    #[garde(length(chars, min = 1, max = 40))]
    pub status: String,
    /// Its error code, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub error_code: Option<u32>,
    /// The webhook's proof that it was it who wrote this.
    #[garde(length(chars, max = 100))]
    pub proof: String,
}

impl Command for NoteStatus {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "note_status";
    const LANE: &'static str = "fate";
    const SCOPE: &'static str = "sms:operate";

    fn example() -> Self {
        NoteStatus {
            message_id: a_message(),
            provider: "twilio".into(),
            provider_id: "SM00000000000000000000000000000001".into(),
            status: "delivered".into(),
            error_code: None,
            proof: String::new(),
        }
    }
}

/// Takes a text that came in. Written by the texter's webhook, which has checked who said it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct ReceiveSms {
    /// Who brought it.
    #[garde(length(chars, min = 1, max = 40))]
    pub provider: String,
    /// The provider's own id of it.
    #[garde(length(chars, min = 1, max = 100))]
    pub provider_id: String,
    /// Who sent it, E.164.
    #[garde(length(chars, min = 1, max = 40))]
    #[schemars(extend("x-personal" = "subject"))]
    pub from: String,
    /// To which of our numbers.
    #[garde(length(chars, min = 1, max = 40))]
    pub to: String,
    /// The text.
    #[garde(length(chars, max = 1600))]
    #[schemars(extend("x-personal" = "data"))]
    pub body: String,
    /// Has the provider answered it itself?
    #[serde(default)]
    #[garde(skip)]
    pub answered: bool,
    /// Is it another tenant's to read, and only its word meant for this one?
    #[serde(default)]
    #[garde(skip)]
    pub word_only: bool,
    /// The webhook's proof that it was it who wrote this.
    #[garde(length(chars, max = 100))]
    pub proof: String,
}

impl Command for ReceiveSms {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "receive_sms";
    const LANE: &'static str = "fate";
    const SCOPE: &'static str = "sms:operate";

    fn example() -> Self {
        ReceiveSms {
            provider: "twilio".into(),
            provider_id: "SM00000000000000000000000000000002".into(),
            from: "+14155552674".into(),
            to: "+15005550006".into(),
            body: "STOP".into(),
            answered: false,
            word_only: false,
            proof: String::new(),
        }
    }
}

/// A text has come in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SmsReceived {
    /// The provider's own id of it.
    pub provider_id: String,
    /// Who sent it, E.164.
    #[schemars(extend("x-personal" = "subject"))]
    pub from: String,
    /// To which of our numbers.
    pub to: String,
    /// The text.
    #[schemars(extend("x-personal" = "data"))]
    pub body: String,
    /// `stop`, `start` or `help`, if it was one of their words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub word: Option<String>,
}

impl Event for SmsReceived {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "sms_received";

    fn example() -> Self {
        SmsReceived {
            provider_id: "SM00000000000000000000000000000002".into(),
            from: "+14155552674".into(),
            to: "+15005550006".into(),
            body: "STOP".into(),
            word: Some("stop".into()),
        }
    }
}

/// Notes that a provider refuses everything. Written by the texter itself, when a call has met it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct NoteTrouble {
    /// Which.
    #[garde(length(chars, min = 1, max = 40))]
    pub provider: String,
    /// Its error code.
    #[garde(skip)]
    pub error_code: u32,
    /// The texter's proof that it was it who wrote this.
    #[garde(length(chars, max = 100))]
    pub proof: String,
}

impl Command for NoteTrouble {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "note_trouble";
    const LANE: &'static str = "fate";
    const SCOPE: &'static str = "sms:operate";

    fn example() -> Self {
        NoteTrouble { provider: "twilio".into(), error_code: 20003, proof: String::new() }
    }
}

/// Asks the provider how far a text is and what it costs. The texter's own, on a schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct CheckMessage {
    /// The text.
    #[garde(skip)]
    pub message_id: Uuid,
    /// How often it was asked before.
    #[garde(skip)]
    pub round: u32,
}

impl Command for CheckMessage {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "check_message";
    const LANE: &'static str = "lookups";
    const SCOPE: &'static str = "sms:operate";

    fn example() -> Self {
        CheckMessage { message_id: a_message(), round: 0 }
    }
}

/// Sends a text once more that the carrier could not deliver for a reason that passes. The texter's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct RetrySms {
    /// The text that was not delivered.
    #[garde(skip)]
    pub message_id: Uuid,
    /// Which try this is, the first being 2.
    #[garde(range(min = 2, max = 10))]
    pub number: u8,
}

impl Command for RetrySms {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "retry_sms";
    const SCOPE: &'static str = "sms:operate";

    fn example() -> Self {
        RetrySms { message_id: a_message(), number: 2 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::personal::{self, Role};

    #[test]
    fn who_sent_a_text_and_what_it_says_are_personal() {
        let marks = personal::marks(&schemars::schema_for!(SmsReceived));
        let found = personal::find(&marks, &serde_json::json!(SmsReceived::example()));
        let fields: Vec<_> = found.iter().map(|found| (found.pointer.as_str(), found.role)).collect();
        assert_eq!(fields, [("/body", Role::Data), ("/from", Role::Subject)]);
    }
}
