//! Legal holds: while a tenant has one, nothing of its log is removed.

use chrono::{DateTime, Utc};
use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::DOMAIN;
use crate::contract::{Command, Event, Http, Query};

fn an_id() -> Uuid {
    Uuid::from_u128(0x0197_9f6e_5a00_7000_8000_00a0_0000_0003)
}

/// Keeps the whole log of the tenant past its retention, until the hold is lifted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct PlaceHold {
    /// Why: a matter's name or number. 1 to 500 characters.
    #[garde(length(chars, min = 1, max = 500))]
    pub reason: String,
}

impl Command for PlaceHold {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "place_hold";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/audit/holds"));
    const SCOPE: &'static str = "audit:hold";

    fn example() -> Self {
        PlaceHold { reason: "matter 12/2026".into() }
    }
}

/// A hold is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HoldPlaced {
    /// The hold's id, which is the command's.
    pub hold_id: Uuid,
    /// Why.
    pub reason: String,
}

impl Event for HoldPlaced {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "hold_placed";

    fn example() -> Self {
        HoldPlaced { hold_id: an_id(), reason: "matter 12/2026".into() }
    }
}

/// Ends a hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct LiftHold {
    /// Which.
    #[garde(skip)]
    pub hold_id: Uuid,
    /// Why. 1 to 500 characters.
    #[garde(length(chars, min = 1, max = 500))]
    pub reason: String,
}

impl Command for LiftHold {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "lift_hold";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/audit/holds/{hold_id}/lift"));
    const SCOPE: &'static str = "audit:hold";

    fn example() -> Self {
        LiftHold { hold_id: an_id(), reason: "settled".into() }
    }
}

/// A hold is no longer in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HoldLifted {
    /// Which.
    pub hold_id: Uuid,
    /// Why.
    pub reason: String,
}

impl Event for HoldLifted {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "hold_lifted";

    fn example() -> Self {
        HoldLifted { hold_id: an_id(), reason: "settled".into() }
    }
}

/// Lists the holds in force, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct Holds {}

/// The holds in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HoldList {
    /// Oldest first.
    pub holds: Vec<Hold>,
}

/// One hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Hold {
    /// Its id.
    pub hold_id: Uuid,
    /// Why.
    pub reason: String,
    /// Since when.
    pub placed_at: DateTime<Utc>,
}

impl Query for Holds {
    type Answer = HoldList;
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "holds";
    const HTTP: Option<Http> = Some(Http::get("/api/v1/audit/holds"));
    const SCOPE: &'static str = "audit:read";

    fn example() -> Self {
        Holds {}
    }
}
