//! Clicks on partners' links.

use chrono::{DateTime, Utc};
use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{DOMAIN, ONE_LINE, a_partner, an_id, main_program, one_line};
use crate::Token;
use crate::contract::{Command, Event};

/// Records that a link was followed. The click's id is the command's. The redirect itself publishes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct RecordClick {
    /// The link's code: 3 to 32 characters of A-Z, a-z, 0-9 and '-'.
    #[garde(length(min = 3, max = 32), pattern("^[A-Za-z0-9-]*$"))]
    #[schemars(regex(pattern = "^[A-Za-z0-9-]*$"))]
    pub link: String,
    /// Did the visitor agree to be recognised? Without it the click is counted, and brings no order.
    #[serde(default)]
    #[garde(skip)]
    pub consent: bool,
    /// The host of the page with the link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(max = 253), custom(one_line)))]
    #[schemars(length(max = 253), regex(pattern = ONE_LINE))]
    pub referrer: Option<String>,
    /// When; now if absent. Not in the future.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub clicked_at: Option<DateTime<Utc>>,
}

impl Command for RecordClick {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "record_click";
    const SCOPE: &'static str = "partners:record";

    fn example() -> Self {
        RecordClick { link: "k7m2q9x4tb".into(), consent: true, referrer: None, clicked_at: None }
    }
}

/// A link was followed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClickRecorded {
    /// The click.
    pub click_id: Uuid,
    /// Whose link it was.
    pub partner_id: Uuid,
    /// Of which program.
    pub program: Token,
    /// Can it bring an order?
    pub consent: bool,
}

impl Event for ClickRecorded {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "click_recorded";

    fn example() -> Self {
        ClickRecorded { click_id: an_id(3), partner_id: a_partner(), program: main_program(), consent: true }
    }
}
