//! One mail by SendGrid's v3 API. 202 means that SendGrid has it. What the request left behind when the line broke is
//! not known: SendGrid has no idempotency key, so it is not repeated by itself.

use std::time::Duration;

use anyhow::{Context, anyhow};
use omnibus_runtime::{CallError, clock};
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::reply::without_addresses;
use super::{Mail, Receipt};
use crate::settings::Settings;

/// SendGrid's front door, and the key to it.
pub struct SendGrid {
    http: reqwest::Client,
    send: String,
    key: SecretString,
}

impl std::fmt::Debug for SendGrid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SendGrid").field("send", &self.send).finish_non_exhaustive()
    }
}

/// What SendGrid says about a request that it refuses.
#[derive(Deserialize)]
struct Refusal {
    #[serde(default)]
    errors: Vec<Complaint>,
}

#[derive(Deserialize)]
struct Complaint {
    message: String,
    #[serde(default)]
    field: Option<String>,
}

impl SendGrid {
    /// Checks the settings.
    pub fn new(key: &SecretString, settings: &Settings) -> anyhow::Result<Self> {
        let send = format!("{}/v3/mail/send", settings.sendgrid_url.trim_end_matches('/'));
        let url =
            reqwest::Url::parse(&send).context("SENDGRID_URL must be an address such as https://api.sendgrid.com")?;
        let near = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
        anyhow::ensure!(url.scheme() == "https" || near, "SENDGRID_URL must begin with https: the key travels to it");
        // The client insists on a provider of TLS, and takes the process's.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .connect_timeout(settings.timeout())
            .timeout(settings.timeout() * 2)
            .pool_idle_timeout(Duration::from_secs(30))
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .context("can't set up the client for SendGrid")?;
        Ok(SendGrid { http, send, key: key.clone() })
    }

    pub(super) async fn send(&self, mail: &Mail) -> Result<Receipt, CallError> {
        let request = self.http.post(&self.send).bearer_auth(self.key.expose_secret());
        let request = request.header(CONTENT_TYPE, "application/json").body(mail.text.clone());
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) if error.is_connect() || error.is_builder() => {
                return Err(CallError::NotDone(anyhow!("SendGrid can't be reached: {}", words(&error))));
            }
            Err(error) => return Err(CallError::Unknown(anyhow!("no answer from SendGrid: {}", words(&error)))),
        };
        let status = response.status().as_u16();
        if status == 202 {
            return Ok(Receipt::all_sent(clock::now(), mail.recipients.len()));
        }
        let later = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let said = match response.json::<Refusal>().await {
            Ok(refusal) => complaints(&refusal),
            Err(_) => "no reason given".to_owned(),
        };
        let detail = format!("SendGrid answered {status}: {said}");
        Err(match status {
            // The settings' fault, or the account's: no mail is to blame for that.
            401 | 403 => CallError::NotDone(anyhow!("{detail} (SENDGRID_API_KEY)")),
            429 => CallError::NotDone(anyhow!("{detail}; asked to wait {} s", later.as_deref().unwrap_or("some"))),
            // Before it took anything over: it says so itself.
            503 => CallError::NotDone(anyhow!(detail)),
            // An address that leads elsewhere is the settings' fault.
            300..=399 | 404 | 405 => CallError::NotDone(anyhow!("{detail} (SENDGRID_URL)")),
            // The end of a wait, too: how far the request had come is not said.
            ..=299 | 408 | 500.. => CallError::Unknown(anyhow!(detail)),
            _ => CallError::Refused { code: "refused", detail },
        })
    }
}

fn complaints(refusal: &Refusal) -> String {
    let one = |complaint: &Complaint| match &complaint.field {
        Some(field) => format!("{field}: {}", complaint.message),
        None => complaint.message.clone(),
    };
    without_addresses(&refusal.errors.iter().map(one).collect::<Vec<_>>().join("; "))
}

/// Without the address that was asked, which the settings have.
fn words(error: &reqwest::Error) -> String {
    let mut source: Option<&dyn std::error::Error> = Some(error);
    let mut last = String::new();
    while let Some(error) = source {
        last = error.to_string();
        source = error.source();
    }
    without_addresses(&last)
}
