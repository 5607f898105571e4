//! Erasing what the log knows of a person, without touching what it proves.

use chrono::{DateTime, Utc};
use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::DOMAIN;
use crate::contract::{Command, Event, Http, Query};

/// Destroys the key under which a person's fields lie in the log. It can't be undone, and holds for what comes later too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct EraseSubject {
    /// The address or number by which the person is known. 1 to 320 characters; case does not count.
    #[garde(length(chars, min = 1, max = 320))]
    #[schemars(extend("x-personal" = "subject"))]
    pub subject: String,
    /// Why, for the record: a request's number, not a name. 1 to 500 characters.
    #[garde(length(chars, min = 1, max = 500))]
    pub reason: String,
}

impl Command for EraseSubject {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "erase_subject";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/audit/erasures"));
    const SCOPE: &'static str = "audit:erase";

    fn example() -> Self {
        EraseSubject { subject: "erased@example.com".into(), reason: "request 2026-117".into() }
    }
}

/// A person's key is destroyed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SubjectErased {
    /// The erasure's id, which is the command's.
    pub erasure_id: Uuid,
    /// The person's pseudonym in this log.
    pub pseudonym: String,
    /// Why.
    pub reason: String,
    /// Was there anything to erase?
    pub known: bool,
}

impl Event for SubjectErased {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "subject_erased";

    fn example() -> Self {
        SubjectErased {
            erasure_id: Uuid::from_u128(0x0197_9f6e_5a00_7000_8000_00a0_0000_0002),
            pseudonym: "6b1f3b8e0a4f4ed0b1cf3a8b52b5f6c1".into(),
            reason: "request 2026-117".into(),
            known: true,
        }
    }
}

/// Lists erasures, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct Erasures {
    /// At most so many, 1 to 1000.
    #[serde(default = "hundred")]
    #[garde(range(min = 1, max = 1000))]
    pub limit: u32,
}

fn hundred() -> u32 {
    100
}

/// The ledger of erasures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErasureList {
    /// Newest first.
    pub erasures: Vec<Erasure>,
}

/// One erasure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Erasure {
    /// Its id.
    pub erasure_id: Uuid,
    /// The person's pseudonym in this log.
    pub pseudonym: String,
    /// Why.
    pub reason: String,
    /// When.
    pub erased_at: DateTime<Utc>,
}

impl Query for Erasures {
    type Answer = ErasureList;
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "erasures";
    const HTTP: Option<Http> = Some(Http::get("/api/v1/audit/erasures"));
    const SCOPE: &'static str = "audit:read";

    fn example() -> Self {
        Erasures { limit: 100 }
    }
}
