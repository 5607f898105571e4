//! How a shop proves what it reports by webhook.

use chrono::{DateTime, Utc};
use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DOMAIN, a_time, main_program};
use crate::Token;
use crate::contract::{Command, Event, Http, Query};

/// Asks how a shop signs what it reports by webhook. The secret is this program's alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct WebhookSecret {
    /// The program.
    #[garde(skip)]
    pub program: Token,
}

/// Where orders and refunds are reported, and how they are signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WebhookReport {
    /// The path to POST an order to.
    pub path: String,
    /// The path to POST a refund to.
    pub refunds_path: String,
    /// The header that carries `t=<seconds since 1970>,v1=<hex HMAC-SHA256 of "<t>.<body>">`.
    pub header: String,
    /// The key of that HMAC, as text.
    pub secret: String,
    /// Which secret it is, from 1.
    pub generation: u32,
    /// Until when signatures with the secret before it are believed too; absent if they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_until: Option<DateTime<Utc>>,
}

impl Query for WebhookSecret {
    type Answer = WebhookReport;
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "webhook_secret";
    const HTTP: Option<Http> = Some(Http::get("/api/v1/partners/programs/{program}/webhook"));
    const SCOPE: &'static str = "partners:secrets";

    fn example() -> Self {
        WebhookSecret { program: main_program() }
    }
}

/// Gives a program's webhook another secret. Signatures with the one before it are believed for a while, so that a shop
/// can change over without losing an order; those with older ones are not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct RotateWebhookSecret {
    /// The program.
    #[garde(skip)]
    pub program: Token,
    /// For how many hours the secret of now is believed still, at most 720; 0 where it has become known.
    #[serde(default = "a_day")]
    #[garde(range(max = 720))]
    pub overlap_hours: u32,
}

fn a_day() -> u32 {
    24
}

impl Command for RotateWebhookSecret {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "rotate_webhook_secret";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/partners/programs/{program}/webhook"));
    const SCOPE: &'static str = "partners:secrets";

    fn example() -> Self {
        RotateWebhookSecret { program: main_program(), overlap_hours: 24 }
    }
}

/// A program's webhook has another secret; `GET .../webhook` says which.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WebhookSecretRotated {
    /// The program.
    pub program: Token,
    /// Which secret it is, from 1. Orders the events about one program's webhook.
    pub generation: u32,
    /// Until when signatures with the secret before it are believed too; absent if they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_until: Option<DateTime<Utc>>,
}

impl Event for WebhookSecretRotated {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "webhook_secret_rotated";

    fn example() -> Self {
        WebhookSecretRotated { program: main_program(), generation: 2, previous_until: Some(a_time()) }
    }
}
