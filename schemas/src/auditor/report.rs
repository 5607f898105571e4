//! A framework's report: how every requirement and control stands, on what evidence, with which exceptions, and at which
//! head of the log it was made.

use chrono::{DateTime, Utc};
use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{DOMAIN, EntryLink, EvidenceItem, Framework, Head, Standing, Standings};
use crate::Token;
use crate::contract::{Http, Query};

/// Asks for a framework's report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct ComplianceReport {
    /// Which framework.
    #[garde(skip)]
    pub framework: Framework,
}

/// A framework's report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReportDocument {
    /// Which framework.
    pub framework: Framework,
    /// Its name and edition.
    pub title: String,
    /// Where the requirements' own words stand.
    pub source: String,
    /// When it was made.
    pub made_at: DateTime<Utc>,
    /// When the watch last read the log to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watched_at: Option<DateTime<Utc>>,
    /// The head of the log at that moment. Whoever has a later one can prove that it continues this.
    pub head: Head,
    /// What the log says of the tenant's commands.
    pub log: LogCounts,
    /// The requirements, counted.
    pub requirement_counts: Standings,
    /// The controls, counted.
    pub control_counts: Standings,
    /// Every requirement, in the framework's order.
    pub requirements: Vec<RequirementReport>,
    /// Every control that serves one of them, by name.
    pub controls: Vec<ControlReport>,
    /// What is not met, and what was decided about it.
    pub exceptions: Vec<ReportException>,
}

/// The conservation law, as far as the log was read: `accepted = succeeded + rejected + dead_lettered + held + open`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogCounts {
    /// Entries that were read.
    pub entries: u64,
    /// Commands whose acceptance is on record.
    pub accepted: u64,
    /// Carried out.
    pub succeeded: u64,
    /// Refused for good.
    pub rejected: u64,
    /// In the dead letters.
    pub dead_lettered: u64,
    /// Waiting for a person.
    pub held: u64,
    /// Without an outcome yet.
    pub open: u64,
    /// Outcomes of commands whose acceptance is not on record.
    pub unaccounted: u64,
    /// Outcomes of commands that had one already.
    pub doubled: u64,
}

/// A requirement and how it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RequirementReport {
    /// As the framework numbers it.
    pub requirement: String,
    /// What it is about.
    pub title: String,
    /// What it asks, in our words.
    pub text: String,
    /// As the worst of its controls.
    pub status: Standing,
    /// The controls that serve it.
    pub controls: Vec<Token>,
}

/// A control, how it stands and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ControlReport {
    /// Its name.
    pub control: Token,
    /// What it is about.
    pub title: String,
    /// What Omnibus does.
    pub omnibus: String,
    /// What the operator must do.
    pub operator: String,
    /// How it stands at this moment.
    pub status: Standing,
    /// Each check.
    pub checks: Vec<CheckReport>,
    /// Evidence in force, newest first, 20 at most.
    pub evidence: Vec<EvidenceItem>,
}

/// A check and what it found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CheckReport {
    /// Its name.
    pub check: Token,
    /// What must hold.
    pub title: String,
    /// How it stands.
    pub status: Standing,
    /// What was found, for people.
    pub detail: String,
    /// The entry that shows it, where one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<EntryLink>,
}

/// A control that is not met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReportException {
    /// Which control.
    pub control: Token,
    /// How it stands.
    pub status: Standing,
    /// Why.
    pub detail: String,
    /// The risk by which somebody took this upon them, if somebody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<AcceptedRisk>,
}

/// A risk that was accepted, for a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AcceptedRisk {
    /// The risk.
    pub risk_id: Uuid,
    /// Who accepted it.
    pub by: String,
    /// Until when.
    pub until: DateTime<Utc>,
    /// Why.
    pub note: String,
}

impl Query for ComplianceReport {
    type Answer = ReportDocument;
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "compliance_report";
    const HTTP: Option<Http> = Some(Http::get("/api/v1/compliance/report"));
    const SCOPE: &'static str = "compliance:read";

    fn example() -> Self {
        ComplianceReport { framework: Framework::Soc2 }
    }
}

/// Asks for a framework's report as a page to read and print.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct ComplianceReportPage {
    /// Which framework.
    #[garde(skip)]
    pub framework: Framework,
}

/// A page. The door sends the text alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HtmlPage {
    /// HTML without scripts, which loads nothing.
    pub html: String,
}

impl Query for ComplianceReportPage {
    type Answer = HtmlPage;
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "compliance_report_page";
    const HTTP: Option<Http> = Some(Http::get("/api/v1/compliance/report.html"));
    const SCOPE: &'static str = "compliance:read";
    const PAGE: bool = true;

    fn example() -> Self {
        ComplianceReportPage { framework: Framework::Soc2 }
    }
}
