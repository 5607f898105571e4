//! Reading the log, and proofs that what is read is what was written.

use chrono::{DateTime, Utc};
use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::DOMAIN;
use crate::contract::{Http, Query};

/// Asks for the head of the caller's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct LogHead {}

/// The head of a log: how many entries, under which root, signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Head {
    /// How many entries.
    pub size: u64,
    /// The root of the Merkle tree (RFC 6962), base64.
    pub root: String,
    /// The signed checkpoint (c2sp.org/tlog-checkpoint).
    pub checkpoint: String,
    /// The public key that it is signed with: `<name>+<key id>+<base64>` (c2sp.org/signed-note).
    pub key: String,
    /// When it was signed.
    pub signed_at: DateTime<Utc>,
}

impl Query for LogHead {
    type Answer = Head;
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "log_head";
    const HTTP: Option<Http> = Some(Http::get("/api/v1/audit/head"));
    const SCOPE: &'static str = "audit:read";

    fn example() -> Self {
        LogHead {}
    }
}

/// Lists entries, in their order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct LogEntries {
    /// The first one's index.
    #[serde(default)]
    #[garde(skip)]
    pub from: u64,
    /// At most so many, 1 to 256.
    #[serde(default = "hundred")]
    #[garde(range(min = 1, max = 256))]
    pub limit: u32,
}

fn hundred() -> u32 {
    100
}

/// One entry, as it stands in the tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogEntry {
    /// Its index, from 0, without gaps.
    pub index: u64,
    /// The leaf: a JSON document whose very bytes are hashed.
    pub leaf: String,
}

/// Some entries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EntryPage {
    /// In order.
    pub entries: Vec<LogEntry>,
    /// Where the next page begins, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

impl Query for LogEntries {
    type Answer = EntryPage;
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "log_entries";
    const HTTP: Option<Http> = Some(Http::get("/api/v1/audit/entries"));
    const SCOPE: &'static str = "audit:read";

    fn example() -> Self {
        LogEntries { from: 0, limit: 100 }
    }
}

/// Asks for an entry with its proof.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct EntryProof {
    /// The entry's index.
    #[garde(skip)]
    pub index: u64,
}

/// An entry, and that it stands in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProvedEntry {
    /// The entry's index.
    pub index: u64,
    /// The leaf; absent once its retention is over, which a tombstone then says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaf: Option<String>,
    /// The leaf's hash, base64.
    pub leaf_hash: String,
    /// The path from the leaf to the root (RFC 6962 §2.1.1), nearest first, base64.
    pub path: Vec<String>,
    /// The head that the path leads to.
    pub head: Head,
}

impl Query for EntryProof {
    type Answer = ProvedEntry;
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "entry_proof";
    const HTTP: Option<Http> = Some(Http::get("/api/v1/audit/entries/{index}/proof"));
    const SCOPE: &'static str = "audit:read";

    fn example() -> Self {
        EntryProof { index: 0 }
    }
}

/// Asks for the proof that a head continues an earlier one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct ConsistencyProof {
    /// The size of the earlier head.
    #[garde(skip)]
    pub from: u64,
    /// The size of the later one; that of now if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub to: Option<u64>,
}

/// That a log was only ever appended to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Consistency {
    /// The size of the earlier head.
    pub from: u64,
    /// The size of the later one.
    pub to: u64,
    /// RFC 6962 §2.1.2, base64.
    pub path: Vec<String>,
}

impl Query for ConsistencyProof {
    type Answer = Consistency;
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "consistency_proof";
    const HTTP: Option<Http> = Some(Http::get("/api/v1/audit/consistency"));
    const SCOPE: &'static str = "audit:read";

    fn example() -> Self {
        ConsistencyProof { from: 1, to: None }
    }
}

/// Asks what the log has of a message: the acceptance of a command, or an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct Receipt {
    /// The command's id as the door answered it, or an event's `ce-id`.
    #[garde(length(bytes, min = 1, max = 200))]
    pub message_id: String,
}

/// Where a message stands in the log, with its proof.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Receipts {
    /// Most often one.
    pub entries: Vec<ProvedEntry>,
}

impl Query for Receipt {
    type Answer = Receipts;
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "receipt";
    const HTTP: Option<Http> = Some(Http::get("/api/v1/audit/receipts/{message_id}"));
    const SCOPE: &'static str = "audit:read";

    fn example() -> Self {
        Receipt { message_id: Uuid::from_u128(0x0197_9f6e_5a00_7000_8000_00a0_0000_0001).to_string() }
    }
}

/// Asks for an entry's personal fields in plain text. The question itself is for few; who may ask it has a scope of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct PersonalFields {
    /// The entry's index.
    #[garde(skip)]
    pub index: u64,
}

/// What an entry's payload said of people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Personal {
    /// The entry's index.
    pub index: u64,
    /// Field by field.
    pub fields: Vec<PersonalField>,
    /// The salt of the payload's commitment, base64: `SHA-256("omnibus audit payload" || salt || payload)`. Absent once one
    /// of the people was erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub salt: Option<String>,
}

/// One personal field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PersonalField {
    /// A JSON pointer into the payload.
    pub field: String,
    /// What stood there; absent once the person was erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

impl Query for PersonalFields {
    type Answer = Personal;
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "personal_fields";
    const HTTP: Option<Http> = Some(Http::get("/api/v1/audit/entries/{index}/personal"));
    const SCOPE: &'static str = "audit:reveal";

    fn example() -> Self {
        PersonalFields { index: 0 }
    }
}
