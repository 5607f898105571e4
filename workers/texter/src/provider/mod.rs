//! How a text leaves. A provider is anything that takes one over and can, perhaps, be asked afterwards.

mod folder;
mod gateway;
mod twilio;

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use anyhow::Context;
use chrono::{DateTime, Utc};
use omnibus_runtime::{CallError, Found};
use omnibus_schemas::texter::SmsState;
use uuid::Uuid;

use crate::settings::Settings;

pub use folder::Folder;
pub use gateway::Gateway;
pub use twilio::{Twilio, state_of};

/// What a provider's method returns.
pub type Fut<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A text as it leaves.
#[derive(Clone, Copy)]
pub struct Text<'a> {
    /// Ours.
    pub message_id: Uuid,
    /// Whose.
    pub tenant: &'a str,
    /// E.164.
    pub to: &'a str,
    /// A number, a name, or a messaging service.
    pub from: &'a str,
    /// The very words.
    pub body: &'a str,
    /// Where the provider is to tell what becomes of it.
    pub callback: Option<&'a str>,
    /// When the provider is to send it; at once if absent.
    pub send_at: Option<DateTime<Utc>>,
    /// When the first call for it may have gone out.
    pub since: DateTime<Utc>,
    /// The provider's ids of other texts like this one: none of them is this one.
    pub others: &'a [String],
}

/// A provider has taken a text over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The provider's own id of it.
    pub provider_id: String,
    /// How far it was then.
    pub status: SmsState,
    /// When.
    pub at: DateTime<Utc>,
    /// What it cost, if that is known at once.
    pub price_micro: Option<i64>,
}

/// What a provider says of a text that it took over before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// How far it is.
    pub status: SmsState,
    /// Its error code, where there is one.
    pub error_code: Option<u32>,
    /// What it cost, once that is known, with its currency.
    pub price: Option<(i64, String)>,
}

/// Takes texts over.
pub trait Provider: Debug + Send + Sync {
    /// As it stands in rows, events and settings.
    fn name(&self) -> &str;

    /// Whom its texts may come from; the first is its own choice. Not empty.
    fn senders(&self) -> &[String];

    /// Price of a segment in millionths; `None` where it does not send.
    fn price(&self, country: &str) -> Option<i64>;

    /// Does it keep texts of this sender until their time?
    fn schedules(&self, _sender: &str) -> bool {
        false
    }

    /// Takes back a text that it keeps.
    fn cancel<'a>(&'a self, _provider_id: &'a str) -> Fut<'a, Result<(), CallError>> {
        let detail = "the provider takes no text back".to_owned();
        Box::pin(async { Err(CallError::Refused { code: "too_late", detail }) })
    }

    /// Lets a text leave.
    fn send<'a>(&'a self, text: Text<'a>) -> Fut<'a, Result<Receipt, CallError>>;

    /// Did it leave? An error means that the provider could not be asked.
    fn find<'a>(&'a self, text: Text<'a>) -> Fut<'a, anyhow::Result<Found<Receipt>>>;

    /// What has become of it? `None` from one that can't be asked.
    fn ask<'a>(&'a self, provider_id: &'a str) -> Fut<'a, anyhow::Result<Option<Word>>>;

    /// Is it to be asked for what it does not tell by itself?
    fn can_be_asked(&self) -> bool;
}

/// The providers that the settings name, or a folder.
pub fn providers(settings: &Settings) -> anyhow::Result<Vec<Arc<dyn Provider>>> {
    let mut list: Vec<Arc<dyn Provider>> = Vec::new();
    if let Some(account) = &settings.twilio_account_sid {
        list.push(Arc::new(Twilio::new(account, settings).context("Twilio's settings")?));
    }
    if let Some(url) = &settings.gateway_url {
        list.push(Arc::new(Gateway::new(url, settings).context("the gateway's settings")?));
    }
    if list.is_empty() {
        list.push(Arc::new(Folder::new(settings)));
    }
    Ok(list)
}

/// A client for providers: short waits for a connection, no redirects.
fn client(settings: &Settings) -> anyhow::Result<reqwest::Client> {
    // Another part of this process may have chosen before; both choices are ring.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let timeout = std::time::Duration::from_secs(settings.sms_timeout.into());
    Ok(reqwest::Client::builder()
        .timeout(timeout)
        .connect_timeout(timeout.min(std::time::Duration::from_secs(5)))
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("omnibus/", env!("CARGO_PKG_VERSION")))
        .build()?)
}

/// Did a request certainly not leave? Where a connection broke later than that, nobody knows.
fn never_left(error: &reqwest::Error) -> bool {
    error.is_connect() || error.is_builder()
}

/// An error without its address, which may hold a number.
fn quiet(error: reqwest::Error) -> anyhow::Error {
    error.without_url().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_nothing_set_texts_go_into_a_folder() {
        let list = providers(&Settings::defaults()).unwrap();
        assert_eq!(list.iter().map(|provider| provider.name()).collect::<Vec<_>>(), ["folder"]);
    }

    #[test]
    fn twilio_needs_its_token_and_a_sender() {
        let half = Settings { twilio_account_sid: Some(format!("AC{}", "0".repeat(32))), ..Settings::defaults() };
        let error = format!("{:#}", providers(&half).unwrap_err());
        assert!(error.contains("TWILIO_AUTH_TOKEN"), "{error}");
        let half = Settings { twilio_auth_token: Some("token".into()), ..half };
        let error = format!("{:#}", providers(&half).unwrap_err());
        assert!(error.contains("TWILIO_PHONE_NUMBER"), "{error}");
        let whole = Settings { twilio_phone_number: Some("+15005550006".into()), ..half };
        assert_eq!(providers(&whole).unwrap()[0].senders(), ["+15005550006"]);
    }
}
