//! A provider over HTTP. `POST <url>/payouts` with an `Idempotency-Key`; `GET <url>/payouts/<key>` says whether it is
//! there. How far a request came decides what is said about it: refused before it left is not done, silence after it left
//! is unknown.

use std::time::Duration;

use anyhow::{Context, anyhow};
use omnibus_runtime::{CallError, Found};
use reqwest::{RequestBuilder, Response, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::json;

use super::{Payment, Receipt};
use crate::settings::Settings;

#[derive(Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    payouts: String,
    token: Option<SecretString>,
}

/// What the provider answers about a payout.
#[derive(Deserialize)]
struct Answer {
    id: String,
    /// `pending` or `paid`.
    status: String,
}

impl Client {
    pub(super) fn new(url: &str, settings: &Settings) -> anyhow::Result<Self> {
        // Fails if the process has one already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .timeout(Duration::from_secs(settings.payout_timeout.into()))
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .context("the HTTP client for payouts")?;
        let payouts = format!("{}/payouts", url.trim_end_matches('/'));
        Ok(Client { http, payouts, token: settings.payout_token.clone() })
    }

    pub(super) async fn pay(&self, payment: &Payment) -> Result<Receipt, CallError> {
        let body = json!({
            "reference": payment.payout_id,
            "amount": payment.amount,
            "currency": payment.currency,
            "recipient": { "name": payment.name, "account": payment.account },
        });
        let request = self.http.post(&self.payouts).header("idempotency-key", payment.payout_id.to_string());
        let answer = self.signed(request).json(&body).send().await.map_err(|error| match error.is_connect() {
            true => CallError::NotDone(anyhow!("the provider can't be reached")),
            false => CallError::Unknown(anyhow!("no answer from the provider ({})", what(&error))),
        })?;
        let status = answer.status();
        match status {
            _ if status.is_success() => receipt(answer).await.map_err(CallError::Unknown),
            StatusCode::TOO_MANY_REQUESTS => Err(CallError::NotDone(anyhow!("the provider answered {status}"))),
            // A wrong token is ours to mend; the payout is as good as before.
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Err(CallError::NotDone(anyhow!("the provider does not accept PAYOUT_TOKEN ({status})")))
            }
            StatusCode::REQUEST_TIMEOUT | StatusCode::CONFLICT => {
                Err(CallError::Unknown(anyhow!("the provider answered {status}")))
            }
            _ if status.is_client_error() => {
                Err(CallError::Refused { code: "provider_refused", detail: format!("the provider answered {status}") })
            }
            _ => Err(CallError::Unknown(anyhow!("the provider answered {status}"))),
        }
    }

    pub(super) async fn find(&self, payment: &Payment) -> anyhow::Result<Found<Receipt>> {
        let request = self.http.get(format!("{}/{}", self.payouts, payment.payout_id));
        let answer = match self.signed(request).send().await {
            Ok(answer) => answer,
            Err(_) => return Ok(Found::CannotTell),
        };
        match answer.status() {
            // What it does not know yet may still be on its way to it: no proof that it will never happen.
            StatusCode::NOT_FOUND => Ok(Found::CannotTell),
            status if status.is_success() => Ok(receipt(answer).await.map_or(Found::CannotTell, Found::Done)),
            _ => Ok(Found::CannotTell),
        }
    }

    fn signed(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.token {
            Some(token) => request.bearer_auth(token.expose_secret()),
            None => request,
        }
    }
}

async fn receipt(answer: Response) -> anyhow::Result<Receipt> {
    let answer: Answer = answer.json().await.map_err(|_| anyhow!("the provider's answer is not what was agreed"))?;
    Ok(Receipt { reference: answer.id.chars().take(200).collect(), paid: answer.status == "paid" })
}

/// Without the address, which may hold a secret.
fn what(error: &reqwest::Error) -> &'static str {
    if error.is_timeout() { "time-out" } else { "the connection broke" }
}
