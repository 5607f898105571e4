//! What the HTTP door answers besides a query's own answer. The door may use these types, so that what it says and
//! what the documentation says are one thing.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::body::Fault;
use crate::platform::Outcome;

/// The command is stored on the bus and will be decided, once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Accepted {
    /// The command's id. A request repeated with the same `Idempotency-Key` answers the same id.
    pub id: Uuid,
    /// Where the outcome is read.
    pub status_url: String,
}

/// The command was decided while the caller waited (`Prefer: wait=N`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Waited {
    /// The command's id.
    pub id: Uuid,
    /// Where the outcome is read.
    pub status_url: String,
    /// How it ended.
    pub outcome: Outcome,
    /// The outcome event.
    pub event: Happened,
}

/// An event as the door shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Happened {
    /// The event's `ce-id`.
    pub id: String,
    /// The event's `ce-type`, such as `omnibus.mailer.email_sent.v1`.
    #[serde(rename = "type")]
    pub ce_type: String,
    /// When it was written.
    pub time: DateTime<Utc>,
    /// Its payload; the schema is the one of its type.
    pub data: Value,
}

/// Why a request was not done: RFC 9457 problem details.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// A URI that names the kind of problem; `about:blank` where the status says it all.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind of problem in words, always the same for one `code`.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What went wrong this time and what would do.
    pub detail: String,
    /// Stable, for programs.
    pub code: String,
    /// The faulty fields.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fault>,
}
