//! Addresses that get no mail, by stream.

use chrono::{DateTime, Utc};
use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules::{TOKEN, token};
use crate::contract::{Command, Http, Query};

/// Why an address gets no mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SuppressionReason {
    /// A server said that there is no such mailbox. Holds for every stream.
    Bounced,
    /// Its owner called a mail spam.
    Complained,
    /// Its owner unsubscribed.
    Unsubscribed,
    /// Somebody put it there.
    Manual,
}

impl SuppressionReason {
    /// As it stands in rows.
    pub const fn as_str(self) -> &'static str {
        match self {
            SuppressionReason::Bounced => "bounced",
            SuppressionReason::Complained => "complained",
            SuppressionReason::Unsubscribed => "unsubscribed",
            SuppressionReason::Manual => "manual",
        }
    }

    /// The reverse of [`SuppressionReason::as_str`].
    pub fn parse(word: &str) -> Option<Self> {
        use SuppressionReason::{Bounced, Complained, Manual, Unsubscribed};
        [Bounced, Complained, Unsubscribed, Manual].into_iter().find(|reason| reason.as_str() == word)
    }
}

/// Puts an address on the suppression list: from now on it gets no mail of the stream, not even one that is queued.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct AddSuppression {
    /// The address.
    #[garde(email, length(max = 254))]
    #[schemars(extend("x-personal" = "subject"))]
    pub address: String,
    /// For which stream; for all of them if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(custom(token)))]
    #[schemars(regex(pattern = TOKEN))]
    pub stream: Option<String>,
}

impl Command for AddSuppression {
    const DOMAIN: &'static str = "mailer";
    const NAME: &'static str = "add_suppression";
    const HTTP: Option<Http> = Some(Http::put("/api/v1/email/suppressions/{address}"));
    const SCOPE: &'static str = "email:suppress";

    fn example() -> Self {
        AddSuppression { address: "no-more@example.com".into(), stream: Some("marketing".into()) }
    }
}

/// Takes an address off the suppression list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct RemoveSuppression {
    /// The address.
    #[garde(email, length(max = 254))]
    #[schemars(extend("x-personal" = "subject"))]
    pub address: String,
    /// For which stream; the one that holds for all of them if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(custom(token)))]
    #[schemars(regex(pattern = TOKEN))]
    pub stream: Option<String>,
}

impl Command for RemoveSuppression {
    const DOMAIN: &'static str = "mailer";
    const NAME: &'static str = "remove_suppression";
    const HTTP: Option<Http> = Some(Http::delete("/api/v1/email/suppressions/{address}"));
    const SCOPE: &'static str = "email:suppress";

    fn example() -> Self {
        RemoveSuppression { address: "no-more@example.com".into(), stream: Some("marketing".into()) }
    }
}

/// Asks for the suppression list, in the order of the addresses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct Suppressions {
    /// Only this address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(max = 254)))]
    #[schemars(length(max = 254))]
    pub address: Option<String>,
    /// Only addresses after this one: the last of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(max = 254)))]
    #[schemars(length(max = 254))]
    pub after: Option<String>,
    /// At most so many addresses, 1 to 1000, each with all its streams.
    #[serde(default = "a_page")]
    #[garde(range(min = 1, max = 1000))]
    pub limit: u32,
}

fn a_page() -> u32 {
    100
}

/// An address that gets no mail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Suppression {
    /// The address, in small letters.
    pub address: String,
    /// For which stream; for all of them if absent.
    pub stream: Option<String>,
    /// Why.
    pub reason: SuppressionReason,
    /// Since when.
    pub since: DateTime<Utc>,
}

/// A page of the suppression list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SuppressionList {
    /// The addresses.
    pub suppressions: Vec<Suppression>,
}

impl Query for Suppressions {
    type Answer = SuppressionList;
    const DOMAIN: &'static str = "mailer";
    const NAME: &'static str = "suppressions";
    const HTTP: Option<Http> = Some(Http::get("/api/v1/email/suppressions"));
    const SCOPE: &'static str = "email:read";

    fn example() -> Self {
        Suppressions { address: None, after: None, limit: a_page() }
    }
}
