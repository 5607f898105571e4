//! Audits: planned with a scope, findings recorded, remedied, verified by somebody else, closed.

use chrono::{DateTime, Utc};
use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{DOMAIN, Framework, ONE_LINE, a_page, example_control, example_id, example_time, one_line};
use crate::Token;
use crate::contract::{Command, Event, Http, Query};

/// Plans an audit. Its lead is who asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct PlanAudit {
    /// Against which framework.
    #[garde(skip)]
    pub framework: Framework,
    /// What it is called. 1 to 200 characters.
    #[garde(length(chars, min = 1, max = 200), custom(one_line))]
    #[schemars(regex(pattern = ONE_LINE))]
    pub title: String,
    /// The controls that it looks at; none for all that serve the framework. At most 100.
    #[serde(default)]
    #[garde(length(max = 100))]
    pub scope: Vec<Token>,
    /// The period that it looks at begins.
    #[garde(skip)]
    pub period_from: DateTime<Utc>,
    /// And ends.
    #[garde(skip)]
    pub period_to: DateTime<Utc>,
}

impl Command for PlanAudit {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "plan_audit";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/compliance/audit"));
    const SCOPE: &'static str = "compliance:audit";

    fn example() -> Self {
        PlanAudit {
            framework: Framework::Soc2,
            title: "Internal audit 2026".into(),
            scope: vec![example_control()],
            period_from: example_time("2026-01-01T00:00:00Z"),
            period_to: example_time("2026-07-01T00:00:00Z"),
        }
    }
}

/// An audit is planned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditPlanned {
    /// Its id, which is the command's.
    pub audit_id: Uuid,
    /// Against which framework.
    pub framework: Framework,
    /// The controls that it looks at.
    pub scope: Vec<Token>,
    /// Who leads it.
    pub lead: String,
}

impl Event for AuditPlanned {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "audit_planned";

    fn example() -> Self {
        AuditPlanned {
            audit_id: example_id(0x21),
            framework: Framework::Soc2,
            scope: vec![example_control()],
            lead: "key:01979f6e".into(),
        }
    }
}

/// How bad a finding or an incident is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// To be made better one day.
    Low,
    /// To be made better soon.
    Medium,
    /// To be made better now.
    High,
    /// Everything else waits.
    Critical,
}

/// Records what an audit found. Only while the audit is open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct RecordFinding {
    /// In which audit.
    #[garde(skip)]
    pub audit_id: Uuid,
    /// About which control of its scope.
    #[garde(skip)]
    pub control: Token,
    /// How bad it is.
    #[garde(skip)]
    pub severity: Severity,
    /// What was found. 1 to 2000 characters.
    #[garde(length(chars, min = 1, max = 2000), custom(one_line))]
    #[schemars(regex(pattern = ONE_LINE))]
    pub text: String,
    /// By when it is to be remedied.
    #[garde(skip)]
    pub due_at: DateTime<Utc>,
}

impl Command for RecordFinding {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "record_finding";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/compliance/audit/{audit_id}/findings"));
    const SCOPE: &'static str = "compliance:audit";

    fn example() -> Self {
        RecordFinding {
            audit_id: example_id(0x21),
            control: example_control(),
            severity: Severity::Medium,
            text: "Two keys of people who have left were found".into(),
            due_at: example_time("2026-08-01T00:00:00Z"),
        }
    }
}

/// An audit found something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FindingRecorded {
    /// In which audit.
    pub audit_id: Uuid,
    /// The finding's id, which is the command's.
    pub finding_id: Uuid,
    /// About which control.
    pub control: Token,
    /// How bad it is.
    pub severity: Severity,
    /// By when it is to be remedied.
    pub due_at: DateTime<Utc>,
}

impl Event for FindingRecorded {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "finding_recorded";

    fn example() -> Self {
        FindingRecorded {
            audit_id: example_id(0x21),
            finding_id: example_id(0x22),
            control: example_control(),
            severity: Severity::Medium,
            due_at: example_time("2026-08-01T00:00:00Z"),
        }
    }
}

/// Where a finding stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FindingState {
    /// Found.
    Open,
    /// Somebody says that it is remedied.
    Remedied,
    /// Somebody else has seen that it is.
    Verified,
}

/// What a step does to a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FindingStep {
    /// Says that it is remedied.
    Remedy,
    /// Says that the remedy holds. Not for who remedied it.
    Verify,
    /// Says that the remedy does not hold.
    Reopen,
}

/// Takes a finding one step further.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct MoveFinding {
    /// In which audit.
    #[garde(skip)]
    pub audit_id: Uuid,
    /// Which finding.
    #[garde(skip)]
    pub finding_id: Uuid,
    /// Which step.
    #[garde(skip)]
    pub step: FindingStep,
    /// What was done or seen. 1 to 2000 characters.
    #[garde(length(chars, min = 1, max = 2000), custom(one_line))]
    #[schemars(regex(pattern = ONE_LINE))]
    pub note: String,
}

impl Command for MoveFinding {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "move_finding";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/compliance/audit/{audit_id}/findings/{finding_id}/steps"));
    const SCOPE: &'static str = "compliance:write";

    fn example() -> Self {
        MoveFinding {
            audit_id: example_id(0x21),
            finding_id: example_id(0x22),
            step: FindingStep::Remedy,
            note: "Both keys are revoked".into(),
        }
    }
}

/// A finding stands elsewhere than before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FindingMoved {
    /// In which audit.
    pub audit_id: Uuid,
    /// Which finding.
    pub finding_id: Uuid,
    /// Where it stands now.
    pub state: FindingState,
    /// Who did it.
    pub by: String,
}

impl Event for FindingMoved {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "finding_moved";

    fn example() -> Self {
        FindingMoved {
            audit_id: example_id(0x21),
            finding_id: example_id(0x22),
            state: FindingState::Remedied,
            by: "key:01979f6e".into(),
        }
    }
}

/// Closes an audit, once every finding is verified. Where compliance is strict, also only once the controls of its scope
/// are met, or a risk was accepted for those that are not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct CloseAudit {
    /// Which.
    #[garde(skip)]
    pub audit_id: Uuid,
    /// What it comes to. 1 to 2000 characters.
    #[garde(length(chars, min = 1, max = 2000), custom(one_line))]
    #[schemars(regex(pattern = ONE_LINE))]
    pub conclusion: String,
}

impl Command for CloseAudit {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "close_audit";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/compliance/audit/{audit_id}/close"));
    const SCOPE: &'static str = "compliance:audit";

    fn example() -> Self {
        CloseAudit { audit_id: example_id(0x21), conclusion: "The controls held; one finding, remedied".into() }
    }
}

/// An audit is closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditClosed {
    /// Which.
    pub audit_id: Uuid,
    /// Findings that it had, all verified.
    pub findings: u64,
    /// The size of the log's head when it was closed.
    pub head_size: u64,
    /// Who closed it.
    pub by: String,
}

impl Event for AuditClosed {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "audit_closed";

    fn example() -> Self {
        AuditClosed { audit_id: example_id(0x21), findings: 1, head_size: 4711, by: "key:01979f6e".into() }
    }
}

/// Lists audits, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct Audits {
    /// The `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(max = 100), custom(one_line)))]
    #[schemars(length(max = 100), regex(pattern = ONE_LINE))]
    pub after: Option<String>,
    /// Items at most.
    #[serde(default = "a_page")]
    #[garde(range(min = 1, max = 200))]
    pub limit: u16,
}

/// A page of audits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditItems {
    /// The audits.
    pub items: Vec<AuditSummary>,
    /// Where the next page begins; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// An audit in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditSummary {
    /// Its id.
    pub audit_id: Uuid,
    /// Against which framework.
    pub framework: Framework,
    /// What it is called.
    pub title: String,
    /// The controls that it looks at.
    pub scope: Vec<Token>,
    /// The period that it looks at begins.
    pub period_from: DateTime<Utc>,
    /// And ends.
    pub period_to: DateTime<Utc>,
    /// Who leads it.
    pub lead: String,
    /// When it was planned.
    pub planned_at: DateTime<Utc>,
    /// When it was closed, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_at: Option<DateTime<Utc>>,
    /// What it came to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conclusion: Option<String>,
    /// Findings in all.
    pub findings: u64,
    /// Findings that are not verified.
    pub open_findings: u64,
}

impl Query for Audits {
    type Answer = AuditItems;
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "audits";
    const HTTP: Option<Http> = Some(Http::get("/api/v1/compliance/audit"));
    const SCOPE: &'static str = "compliance:read";

    fn example() -> Self {
        Audits { after: None, limit: 50 }
    }
}

/// Asks for an audit with its findings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct AuditPage {
    /// Which.
    #[garde(skip)]
    pub audit_id: Uuid,
}

/// An audit with its findings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditReport {
    /// The audit.
    pub audit: AuditSummary,
    /// Its findings, oldest first, 500 at most.
    pub findings: Vec<Finding>,
}

/// A finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// Its id.
    pub finding_id: Uuid,
    /// About which control.
    pub control: Token,
    /// How bad it is.
    pub severity: Severity,
    /// What was found.
    pub text: String,
    /// Where it stands.
    pub state: FindingState,
    /// When it was recorded.
    pub recorded_at: DateTime<Utc>,
    /// By when it is to be remedied.
    pub due_at: DateTime<Utc>,
    /// Who remedied it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedied_by: Option<String>,
    /// What was done or seen last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl Query for AuditPage {
    type Answer = AuditReport;
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "audit_page";
    const HTTP: Option<Http> = Some(Http::get("/api/v1/compliance/audit/{audit_id}"));
    const SCOPE: &'static str = "compliance:read";

    fn example() -> Self {
        AuditPage { audit_id: example_id(0x21) }
    }
}
