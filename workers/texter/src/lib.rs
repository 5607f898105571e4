#![doc = include_str!("../README.md")]

mod consent;
mod dispatch;
mod errors;
mod gate;
mod ledger;
pub mod number;
pub mod provider;
pub mod quiet;
pub mod secret;
pub mod segments;
mod send_sms;
pub mod settings;
mod sms_status;
mod status;
mod stops;

pub use settings::Settings;

use std::sync::Arc;

use omnibus_runtime::Worker;
use omnibus_schemas::texter::{DeleteOptOut, OptOuts, PutOptOut, ResumeProvider, SendSms, SmsStatus};

use ledger::Caps;
use provider::Provider;
use secret::Secret;

/// The worker's tables.
const MIGRATIONS: &[(&str, &str)] = &[
    ("0001_messages", include_str!("../migrations/0001_messages.sql")),
    ("0002_consent", include_str!("../migrations/0002_consent.sql")),
    ("0003_codes", include_str!("../migrations/0003_codes.sql")),
];

/// The worker: its tables, and what it does with each command and query.
pub fn worker(settings: Settings) -> anyhow::Result<Worker> {
    Ok(Worker::new("texter", Texter::new(&settings)?)
        .migrations("texter", MIGRATIONS)
        .effects::<SendSms>()
        .handles::<PutOptOut>()
        .handles::<DeleteOptOut>()
        .handles::<ResumeProvider>()
        .answers::<SmsStatus>()
        .answers::<OptOuts>()
        .build())
}

/// What the handlers share.
#[derive(Debug)]
pub struct Texter {
    providers: Vec<Arc<dyn Provider>>,
    secret: Secret,
    caps: Caps,
    currency: String,
    public_url: Option<String>,
    /// How long a provider gets to list what it has taken.
    settle: chrono::Duration,
    settings: Settings,
}

impl Texter {
    /// Checks the settings. Connects to nothing yet.
    pub fn new(settings: &Settings) -> anyhow::Result<Self> {
        Ok(Texter {
            providers: provider::providers(settings)?,
            secret: settings.secret()?,
            caps: Caps { daily: settings.sms_daily_cap, country: settings.sms_country_cap },
            currency: settings.sms_currency.clone(),
            public_url: settings.public_url()?,
            settle: chrono::Duration::seconds(settings.sms_settle_seconds.into()),
            settings: settings.clone(),
        })
    }
}
