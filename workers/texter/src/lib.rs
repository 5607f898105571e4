#![doc = include_str!("../README.md")]

mod budgets;
mod cancel_sms;
mod check_message;
mod consent;
mod costs;
mod dispatch;
mod draft;
mod errors;
mod estimate_sms;
mod fraud;
mod gate;
mod ledger;
mod locks;
mod note_status;
pub mod number;
mod outcome;
mod prepare_many;
pub mod provider;
mod queue;
pub mod quiet;
mod quiet_hours;
mod receive_sms;
mod record_many;
mod replies;
mod retry_sms;
mod route;
pub mod secret;
pub mod segments;
mod send_batch;
mod send_code;
mod send_sms;
mod send_template;
pub mod settings;
pub mod signature;
mod sms_stats;
mod sms_status;
mod status;
mod stops;
mod templates;
mod upkeep;
mod verify_code;
mod waiting;
mod webhooks;
pub mod words;

pub use settings::Settings;

use std::sync::Arc;

use omnibus_runtime::Worker;
use omnibus_schemas::texter::{
    Budgets, CancelSms, CheckMessage, ClearQuietHours, Costs, DeleteOptOut, EstimateSms, NoteStatus, NoteTrouble,
    OptOuts, PutOptOut, ReceiveSms, ResetFuse, ResumeProvider, RetrySms, SealCode, SendBatch, SendCode, SendSms,
    SendTemplate, SetBudget, SetQuietHours, SmsStats, SmsStatus, SmsTemplates, TwilioInbound, TwilioStatus, VerifyCode,
};

use ledger::Caps;
use provider::Provider;
use secret::Secret;
use stops::Troubles;

/// The worker's tables.
const MIGRATIONS: &[(&str, &str)] = &[
    ("0001_messages", include_str!("../migrations/0001_messages.sql")),
    ("0002_consent", include_str!("../migrations/0002_consent.sql")),
    ("0003_codes", include_str!("../migrations/0003_codes.sql")),
    ("0004_waiting", include_str!("../migrations/0004_waiting.sql")),
    ("0005_look_ups", include_str!("../migrations/0005_look_ups.sql")),
    ("0006_replies", include_str!("../migrations/0006_replies.sql")),
    ("0007_forgetting", include_str!("../migrations/0007_forgetting.sql")),
];

/// The worker: its tables, and what it does with each command and query.
pub fn worker(settings: Settings) -> anyhow::Result<Worker> {
    Ok(Worker::new("texter", Texter::new(&settings)?)
        .migrations("texter", MIGRATIONS)
        .effects_many::<SendSms>()
        .effects_many::<SendTemplate>()
        .handles::<SendBatch>()
        .effects::<CancelSms>()
        .effects::<SendCode>()
        .handles::<VerifyCode>()
        .handles::<PutOptOut>()
        .handles::<DeleteOptOut>()
        .handles::<SetQuietHours>()
        .handles::<ClearQuietHours>()
        .handles::<SetBudget>()
        .handles::<ResetFuse>()
        .handles::<ResumeProvider>()
        .handles_many::<NoteStatus>()
        .handles::<NoteTrouble>()
        .handles::<ReceiveSms>()
        .effects::<CheckMessage>()
        .effects::<RetrySms>()
        .answers::<SmsStatus>()
        .answers::<SmsTemplates>()
        .answers::<SmsStats>()
        .answers::<OptOuts>()
        .answers::<Costs>()
        .answers::<Budgets>()
        .answers::<EstimateSms>()
        .answers::<SealCode>()
        .receives::<TwilioStatus>()
        .receives::<TwilioInbound>()
        .runs("roll_up", upkeep::roll_up)
        .runs("listen", upkeep::listen)
        .runs("troubles", stops::note)
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
    troubles: Troubles,
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
            troubles: Troubles::new(),
            currency: settings.sms_currency.clone(),
            public_url: settings.public_url()?,
            // The call itself may last until its time-out.
            settle: chrono::Duration::seconds((settings.sms_settle_seconds + settings.sms_timeout).into()),
            settings: settings.clone(),
        })
    }
}
