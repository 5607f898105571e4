//! Who may be texted, and when.

use chrono::{DateTime, Utc};
use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::DOMAIN;
use crate::contract::{Command, Event, Http, Query};

/// Which texts an opt-out is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Covers {
    /// All of them, codes included.
    #[default]
    All,
    /// Advertising.
    Marketing,
}

/// Opts a number out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct PutOptOut {
    /// The number: E.164, or as it is dialled inside `country`.
    #[garde(length(chars, min = 1, max = 40))]
    #[schemars(extend("x-personal" = "subject"))]
    pub number: String,
    /// Whose national numbers `number` is written in: two letters, ISO 3166-1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(chars, min = 2, max = 2)))]
    #[schemars(length(min = 2, max = 2))]
    pub country: Option<String>,
    /// The sender it holds for; all of the tenant's if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(chars, min = 1, max = 40)))]
    #[schemars(length(min = 1, max = 40))]
    pub sender: Option<String>,
    /// Which texts it is about.
    #[serde(default)]
    #[garde(skip)]
    pub covers: Covers,
}

impl Command for PutOptOut {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "put_opt_out";
    const HTTP: Option<Http> = Some(Http::put("/api/v1/sms/opt-outs"));
    const SCOPE: &'static str = "sms:consent";

    fn example() -> Self {
        PutOptOut { number: "+14155552673".into(), country: None, sender: None, covers: Covers::All }
    }
}

/// Takes an opt-out back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct DeleteOptOut {
    /// The number: E.164, or as it is dialled inside `country`.
    #[garde(length(chars, min = 1, max = 40))]
    #[schemars(extend("x-personal" = "subject"))]
    pub number: String,
    /// Whose national numbers `number` is written in: two letters, ISO 3166-1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(chars, min = 2, max = 2)))]
    #[schemars(length(min = 2, max = 2))]
    pub country: Option<String>,
    /// The sender it holds for; the tenant's own opt-out if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(chars, min = 1, max = 40)))]
    #[schemars(length(min = 1, max = 40))]
    pub sender: Option<String>,
}

impl Command for DeleteOptOut {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "delete_opt_out";
    const HTTP: Option<Http> = Some(Http::delete("/api/v1/sms/opt-outs"));
    const SCOPE: &'static str = "sms:consent";

    fn example() -> Self {
        DeleteOptOut { number: "+14155552673".into(), country: None, sender: None }
    }
}

/// Asks who has opted out, in order of number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct OptOuts {
    /// Only this number, in E.164.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(chars, min = 1, max = 40)))]
    #[schemars(length(min = 1, max = 40))]
    pub number: Option<String>,
    /// Those after this one: `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(chars, min = 1, max = 100)))]
    #[schemars(length(min = 1, max = 100))]
    pub after: Option<String>,
    /// How many; 100 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(range(min = 1, max = 1000)))]
    #[schemars(range(min = 1, max = 1000))]
    pub limit: Option<u32>,
}

/// One opt-out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OptOut {
    /// The number, E.164.
    pub number: String,
    /// The sender it holds for; all of the tenant's if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender: Option<String>,
    /// Which texts it is about.
    pub covers: Covers,
    /// Where it came from: `word`, `provider` or `command`.
    pub source: String,
    /// Since when.
    pub since: DateTime<Utc>,
}

/// A page of opt-outs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OptOutList {
    /// In order of number.
    pub opt_outs: Vec<OptOut>,
    /// Where the next page begins, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl Query for OptOuts {
    type Answer = OptOutList;
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "opt_outs";
    const HTTP: Option<Http> = Some(Http::get("/api/v1/sms/opt-outs"));
    const SCOPE: &'static str = "sms:read";

    fn example() -> Self {
        OptOuts { number: None, after: None, limit: Some(100) }
    }
}

/// In or out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConsentState {
    /// May be written to.
    OptedIn,
    /// May not.
    OptedOut,
}

/// Somebody has opted out, or in again. The same shape for every channel: whoever keeps consent elsewhere reads this one
/// event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConsentChanged {
    /// `sms`.
    pub channel: String,
    /// Who: here a number, E.164.
    #[schemars(extend("x-personal" = "subject"))]
    pub recipient: String,
    /// The sender it holds for; all of the tenant's if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender: Option<String>,
    /// Which messages it is about.
    pub covers: Covers,
    /// In or out.
    pub state: ConsentState,
    /// Where it came from: `word` (the recipient wrote it), `provider` (it refused to send) or `command`.
    pub source: String,
}

impl Event for ConsentChanged {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "consent_changed";

    fn example() -> Self {
        ConsentChanged {
            channel: "sms".into(),
            recipient: "+14155552673".into(),
            sender: Some("+15005550006".into()),
            covers: Covers::All,
            state: ConsentState::OptedOut,
            source: "word".into(),
        }
    }
}

/// Sets the hours in which no text but codes and urgent ones leaves, on the recipient's clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct SetQuietHours {
    /// When they begin, `HH:MM`.
    #[garde(length(chars, min = 5, max = 5))]
    pub from: String,
    /// When they end, `HH:MM`; earlier than `from` if midnight lies between.
    #[garde(length(chars, min = 5, max = 5))]
    pub to: String,
    /// The IANA zone of recipients whose own is not known, such as `Europe/Berlin`.
    #[garde(length(chars, min = 1, max = 64))]
    pub timezone: String,
}

impl Command for SetQuietHours {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "set_quiet_hours";
    const HTTP: Option<Http> = Some(Http::put("/api/v1/sms/quiet-hours"));
    const SCOPE: &'static str = "sms:consent";

    fn example() -> Self {
        SetQuietHours { from: "21:00".into(), to: "08:00".into(), timezone: "America/New_York".into() }
    }
}

/// Lets texts leave at any hour again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct ClearQuietHours {}

impl Command for ClearQuietHours {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "clear_quiet_hours";
    const HTTP: Option<Http> = Some(Http::delete("/api/v1/sms/quiet-hours"));
    const SCOPE: &'static str = "sms:consent";

    fn example() -> Self {
        ClearQuietHours {}
    }
}

/// Quiet hours were set, or taken away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct QuietHoursChanged {
    /// When they begin, `HH:MM`; none if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// When they end, `HH:MM`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// The zone of recipients whose own is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
}

impl Event for QuietHoursChanged {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "quiet_hours_changed";

    fn example() -> Self {
        QuietHoursChanged {
            from: Some("21:00".into()),
            to: Some("08:00".into()),
            timezone: Some("America/New_York".into()),
        }
    }
}
