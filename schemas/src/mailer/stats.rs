//! How many mails came how far, by day, stream and template.

use chrono::NaiveDate;
use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::contract::{Http, Query};

/// Asks how many mails came how far. By default all days; at most 1000 rows, the newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct EmailStats {
    /// From this day on (UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    #[schemars(extend("examples" = ["2026-01-01"]))]
    pub from: Option<NaiveDate>,
    /// Up to this day, itself included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    #[schemars(extend("examples" = ["2026-01-31"]))]
    pub to: Option<NaiveDate>,
    /// Only this stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(max = 64)))]
    #[schemars(length(max = 64))]
    pub stream: Option<String>,
    /// Only this template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(max = 64)))]
    #[schemars(length(max = 64))]
    pub template: Option<String>,
}

/// The recipients of one day's mails, of one stream and template. Each number counts those who came there on that day.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StatsRow {
    /// The day (UTC).
    pub day: NaiveDate,
    /// The stream.
    pub stream: String,
    /// The template; absent for mails without one.
    pub template: Option<String>,
    /// Accepted.
    pub queued: u64,
    /// Told "later" for the first time.
    pub deferred: u64,
    /// Of whom it was not known whether they got it.
    pub uncertain: u64,
    /// Taken back.
    pub cancelled: u64,
    /// Suppressed.
    pub suppressed: u64,
    /// Given up or let go.
    pub failed: u64,
    /// Taken by the next server.
    pub sent: u64,
    /// Taken by the recipient's server.
    pub delivered: u64,
    /// Refused by the recipient's server.
    pub bounced: u64,
    /// Called spam.
    pub complained: u64,
    /// Unsubscribed.
    pub unsubscribed: u64,
}

/// How many mails came how far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StatsTable {
    /// The newest day first.
    pub rows: Vec<StatsRow>,
}

impl Query for EmailStats {
    type Answer = StatsTable;
    const DOMAIN: &'static str = "mailer";
    const NAME: &'static str = "email_stats";
    const HTTP: Option<Http> = Some(Http::get("/api/v1/email/stats"));
    const SCOPE: &'static str = "email:read";

    fn example() -> Self {
        EmailStats { from: None, to: None, stream: None, template: None }
    }
}
