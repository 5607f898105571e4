//! Activation: one atomic switch that mails, pages and open tabs follow.

use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{BRANDER, WRITE, an_id};
use crate::contract::{Command, Event, Http};

/// Makes a version the one that people see. Refused while two of its colours that meet can't be told apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct ActivateBranding {
    /// The version's number; the newest if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(range(min = 1)))]
    #[schemars(range(min = 1))]
    pub version: Option<u32>,
}

impl Command for ActivateBranding {
    const DOMAIN: &'static str = BRANDER;
    const NAME: &'static str = "activate_branding";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/whitelabel/branding/activate"));
    const SCOPE: &'static str = WRITE;

    fn example() -> Self {
        ActivateBranding { version: None }
    }
}

/// Goes back to the version that was active before the one that is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct RollbackBranding {}

impl Command for RollbackBranding {
    const DOMAIN: &'static str = BRANDER;
    const NAME: &'static str = "rollback_branding";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/whitelabel/branding/rollback"));
    const SCOPE: &'static str = WRITE;

    fn example() -> Self {
        RollbackBranding {}
    }
}

/// Why a version became the active one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// Somebody activated it.
    Activated,
    /// Somebody went back to it.
    RolledBack,
    /// Its set time came.
    Scheduled,
    /// The time of another was over.
    Reverted,
}

impl Why {
    /// As it is written in rows.
    pub const fn as_str(self) -> &'static str {
        match self {
            Why::Activated => "activated",
            Why::RolledBack => "rolled_back",
            Why::Scheduled => "scheduled",
            Why::Reverted => "reverted",
        }
    }

    /// The reverse of [`Why::as_str`].
    pub fn parse(word: &str) -> Option<Self> {
        [Why::Activated, Why::RolledBack, Why::Scheduled, Why::Reverted].into_iter().find(|why| why.as_str() == word)
    }
}

/// A version is what people see from now on: it stands in the bucket `brands`, which every reader watches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BrandingActivated {
    /// The version's number.
    pub version: u32,
    /// The version's id.
    pub version_id: Uuid,
    /// Grows with every activation. Who has seen a higher one drops this event.
    pub revision: u64,
    /// Why.
    pub why: Why,
}

impl Event for BrandingActivated {
    const DOMAIN: &'static str = BRANDER;
    const NAME: &'static str = "branding_activated";

    fn example() -> Self {
        BrandingActivated { version: 4, version_id: an_id(1), revision: 9, why: Why::Activated }
    }
}

/// A version was to become active, and another activation that came after it was quicker: nobody has seen this one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BrandingSuperseded {
    /// The version's number.
    pub version: u32,
    /// The revision it had.
    pub revision: u64,
}

impl Event for BrandingSuperseded {
    const DOMAIN: &'static str = BRANDER;
    const NAME: &'static str = "branding_superseded";

    fn example() -> Self {
        BrandingSuperseded { version: 4, revision: 9 }
    }
}
