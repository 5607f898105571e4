//! Controls: what is done so that a framework's requirements are met, what proves it, and how each stands. The texts and
//! the mapping are data of the auditor; these are the shapes in which they are told.

use chrono::{DateTime, Utc};
use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DOMAIN, example_control};
use crate::Token;
use crate::contract::{Command, Event, Http, Query};

/// A set of requirements that somebody else has written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Framework {
    /// The HIPAA Security Rule, 45 CFR 164.308 to 164.316.
    Hipaa,
    /// The AICPA's trust services criteria, for SOC 2.
    Soc2,
    /// ISO/IEC 27001:2022 with its Annex A.
    Iso27001,
}

impl Framework {
    /// All there are.
    pub const ALL: [Framework; 3] = [Framework::Hipaa, Framework::Soc2, Framework::Iso27001];

    /// As it is written in addresses and rows.
    pub const fn as_str(self) -> &'static str {
        match self {
            Framework::Hipaa => "hipaa",
            Framework::Soc2 => "soc2",
            Framework::Iso27001 => "iso27001",
        }
    }
}

/// How a control stands. Of several, the worst counts: failing, then stale, then missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Proved, and the proof is fresh.
    Met,
    /// Nothing has ever proved it.
    Missing,
    /// It was proved; what proved it is too old.
    Stale,
    /// What is known speaks against it.
    Failing,
}

impl Standing {
    /// As it is written in rows.
    pub const fn as_str(self) -> &'static str {
        match self {
            Standing::Met => "met",
            Standing::Missing => "missing",
            Standing::Stale => "stale",
            Standing::Failing => "failing",
        }
    }

    /// The reverse of [`Standing::as_str`].
    pub fn parse(word: &str) -> Option<Self> {
        [Standing::Met, Standing::Missing, Standing::Stale, Standing::Failing].into_iter().find(|s| s.as_str() == word)
    }
}

/// An entry of a log that proves something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EntryLink {
    /// Whose log: the tenant's own, or `_`, the house's.
    pub log: String,
    /// The entry's index there. `GET /api/v1/audit/entries/{index}/proof` proves one of the tenant's own.
    pub index: u64,
}

/// Looks at a control again, and says so if it stands elsewhere than before. The watch does it by itself; asked for, it is
/// done at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct AssessControl {
    /// The control's name.
    #[garde(skip)]
    pub control: Token,
}

impl Command for AssessControl {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "assess_control";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/compliance/controls/{control}/assess"));
    const SCOPE: &'static str = "compliance:write";

    fn example() -> Self {
        AssessControl { control: example_control() }
    }
}

/// A control stands elsewhere than before. One for each change, counted without a gap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ControlStatusChanged {
    /// The control's name.
    pub control: Token,
    /// How it stood; absent the first time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was: Option<Standing>,
    /// How it stands.
    pub status: Standing,
    /// Why, for people.
    pub detail: String,
    /// Counted from 1 for each control.
    pub revision: u64,
    /// The entry that shows it, where one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<EntryLink>,
}

impl Event for ControlStatusChanged {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "control_status_changed";

    fn example() -> Self {
        ControlStatusChanged {
            control: example_control(),
            was: Some(Standing::Met),
            status: Standing::Stale,
            detail: "the last access review was completed 91 days ago; at most 90 are allowed".into(),
            revision: 4,
            evidence: None,
        }
    }
}

/// Asks for the catalogue: the controls, what Omnibus does for each, what the operator must do, what proves it, and which
/// requirements of which framework it serves. The same for every tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct Controls {
    /// Only what serves this framework.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub framework: Option<Framework>,
}

/// The catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ControlCatalogue {
    /// The frameworks, with their requirements.
    pub frameworks: Vec<FrameworkText>,
    /// The controls.
    pub controls: Vec<ControlText>,
}

/// A framework and its requirements.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FrameworkText {
    /// Which.
    pub framework: Framework,
    /// Its name and edition.
    pub title: String,
    /// Where the requirements' own words stand.
    pub source: String,
    /// Its requirements, in their order.
    pub requirements: Vec<RequirementText>,
}

/// A requirement, in our words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RequirementText {
    /// As the framework numbers it.
    pub requirement: String,
    /// What it is about.
    pub title: String,
    /// What it asks, in our words. The framework's own words are at its source.
    pub text: String,
    /// The controls that serve it.
    pub controls: Vec<Token>,
}

/// A control.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ControlText {
    /// Its name.
    pub control: Token,
    /// What it is about.
    pub title: String,
    /// What Omnibus does.
    pub omnibus: String,
    /// What the operator must do.
    pub operator: String,
    /// What proves it.
    pub proof: String,
    /// What is watched.
    pub checks: Vec<CheckText>,
}

/// A check of a control.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CheckText {
    /// Its name.
    pub check: Token,
    /// What must hold.
    pub title: String,
}

impl Query for Controls {
    type Answer = ControlCatalogue;
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "controls";
    const HTTP: Option<Http> = Some(Http::get("/api/v1/compliance/controls"));
    const SCOPE: &'static str = "compliance:read";

    fn example() -> Self {
        Controls { framework: Some(Framework::Soc2) }
    }
}

/// Asks how the controls stand, and with them each framework: now, or as they stood at a time, by replay of what was said
/// about them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct ComplianceStatus {
    /// Only this framework.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub framework: Option<Framework>,
    /// As of when; now if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub at: Option<DateTime<Utc>>,
}

/// How the controls and the frameworks stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StatusReport {
    /// As of when.
    pub as_of: DateTime<Utc>,
    /// When the watch last read this log to its end. If that is long ago, the statuses are as old.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watched_at: Option<DateTime<Utc>>,
    /// Each framework.
    pub frameworks: Vec<FrameworkStatus>,
    /// Each control, by name.
    pub controls: Vec<ControlStatus>,
}

/// How many there are of each standing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Standings {
    /// Proved.
    pub met: u64,
    /// Never proved.
    pub missing: u64,
    /// Proved too long ago.
    pub stale: u64,
    /// Known not to hold.
    pub failing: u64,
}

impl Standings {
    /// Counts one more.
    pub fn count(&mut self, standing: Standing) {
        match standing {
            Standing::Met => self.met += 1,
            Standing::Missing => self.missing += 1,
            Standing::Stale => self.stale += 1,
            Standing::Failing => self.failing += 1,
        }
    }
}

/// How a framework stands: each requirement stands as the worst of its controls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FrameworkStatus {
    /// Which.
    pub framework: Framework,
    /// Its name and edition.
    pub title: String,
    /// Its requirements, counted.
    pub requirements: Standings,
    /// Those that are not met, in their order.
    pub unmet: Vec<UnmetRequirement>,
}

/// A requirement that is not met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UnmetRequirement {
    /// As the framework numbers it.
    pub requirement: String,
    /// How it stands.
    pub status: Standing,
    /// The controls that stand so.
    pub controls: Vec<Token>,
}

/// How a control stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ControlStatus {
    /// Its name.
    pub control: Token,
    /// How it stands.
    pub status: Standing,
    /// Since when; absent if nothing was ever said about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<DateTime<Utc>>,
    /// Why, for people.
    pub detail: String,
    /// How often its status has changed.
    pub revision: u64,
    /// The entry that shows it, where one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<EntryLink>,
}

impl Query for ComplianceStatus {
    type Answer = StatusReport;
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "compliance_status";
    const HTTP: Option<Http> = Some(Http::get("/api/v1/compliance/status"));
    const SCOPE: &'static str = "compliance:read";

    fn example() -> Self {
        ComplianceStatus { framework: Some(Framework::Soc2), at: None }
    }
}
