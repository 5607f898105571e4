//! A look at a set time, and back by itself.

use chrono::{DateTime, Utc};
use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{BRANDER, OPERATE, READ, WRITE, a_time, an_id, fifty};
use crate::contract::{Command, Event, Http, Query};

/// Makes a version active at a time, and, if an end is set, the one before it again at the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct ScheduleBranding {
    /// The version's number.
    #[garde(range(min = 1))]
    pub version: u32,
    /// When it becomes active. Later than now, within two years.
    #[garde(skip)]
    pub from: DateTime<Utc>,
    /// When the version that was active before comes back, unless somebody has activated another in between. At least
    /// a minute after `from`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub until: Option<DateTime<Utc>>,
}

impl Command for ScheduleBranding {
    const DOMAIN: &'static str = BRANDER;
    const NAME: &'static str = "schedule_branding";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/whitelabel/branding/schedule"));
    const SCOPE: &'static str = WRITE;

    fn example() -> Self {
        ScheduleBranding { version: 4, from: a_time(0), until: Some(a_time(48)) }
    }
}

/// A version has its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BrandingScheduled {
    /// The schedule's id.
    pub schedule_id: Uuid,
    /// The version.
    pub version: u32,
    /// From when.
    pub from: DateTime<Utc>,
    /// Until when.
    pub until: Option<DateTime<Utc>>,
}

impl Event for BrandingScheduled {
    const DOMAIN: &'static str = BRANDER;
    const NAME: &'static str = "branding_scheduled";

    fn example() -> Self {
        BrandingScheduled { schedule_id: an_id(2), version: 4, from: a_time(0), until: Some(a_time(48)) }
    }
}

/// Lets a schedule go. One that has begun stays as it is: the look remains, and nothing reverts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct CancelSchedule {
    /// The schedule.
    #[garde(skip)]
    pub schedule_id: Uuid,
}

impl Command for CancelSchedule {
    const DOMAIN: &'static str = BRANDER;
    const NAME: &'static str = "cancel_schedule";
    const HTTP: Option<Http> = Some(Http::delete("/api/v1/whitelabel/branding/schedule/{schedule_id}"));
    const SCOPE: &'static str = WRITE;

    fn example() -> Self {
        CancelSchedule { schedule_id: an_id(2) }
    }
}

/// A schedule was let go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ScheduleCancelled {
    /// The schedule.
    pub schedule_id: Uuid,
}

impl Event for ScheduleCancelled {
    const DOMAIN: &'static str = BRANDER;
    const NAME: &'static str = "schedule_cancelled";

    fn example() -> Self {
        ScheduleCancelled { schedule_id: an_id(2) }
    }
}

/// Which end of a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Turn {
    /// Its beginning.
    Begin,
    /// Its end.
    End,
}

/// A schedule's time has come. The worker tells itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct TurnSchedule {
    /// The schedule.
    #[garde(skip)]
    pub schedule_id: Uuid,
    /// Which end of it.
    #[garde(skip)]
    pub turn: Turn,
}

impl Command for TurnSchedule {
    const DOMAIN: &'static str = BRANDER;
    const NAME: &'static str = "turn_schedule";
    const SCOPE: &'static str = OPERATE;

    fn example() -> Self {
        TurnSchedule { schedule_id: an_id(2), turn: Turn::Begin }
    }
}

/// A schedule's time came, and nothing was switched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ScheduleSkipped {
    /// The schedule.
    pub schedule_id: Uuid,
    /// Which end of it.
    pub turn: Turn,
    /// `cancelled`, `already_turned`, `another_is_active` or `nothing_before`.
    pub why: String,
}

impl Event for ScheduleSkipped {
    const DOMAIN: &'static str = BRANDER;
    const NAME: &'static str = "schedule_skipped";

    fn example() -> Self {
        ScheduleSkipped { schedule_id: an_id(2), turn: Turn::End, why: "another_is_active".into() }
    }
}

/// Lists schedules, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct Schedules {
    /// Only those after this one: `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub after: Option<Uuid>,
    /// At most this many, 1 to 200.
    #[serde(default = "fifty")]
    #[garde(range(min = 1, max = 200))]
    pub limit: u32,
}

/// A page of schedules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SchedulesPage {
    /// Newest first.
    pub schedules: Vec<ScheduleRow>,
    /// What to ask for as `after` to go on; absent at the end.
    pub next: Option<Uuid>,
}

/// One schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ScheduleRow {
    /// Its id.
    pub schedule_id: Uuid,
    /// The version.
    pub version: u32,
    /// From when.
    pub from: DateTime<Utc>,
    /// Until when.
    pub until: Option<DateTime<Utc>>,
    /// `waiting`, `running`, `over`, `skipped` or `cancelled`.
    pub status: String,
}

impl Query for Schedules {
    type Answer = SchedulesPage;
    const DOMAIN: &'static str = BRANDER;
    const NAME: &'static str = "schedules";
    const HTTP: Option<Http> = Some(Http::get("/api/v1/whitelabel/branding/schedules"));
    const SCOPE: &'static str = READ;

    fn example() -> Self {
        Schedules { after: None, limit: 50 }
    }
}
