//! Programs: the rules by which partners earn. Every change makes a new version; orders keep the one they were made under.

use chrono::{DateTime, Utc};
use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Currency, DOMAIN, ONE_LINE, a_page, a_time, main_program, one_line, yes};
use crate::Token;
use crate::contract::{Command, Event, Http, Query};

/// Makes a program, or gives it new rules from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct SetProgram {
    /// The program's name in addresses and commands: 1 to 64 characters of a-z, 0-9, '_' and '-'.
    #[garde(skip)]
    pub program: Token,
    /// Its name for people. 1 to 80 characters.
    #[garde(length(chars, min = 1, max = 80), custom(one_line))]
    #[schemars(regex(pattern = ONE_LINE))]
    pub name: String,
    /// In which commissions are earned where an order brings a rate; the minimum payout is in it. It can't be changed.
    #[garde(skip)]
    pub currency: Currency,
    /// What each tier earns.
    #[serde(default)]
    #[garde(dive)]
    pub rates: Rates,
    /// What the selling partner's parent, its parent and so on earn on a sale, in basis points, nearest first: as many
    /// levels as rates, at most 5.
    #[serde(default = "two_percent")]
    #[garde(length(max = 5), inner(range(max = 10_000)))]
    pub overrides_bp: Vec<u32>,
    /// Of what the overrides are taken.
    #[serde(default)]
    #[garde(skip)]
    pub override_base: OverrideBase,
    /// How many ancestors a partner may have, 1 to 10.
    #[serde(default = "five")]
    #[garde(range(min = 1, max = 10))]
    pub max_depth: u32,
    /// Days from a click to the first order that it still brings.
    #[serde(default = "thirty")]
    #[garde(range(min = 1, max = 365))]
    pub window_days: u32,
    /// Days from an order until what it earned may be paid.
    #[serde(default = "thirty")]
    #[garde(range(max = 365))]
    pub hold_days: u32,
    /// The least that is paid at once, in the minor unit of the currency.
    #[serde(default)]
    #[garde(range(min = 0, max = 1_000_000_000))]
    pub minimum_payout: i64,
    /// Does the commission base leave out tax?
    #[serde(default = "yes")]
    #[garde(skip)]
    pub without_tax: bool,
    /// Does the commission base leave out shipping?
    #[serde(default = "yes")]
    #[garde(skip)]
    pub without_shipping: bool,
    /// Does the commission base leave out what was taken off as a discount? If not, partners earn on the price before it.
    #[serde(default = "yes")]
    #[garde(skip)]
    pub without_discount: bool,
    /// Hosts that links may lead to, at most 20, such as `shop.example.com`. The first is where a link leads that names
    /// no address.
    #[serde(default)]
    #[garde(length(max = 20), inner(length(min = 1, max = 253)))]
    pub sites: Vec<String>,
    /// The day of the month, 1 to 28, on which all that is due is paid by itself; 0 for never.
    #[serde(default)]
    #[garde(range(max = 28))]
    pub payout_day: u32,
    /// Are partners approved as they register?
    #[serde(default)]
    #[garde(skip)]
    pub auto_approve: bool,
    /// Who rises by rule: sales of the last 90 days, in the minor unit of the program's currency.
    #[serde(default)]
    #[garde(dive)]
    pub tiers_from: TierThresholds,
}

/// Rates by tier, in basis points (100 bp = 1 %).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct Rates {
    /// Bronze; 500 is 5 %.
    #[garde(range(max = 10_000))]
    pub bronze_bp: u32,
    /// Silver; 1000 is 10 %.
    #[garde(range(max = 10_000))]
    pub silver_bp: u32,
    /// Gold; 1500 is 15 %.
    #[garde(range(max = 10_000))]
    pub gold_bp: u32,
    /// Platinum; 2000 is 20 %.
    #[garde(range(max = 10_000))]
    pub platinum_bp: u32,
}

impl Default for Rates {
    fn default() -> Self {
        Rates { bronze_bp: 500, silver_bp: 1000, gold_bp: 1500, platinum_bp: 2000 }
    }
}

/// Sales from which a tier is reached by rule; 0 for a tier that is given by hand only.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct TierThresholds {
    /// Silver from.
    #[garde(range(min = 0, max = 1_000_000_000_000_i64))]
    pub silver: i64,
    /// Gold from.
    #[garde(range(min = 0, max = 1_000_000_000_000_i64))]
    pub gold: i64,
    /// Platinum from.
    #[garde(range(min = 0, max = 1_000_000_000_000_i64))]
    pub platinum: i64,
}

/// Of what a parent's share is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OverrideBase {
    /// Of the sale's commission base.
    #[default]
    Sale,
    /// Of what the partner one level below earned on it.
    ChildCommission,
}

fn two_percent() -> Vec<u32> {
    vec![200]
}

fn five() -> u32 {
    5
}

fn thirty() -> u32 {
    30
}

impl Command for SetProgram {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "set_program";
    const HTTP: Option<Http> = Some(Http::put("/api/v1/partners/programs/{program}"));
    const SCOPE: &'static str = "partners:write";

    fn example() -> Self {
        SetProgram {
            program: main_program(),
            name: "Friends of the shop".into(),
            currency: "EUR".parse().expect("EUR is known"),
            rates: Rates::default(),
            overrides_bp: two_percent(),
            override_base: OverrideBase::Sale,
            max_depth: 5,
            window_days: 30,
            hold_days: 30,
            minimum_payout: 5000,
            without_tax: true,
            without_shipping: true,
            without_discount: true,
            sites: vec!["shop.example.com".into()],
            payout_day: 1,
            auto_approve: false,
            tiers_from: TierThresholds::default(),
        }
    }
}

/// A program has new rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProgramSet {
    /// The program.
    pub program: Token,
    /// The rules' version, from 1. Orders the events about one program.
    pub version: i32,
    /// From when they hold.
    pub effective_from: DateTime<Utc>,
    /// When what is due is paid next by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_payout_run: Option<DateTime<Utc>>,
}

impl Event for ProgramSet {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "program_set";

    fn example() -> Self {
        ProgramSet { program: main_program(), version: 1, effective_from: a_time(), next_payout_run: None }
    }
}

/// Asks for a program's rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct ProgramRules {
    /// The program.
    #[garde(skip)]
    pub program: Token,
}

/// A program as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProgramReport {
    /// The version of the rules.
    pub version: i32,
    /// From when they hold.
    pub effective_from: DateTime<Utc>,
    /// The rules, as they were set.
    pub rules: SetProgram,
    /// When what is due is paid next by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_payout_run: Option<DateTime<Utc>>,
}

impl Query for ProgramRules {
    type Answer = ProgramReport;
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "program_rules";
    const HTTP: Option<Http> = Some(Http::get("/api/v1/partners/programs/{program}"));
    const SCOPE: &'static str = "partners:read";

    fn example() -> Self {
        ProgramRules { program: main_program() }
    }
}

/// Asks for all programs, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct Programs {
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

/// A page of programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProgramsPage {
    /// The programs.
    pub items: Vec<ProgramReport>,
    /// Where the next page begins; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl Query for Programs {
    type Answer = ProgramsPage;
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "programs";
    const HTTP: Option<Http> = Some(Http::get("/api/v1/partners/programs"));
    const SCOPE: &'static str = "partners:read";

    fn example() -> Self {
        Programs { after: None, limit: 50 }
    }
}
