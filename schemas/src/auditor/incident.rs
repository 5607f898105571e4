//! Incidents: reported, contained, resolved, closed with what was learned. Where personal data is touched, the day by which
//! people must be told is kept with it.

use chrono::{DateTime, Utc};
use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{DOMAIN, ONE_LINE, Severity, a_page, example_id, example_time, one_line};
use crate::contract::{Command, Event, Http, Query};

/// Reports an incident.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct ReportIncident {
    /// What happened. 1 to 200 characters, and nobody's name.
    #[garde(length(chars, min = 1, max = 200), custom(one_line))]
    #[schemars(regex(pattern = ONE_LINE))]
    pub title: String,
    /// How bad it is.
    #[garde(skip)]
    pub severity: Severity,
    /// When somebody noticed; now if absent. Not in the future.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub noticed_at: Option<DateTime<Utc>>,
    /// Is data about people touched? Then they must be told within 60 days of the day it was noticed (45 CFR 164.404).
    #[serde(default)]
    #[garde(skip)]
    pub personal_data: bool,
}

impl Command for ReportIncident {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "report_incident";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/compliance/incidents"));
    const SCOPE: &'static str = "compliance:write";

    fn example() -> Self {
        ReportIncident {
            title: "A key was found in a public repository".into(),
            severity: Severity::High,
            noticed_at: None,
            personal_data: false,
        }
    }
}

/// An incident is reported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IncidentReported {
    /// Its id, which is the command's.
    pub incident_id: Uuid,
    /// How bad it is.
    pub severity: Severity,
    /// When somebody noticed.
    pub noticed_at: DateTime<Utc>,
    /// By when people must be told, if data about them is touched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tell_by: Option<DateTime<Utc>>,
}

impl Event for IncidentReported {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "incident_reported";

    fn example() -> Self {
        IncidentReported {
            incident_id: example_id(0x51),
            severity: Severity::High,
            noticed_at: example_time("2026-05-01T09:00:00Z"),
            tell_by: None,
        }
    }
}

/// Where an incident stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum IncidentState {
    /// Reported.
    Open,
    /// It does no more harm.
    Contained,
    /// Its cause is gone.
    Resolved,
    /// What was learned is written down.
    Closed,
}

/// What a step does to an incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum IncidentStep {
    /// It does no more harm.
    Contain,
    /// Its cause is gone.
    Resolve,
    /// Those whose data was touched have been told.
    Tell,
    /// What was learned is written down. Not before people were told, if they must be.
    Close,
}

/// Takes an incident one step further.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct MoveIncident {
    /// Which.
    #[garde(skip)]
    pub incident_id: Uuid,
    /// Which step.
    #[garde(skip)]
    pub step: IncidentStep,
    /// What was done, or learned. 1 to 2000 characters.
    #[garde(length(chars, min = 1, max = 2000), custom(one_line))]
    #[schemars(regex(pattern = ONE_LINE))]
    pub note: String,
}

impl Command for MoveIncident {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "move_incident";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/compliance/incidents/{incident_id}/steps"));
    const SCOPE: &'static str = "compliance:write";

    fn example() -> Self {
        MoveIncident { incident_id: example_id(0x51), step: IncidentStep::Contain, note: "The key is revoked".into() }
    }
}

/// An incident stands elsewhere than before, or people were told of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IncidentMoved {
    /// Which.
    pub incident_id: Uuid,
    /// What was done.
    pub step: IncidentStep,
    /// Where it stands now.
    pub state: IncidentState,
    /// Who did it.
    pub by: String,
}

impl Event for IncidentMoved {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "incident_moved";

    fn example() -> Self {
        IncidentMoved {
            incident_id: example_id(0x51),
            step: IncidentStep::Contain,
            state: IncidentState::Contained,
            by: "key:01979f6e".into(),
        }
    }
}

/// Lists incidents, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct Incidents {
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

/// A page of incidents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IncidentItems {
    /// The incidents.
    pub items: Vec<Incident>,
    /// Where the next page begins; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// An incident.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Incident {
    /// Its id.
    pub incident_id: Uuid,
    /// What happened.
    pub title: String,
    /// How bad it is.
    pub severity: Severity,
    /// Where it stands.
    pub state: IncidentState,
    /// When it was reported.
    pub reported_at: DateTime<Utc>,
    /// When somebody noticed.
    pub noticed_at: DateTime<Utc>,
    /// By when people must be told, if data about them is touched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tell_by: Option<DateTime<Utc>>,
    /// When they were told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told_at: Option<DateTime<Utc>>,
    /// What was done or learned last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl Query for Incidents {
    type Answer = IncidentItems;
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "incidents";
    const HTTP: Option<Http> = Some(Http::get("/api/v1/compliance/incidents"));
    const SCOPE: &'static str = "compliance:read";

    fn example() -> Self {
        Incidents { after: None, limit: 50 }
    }
}
