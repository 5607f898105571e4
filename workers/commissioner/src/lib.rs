#![doc = include_str!("../README.md")]

mod cents;
mod decide_partner;
mod names;
mod order;
mod partner;
mod record_order;
mod register_partner;
mod rules;
mod set_program;
pub mod settings;
mod split;
mod suspicion;
mod tree;
mod words;

pub use settings::Settings;

use omnibus_runtime::Worker;
use omnibus_schemas::commissioner::{DOMAIN, DecidePartner, RecordOrder, RegisterPartner, SetProgram};

use rules::RuleBook;

/// The worker: its tables, and what it does with each command and query.
pub fn worker(settings: Settings) -> anyhow::Result<Worker> {
    Ok(Worker::new(DOMAIN, Commissioner::new(&settings)?)
        .migrations(DOMAIN, &[("0001_ledger", include_str!("../migrations/0001_ledger.sql"))])
        .handles::<SetProgram>()
        .handles::<RegisterPartner>()
        .handles::<DecidePartner>()
        .handles_many::<RecordOrder>()
        .build())
}

/// What the handlers share.
#[derive(Debug)]
pub struct Commissioner {
    rules: RuleBook,
}

impl Commissioner {
    /// Checks the settings. Connects to nothing yet.
    pub fn new(settings: &Settings) -> anyhow::Result<Self> {
        settings.check()?;
        Ok(Commissioner { rules: RuleBook::default() })
    }
}
