//! What-if: orders of the past replayed under other rates, changing nothing.

use chrono::{DateTime, Utc};
use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Currency, DOMAIN, OverrideBase, Rates, a_time, main_program};
use crate::Token;
use crate::contract::{Command, Event, Http};

/// Replays a program's orders under other rates and tells what partners would have earned. Nothing is changed; the result
/// is the event, which `Prefer: wait` answers with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct Simulate {
    /// The program.
    #[garde(skip)]
    pub program: Token,
    /// Orders paid from then on; 90 days before `until` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub from: Option<DateTime<Utc>>,
    /// Orders paid before; now if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub until: Option<DateTime<Utc>>,
    /// What each tier would have earned.
    #[garde(dive)]
    pub rates: Rates,
    /// What the levels above would have earned, in basis points, nearest first.
    #[serde(default)]
    #[garde(length(max = 5), inner(range(max = 10_000)))]
    pub overrides_bp: Vec<u32>,
    /// Of what the overrides would have been taken.
    #[serde(default)]
    #[garde(skip)]
    pub override_base: OverrideBase,
}

impl Command for Simulate {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "simulate";
    const LANE: &'static str = "reports";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/partners/simulate"));
    const SCOPE: &'static str = "partners:read";

    fn example() -> Self {
        Simulate {
            program: main_program(),
            from: None,
            until: None,
            rates: Rates { bronze_bp: 600, silver_bp: 1100, gold_bp: 1500, platinum_bp: 2000 },
            overrides_bp: vec![200],
            override_base: OverrideBase::Sale,
        }
    }
}

/// What partners would have earned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SimulationDone {
    /// The program.
    pub program: Token,
    /// Orders paid from then on.
    pub from: DateTime<Utc>,
    /// Orders paid before.
    pub until: DateTime<Utc>,
    /// How many orders were replayed.
    pub orders: i64,
    /// By currency; nothing is added across them.
    pub totals: Vec<SimulatedTotal>,
}

/// One currency's totals, in the minor unit, refunds taken off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SimulatedTotal {
    /// The currency.
    pub currency: Currency,
    /// What was earned.
    pub earned: i64,
    /// What would have been earned.
    pub simulated: i64,
    /// How many partners would have earned more.
    pub more: i64,
    /// How many partners would have earned less.
    pub less: i64,
}

impl Event for SimulationDone {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "simulation_done";

    fn example() -> Self {
        let currency = "EUR".parse().expect("EUR is known");
        SimulationDone {
            program: main_program(),
            from: a_time(),
            until: a_time(),
            orders: 1,
            totals: vec![SimulatedTotal { currency, earned: 500, simulated: 600, more: 1, less: 0 }],
        }
    }
}
