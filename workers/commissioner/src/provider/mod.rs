//! Who pays the partners: a folder of CSV files for the bank, or a provider over HTTP. Both know a payout by its id, so
//! what was handed over twice is one payout.

mod file;
pub(crate) use file::plain;
mod http;

use chrono::{DateTime, Utc};
use omnibus_runtime::{CallError, Found};
use omnibus_schemas::commissioner::Currency;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::settings::Settings;
use file::Folder;
use http::Client;

/// What leaves.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Payment {
    pub(crate) tenant: String,
    pub(crate) program: String,
    /// What the provider tells repetitions by.
    pub(crate) payout_id: Uuid,
    pub(crate) partner_id: Uuid,
    pub(crate) name: String,
    pub(crate) account: String,
    /// In the minor unit.
    pub(crate) amount: i64,
    pub(crate) currency: Currency,
    pub(crate) reserved_at: DateTime<Utc>,
}

/// What came back.
#[derive(Debug, Clone)]
pub(crate) struct Receipt {
    /// What the provider knows the payout by.
    pub(crate) reference: String,
    /// Has the money arrived already?
    pub(crate) paid: bool,
}

#[derive(Debug)]
pub(crate) enum Provider {
    File(Folder),
    Http(Client),
}

impl Provider {
    pub(crate) fn new(settings: &Settings) -> anyhow::Result<Self> {
        match &settings.payout_url {
            Some(url) => Ok(Provider::Http(Client::new(url, settings)?)),
            None => Ok(Provider::File(Folder::new(settings.payout_dir.clone()))),
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Provider::File(_) => "file",
            Provider::Http(_) => "http",
        }
    }

    pub(crate) async fn pay(&self, payment: &Payment) -> Result<Receipt, CallError> {
        match self {
            Provider::File(folder) => folder.pay(payment.clone()).await,
            Provider::Http(client) => client.pay(payment).await,
        }
    }

    /// Did it happen?
    pub(crate) async fn find(&self, payment: &Payment) -> anyhow::Result<Found<Receipt>> {
        match self {
            Provider::File(folder) => folder.find(payment.clone()).await,
            Provider::Http(client) => client.find(payment).await,
        }
    }
}
