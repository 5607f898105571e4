//! One mail, made from a template.

use chrono::{DateTime, Utc};
use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::batch::{not_too_many, variables_schema};
use super::rules::{ONE_LINE, TOKEN, one_line, token};
use super::{Attachment, TRANSACTIONAL};
use crate::contract::{Command, Http};

/// Sends one mail that a template makes. 202 means accepted, not delivered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct SendTemplate {
    /// The template's name.
    #[garde(custom(token))]
    #[schemars(regex(pattern = TOKEN))]
    pub template: String,
    /// Its version: 0 for the one that everybody has; the active one if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(range(max = 1_000_000)))]
    #[schemars(range(max = 1_000_000))]
    pub version: Option<u32>,
    /// What it is filled with. `GET /api/v1/email/templates/{name}` says what it wants.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[garde(custom(not_too_many))]
    #[schemars(schema_with = "variables_schema")]
    pub variables: Map<String, Value>,
    /// As for a mail with text of its own, and so are all the following.
    #[garde(length(min = 1, max = 50), inner(email, length(max = 254)))]
    #[schemars(extend("x-personal" = "subject"))]
    pub to: Vec<String>,
    /// Recipients of a copy, at most 50 addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[garde(length(max = 50), inner(email, length(max = 254)))]
    #[schemars(extend("x-personal" = "subject"))]
    pub cc: Vec<String>,
    /// Recipients whom the others don't see, at most 50 addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[garde(length(max = 50), inner(email, length(max = 254)))]
    #[schemars(extend("x-personal" = "subject"))]
    pub bcc: Vec<String>,
    /// The sender's address; the brand's or the configured one if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(email, length(max = 254)))]
    #[schemars(email, length(max = 254))]
    pub from: Option<String>,
    /// The sender's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(chars, min = 1, max = 200), custom(one_line)))]
    #[schemars(length(min = 1, max = 200), regex(pattern = ONE_LINE))]
    pub from_name: Option<String>,
    /// Where an answer goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(email, length(max = 254)))]
    #[schemars(email, length(max = 254))]
    pub reply_to: Option<String>,
    /// The stream.
    #[serde(default = "transactional")]
    #[garde(custom(token))]
    #[schemars(regex(pattern = TOKEN))]
    pub stream: String,
    /// Files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[garde(length(max = 10), dive)]
    pub attachments: Vec<Attachment>,
    /// Not before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub send_at: Option<DateTime<Utc>>,
    /// Not before this time on the clocks of `time_zone`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(max = 32)))]
    #[schemars(length(max = 32))]
    pub send_at_local: Option<String>,
    /// The IANA zone of `send_at_local`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(max = 64)))]
    #[schemars(length(max = 64))]
    pub time_zone: Option<String>,
    /// What the mail is about, to take it back by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(chars, min = 1, max = 200), custom(one_line)))]
    #[schemars(length(min = 1, max = 200), regex(pattern = ONE_LINE))]
    pub cancel_key: Option<String>,
    /// May it be sent again when nobody knows whether it left? By default only where it holds a secret, such as a code
    /// or a reset link, that somebody waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub resend_uncertain: Option<bool>,
}

fn transactional() -> String {
    TRANSACTIONAL.to_owned()
}

impl Command for SendTemplate {
    const DOMAIN: &'static str = "mailer";
    const NAME: &'static str = "send_template";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/email/send-template"));
    const SCOPE: &'static str = "email:send";
    const STATUS: Option<&'static str> = Some("/api/v1/email/{id}/status");

    fn example() -> Self {
        let variables = json!({
            "name": "Ada", "reset_url": "https://northwind.example/reset/3f7a", "expires_in_minutes": 30,
        });
        let Value::Object(variables) = variables else { unreachable!("it stands above") };
        SendTemplate {
            template: "password_reset".into(),
            version: None,
            variables,
            to: vec!["test@example.com".into()],
            cc: vec![],
            bcc: vec![],
            from: None,
            from_name: None,
            reply_to: None,
            stream: transactional(),
            attachments: vec![],
            send_at: None,
            send_at_local: None,
            time_zone: None,
            cancel_key: None,
            resend_uncertain: None,
        }
    }
}
