//! One mail to many, each by itself.

use chrono::{DateTime, Utc};
use garde::Validate;
use schemars::{JsonSchema, Schema, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::rules::{ONE_LINE, TOKEN, one_line, token};
use super::{EmailState, an_email};
use crate::contract::{Command, Event, Http, Query};

/// Values by name; what a template makes of them is its own to say.
pub(super) fn variables_schema(_: &mut schemars::SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "maxProperties": 100, "additionalProperties": true })
}

pub(super) fn not_too_many(values: &Map<String, Value>, _: &()) -> garde::Result {
    match values.len() {
        0..=100 => Ok(()),
        _ => Err(garde::Error::new("must have at most 100 values")),
    }
}

/// Sends one mail to each of many recipients, at least 10,000, in the lane `bulk`, where it delays no other mail. Each row
/// is reported by itself. Either a template, or subject and body.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct SendBatch {
    /// The rows, as far as they fit into the command (1 MB): at most 5,000. More by `recipients_id`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[garde(length(max = 5000), dive)]
    pub recipients: Vec<BatchRecipient>,
    /// Or a file of rows that was uploaded before, by the id that `POST /api/v1/email/attachments` answered: JSON lines,
    /// each as one of `recipients`. At most 100,000 rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub recipients_id: Option<Uuid>,
    /// The template, filled with each row's variables.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(custom(token)))]
    #[schemars(regex(pattern = TOKEN))]
    pub template: Option<String>,
    /// Its version; the active one if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(range(max = 1_000_000)))]
    #[schemars(range(max = 1_000_000))]
    pub version: Option<u32>,
    /// Values for every row; a row's own go before them. At most 100.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[garde(custom(not_too_many))]
    #[schemars(schema_with = "variables_schema")]
    pub variables: Map<String, Value>,
    /// Without a template: the subject, on one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(chars, min = 1, max = 500), custom(one_line)))]
    #[schemars(length(min = 1, max = 500), regex(pattern = ONE_LINE))]
    pub subject: Option<String>,
    /// Without a template: the text, at most 256 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(max = 262_144)))]
    #[schemars(length(max = 262_144))]
    pub body: Option<String>,
    /// Without a template: the same as HTML, at most 256 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(max = 262_144)))]
    #[schemars(length(max = 262_144))]
    pub html: Option<String>,
    /// As for one mail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(email, length(max = 254)))]
    #[schemars(email, length(max = 254))]
    pub from: Option<String>,
    /// As for one mail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(chars, min = 1, max = 200), custom(one_line)))]
    #[schemars(length(min = 1, max = 200), regex(pattern = ONE_LINE))]
    pub from_name: Option<String>,
    /// As for one mail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(email, length(max = 254)))]
    #[schemars(email, length(max = 254))]
    pub reply_to: Option<String>,
    /// The stream.
    #[serde(default = "marketing")]
    #[garde(custom(token))]
    #[schemars(regex(pattern = TOKEN))]
    pub stream: String,
    /// As for one mail: all of the batch's can be taken back by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(chars, min = 1, max = 200), custom(one_line)))]
    #[schemars(length(min = 1, max = 200), regex(pattern = ONE_LINE))]
    pub cancel_key: Option<String>,
}

fn marketing() -> String {
    "marketing".to_owned()
}

/// A row of a batch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct BatchRecipient {
    /// The address.
    #[garde(email, length(max = 254))]
    #[schemars(extend("x-personal" = "subject"))]
    pub to: String,
    /// Values for the template, at most 100.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[garde(custom(not_too_many))]
    #[schemars(schema_with = "variables_schema")]
    pub variables: Map<String, Value>,
}

impl Command for SendBatch {
    const DOMAIN: &'static str = "mailer";
    const NAME: &'static str = "send_batch";
    const LANE: &'static str = "bulk";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/email/batch"));
    const SCOPE: &'static str = "email:send";
    const STATUS: Option<&'static str> = Some("/api/v1/email/batches/{id}");

    fn example() -> Self {
        let to = |to: &str| BatchRecipient { to: to.into(), variables: Map::new() };
        SendBatch {
            recipients: vec![to("ada@example.com"), to("bob@example.com")],
            recipients_id: None,
            template: None,
            version: None,
            variables: Map::new(),
            subject: Some("News".into()),
            body: Some("Hello".into()),
            html: None,
            from: None,
            from_name: None,
            reply_to: None,
            stream: marketing(),
            cancel_key: None,
        }
    }
}

/// Reads the next rows of an uploaded file. The mailer publishes this itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct ReadBatch {
    /// The batch.
    #[garde(skip)]
    pub batch_id: Uuid,
    /// Lines that are read already.
    #[garde(skip)]
    pub after: u32,
}

impl Command for ReadBatch {
    const DOMAIN: &'static str = "mailer";
    const NAME: &'static str = "read_batch";
    const LANE: &'static str = "bulk";
    const SCOPE: &'static str = "mailer:operate";

    fn example() -> Self {
        ReadBatch { batch_id: an_email(), after: 0 }
    }
}

/// Hands the next rows over to be sent. The mailer publishes this itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct ExpandBatch {
    /// The batch.
    #[garde(skip)]
    pub batch_id: Uuid,
    /// Rows that are handed over already.
    #[garde(skip)]
    pub after: u32,
}

impl Command for ExpandBatch {
    const DOMAIN: &'static str = "mailer";
    const NAME: &'static str = "expand_batch";
    const LANE: &'static str = "bulk";
    const SCOPE: &'static str = "mailer:operate";

    fn example() -> Self {
        ExpandBatch { batch_id: an_email(), after: 0 }
    }
}

/// Sends one row of a batch. The mailer publishes this itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct SendBatchRow {
    /// The batch.
    #[garde(skip)]
    pub batch_id: Uuid,
    /// The row, counted from 1.
    #[garde(skip)]
    pub row: u32,
}

impl Command for SendBatchRow {
    const DOMAIN: &'static str = "mailer";
    const NAME: &'static str = "send_batch_row";
    const LANE: &'static str = "bulk";
    const SCOPE: &'static str = "mailer:operate";

    fn example() -> Self {
        SendBatchRow { batch_id: an_email(), row: 1 }
    }
}

/// Looks whether every row of a batch has been dealt with. The mailer publishes this itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct CloseBatch {
    /// The batch.
    #[garde(skip)]
    pub batch_id: Uuid,
    /// How often it was looked before.
    #[garde(skip)]
    pub looks: u32,
    /// When it is looked now.
    #[garde(skip)]
    pub at: DateTime<Utc>,
}

impl Command for CloseBatch {
    const DOMAIN: &'static str = "mailer";
    const NAME: &'static str = "close_batch";
    const LANE: &'static str = "bulk";
    const SCOPE: &'static str = "mailer:operate";

    fn example() -> Self {
        CloseBatch { batch_id: an_email(), looks: 0, at: DateTime::UNIX_EPOCH }
    }
}

/// Every row of a batch has been dealt with: sent, or refused, or put off for later. Told once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BatchCompleted {
    /// The batch, which is the command.
    pub batch_id: Uuid,
    /// Its rows.
    pub rows: u32,
    /// Those that the next server took.
    pub sent: u32,
    /// Those that are no mail: a wrong address, one that stands there twice, variables that don't fit.
    pub rejected: u32,
    /// Those that were not sent because the address is suppressed.
    pub suppressed: u32,
    /// All others: bounced, deferred, failed, uncertain, cancelled.
    pub others: u32,
}

impl Event for BatchCompleted {
    const DOMAIN: &'static str = "mailer";
    const NAME: &'static str = "batch_completed";

    fn example() -> Self {
        BatchCompleted { batch_id: an_email(), rows: 3, sent: 1, rejected: 1, suppressed: 1, others: 0 }
    }
}

/// Asks how far a batch has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct BatchStatus {
    /// The id that the door answered.
    #[garde(skip)]
    pub batch_id: Uuid,
}

/// How far a batch has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BatchReport {
    /// The batch.
    pub batch_id: Uuid,
    /// Its rows, as far as they are read.
    pub rows: u32,
    /// Rows that are not dealt with yet.
    pub waiting: u32,
    /// Rows that are no mail.
    pub rejected: u32,
    /// The other rows, by how far they have come.
    pub states: Vec<BatchCount>,
    /// When it was accepted.
    pub queued_at: DateTime<Utc>,
    /// When every row had been dealt with.
    pub completed_at: Option<DateTime<Utc>>,
    /// What is wrong with it as a whole.
    pub detail: Option<String>,
}

/// So many rows have come so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BatchCount {
    /// How far.
    pub status: EmailState,
    /// How many.
    pub rows: u32,
}

impl Query for BatchStatus {
    type Answer = BatchReport;
    const DOMAIN: &'static str = "mailer";
    const NAME: &'static str = "batch_status";
    const HTTP: Option<Http> = Some(Http::get("/api/v1/email/batches/{batch_id}"));
    const SCOPE: &'static str = "email:read";

    fn example() -> Self {
        BatchStatus { batch_id: an_email() }
    }
}

/// Asks for a batch's rows, each by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct BatchRows {
    /// The batch.
    #[garde(skip)]
    pub batch_id: Uuid,
    /// Only rows after this one.
    #[serde(default)]
    #[garde(skip)]
    pub after: u32,
    /// At most so many, 1 to 1000.
    #[serde(default = "a_page")]
    #[garde(range(min = 1, max = 1000))]
    pub limit: u32,
}

fn a_page() -> u32 {
    100
}

/// A row and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BatchRow {
    /// Its number, counted from 1.
    pub row: u32,
    /// The address, as far as it is one.
    pub address: String,
    /// Its mail, to be asked about with `GET /api/v1/email/{email_id}/status`; absent for rows that are no mail.
    pub email_id: Option<Uuid>,
    /// `waiting`, `rejected`, or how far the mail has come.
    pub status: String,
    /// Why.
    pub detail: Option<String>,
}

/// A page of a batch's rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BatchRowList {
    /// In their order.
    pub rows: Vec<BatchRow>,
}

impl Query for BatchRows {
    type Answer = BatchRowList;
    const DOMAIN: &'static str = "mailer";
    const NAME: &'static str = "batch_rows";
    const HTTP: Option<Http> = Some(Http::get("/api/v1/email/batches/{batch_id}/rows"));
    const SCOPE: &'static str = "email:read";

    fn example() -> Self {
        BatchRows { batch_id: an_email(), after: 0, limit: a_page() }
    }
}
