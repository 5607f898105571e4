//! What an operator did that is no command of a domain: keys, changes of the bus, dead letters.

use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::DOMAIN;
use crate::contract::{Command, Event};

/// Puts an act of the operator on the record. The `omnibus` program sends it; who acted is the message's `ce-actor`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct RecordAct {
    /// What was done: `key.minted`, `key.revoked`, `bus.applied`, `dlq.retried`, `dlq.dropped`. 1 to 64 characters.
    #[garde(length(chars, min = 1, max = 64))]
    pub act: String,
    /// To what: a key's id, a stream, a dead letter's number. 1 to 200 characters.
    #[garde(length(chars, min = 1, max = 200))]
    pub target: String,
    /// More of it. At most 1000 characters.
    #[serde(default)]
    #[garde(length(chars, max = 1000))]
    pub detail: String,
}

impl Command for RecordAct {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "record_act";
    const SCOPE: &'static str = "audit:operate";

    fn example() -> Self {
        RecordAct {
            act: "key.minted".into(),
            target: "01979f6e-5a00-7000-8000-0000000000a1".into(),
            detail: "scopes email:send".into(),
        }
    }
}

/// An act of the operator is on the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ActRecorded {
    /// What was done.
    pub act: String,
    /// To what.
    pub target: String,
}

impl Event for ActRecorded {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "act_recorded";

    fn example() -> Self {
        ActRecorded { act: "key.minted".into(), target: "01979f6e-5a00-7000-8000-0000000000a1".into() }
    }
}
