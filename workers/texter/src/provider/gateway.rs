//! A second provider, described by configuration: one POST per text, and a look-up by our own id of it if there is one.

use std::collections::BTreeMap;

use anyhow::{Context, bail, ensure};
use omnibus_runtime::{CallError, Found, clock};
use omnibus_schemas::texter::SmsState;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{RequestBuilder, StatusCode};
use secrecy::ExposeSecret;
use serde_json::Value;
use uuid::Uuid;

use super::{Fut, Provider, Receipt, Text, Word, client, never_left, quiet};
use crate::settings::Settings;

/// A gateway.
#[derive(Debug)]
pub struct Gateway {
    http: reqwest::Client,
    url: String,
    body: BTreeMap<String, Value>,
    form: bool,
    headers: HeaderMap,
    id: String,
    lookup: Option<String>,
    senders: Vec<String>,
    prices: BTreeMap<String, i64>,
}

impl Gateway {
    pub(super) fn new(url: &str, settings: &Settings) -> anyhow::Result<Self> {
        let _: reqwest::Url = url.parse().context("GATEWAY_URL must be an address")?;
        let body = serde_json::from_str(&settings.gateway_body).context("GATEWAY_BODY must be a JSON object")?;
        ensure!(settings.gateway_id.starts_with('/'), "GATEWAY_ID must be a JSON Pointer such as /id");
        if let Some(lookup) = &settings.gateway_lookup_url {
            ensure!(lookup.contains("{id}"), "GATEWAY_LOOKUP_URL must hold {{id}}");
        }
        let mut headers = HeaderMap::new();
        if let Some(value) = &settings.gateway_authorization {
            let mut value = HeaderValue::from_str(value.expose_secret())
                .map_err(|_| anyhow::anyhow!("GATEWAY_AUTHORIZATION must be visible ASCII"))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        Ok(Gateway {
            http: client(settings)?,
            url: url.to_owned(),
            body,
            form: settings.gateway_form,
            headers,
            id: settings.gateway_id.clone(),
            lookup: settings.gateway_lookup_url.clone(),
            senders: vec![settings.gateway_from.clone()],
            prices: Settings::prices(&settings.gateway_prices),
        })
    }

    /// One id for a text on every attempt; two tenants' texts never share one.
    fn reference(text: Text<'_>) -> String {
        Uuid::new_v5(&text.message_id, text.tenant.as_bytes()).to_string()
    }

    fn filled(&self, text: Text<'_>) -> BTreeMap<String, Value> {
        let fields =
            [("{to}", text.to), ("{from}", text.from), ("{id}", &Self::reference(text)), ("{body}", text.body)];
        self.body.iter().map(|(name, value)| (name.clone(), fill(value, &fields))).collect()
    }

    async fn post(&self, text: Text<'_>) -> Result<Receipt, CallError> {
        let request = self.http.post(&self.url).headers(self.headers.clone());
        let fields = self.filled(text);
        let request: RequestBuilder = match self.form {
            true => {
                let plain = |value: Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                let pairs: Vec<(String, String)> =
                    fields.into_iter().map(|(name, value)| (name, plain(value))).collect();
                request.form(&pairs)
            }
            false => request.json(&fields),
        };
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) if never_left(&error) => return Err(CallError::NotDone(quiet(error))),
            Err(error) => return Err(CallError::Unknown(quiet(error))),
        };
        let status = answer.status();
        if status.is_success() {
            let body = answer.bytes().await.map_err(|error| CallError::Unknown(quiet(error)))?;
            return self.receipt(&body).map_err(CallError::Unknown);
        }
        Err(match status {
            StatusCode::TOO_MANY_REQUESTS => CallError::NotDone(anyhow::anyhow!("the gateway answers {status}")),
            StatusCode::REQUEST_TIMEOUT => CallError::Unknown(anyhow::anyhow!("the gateway answers {status}")),
            StatusCode::CONFLICT => CallError::Unknown(anyhow::anyhow!("the gateway knows the reference already")),
            StatusCode::UNAUTHORIZED => CallError::Refused {
                code: "provider_credentials",
                detail: format!("the gateway answers {status}: the credentials are not taken"),
            },
            _ if status.is_server_error() => CallError::Unknown(anyhow::anyhow!("the gateway answers {status}")),
            _ if status.is_client_error() => {
                CallError::Refused { code: "provider_refused", detail: format!("the gateway answers {status}") }
            }
            _ => CallError::NotDone(anyhow::anyhow!("the gateway answers {status}")),
        })
    }

    fn receipt(&self, body: &[u8]) -> anyhow::Result<Receipt> {
        let said = serde_json::from_slice::<Value>(body).ok().context("the gateway's answer is not JSON")?;
        let provider_id = match said.pointer(&self.id) {
            Some(Value::String(id)) if !id.is_empty() && id.len() <= 100 => id.clone(),
            Some(Value::Number(id)) => id.to_string(),
            _ => bail!("the gateway's answer names no id of the text"),
        };
        Ok(Receipt { provider_id, status: SmsState::Accepted, at: clock::now(), price_micro: None })
    }

    async fn look_for(&self, text: Text<'_>) -> anyhow::Result<Found<Receipt>> {
        let Some(lookup) = &self.lookup else { return Ok(Found::CannotTell) };
        let url = lookup.replace("{id}", &Self::reference(text));
        let answer = self.http.get(url).headers(self.headers.clone()).send().await.map_err(quiet)?;
        match answer.status() {
            StatusCode::OK => {
                let body = answer.bytes().await.map_err(quiet)?;
                Ok(Found::Done(self.receipt(&body)?))
            }
            StatusCode::NOT_FOUND => Ok(Found::NotDone),
            status => bail!("the gateway answers {status} when it is asked"),
        }
    }
}

/// Puts texts in their places. What is put in is not looked at again: a text may hold `{to}` itself.
fn fill(value: &Value, fields: &[(&str, &str)]) -> Value {
    match value {
        Value::String(pattern) => {
            let mut filled = String::new();
            let mut rest = pattern.as_str();
            while !rest.is_empty() {
                let next = fields.iter().filter_map(|(name, with)| Some((rest.find(name)?, name.len(), *with))).min();
                let Some((at, length, with)) = next else { break };
                filled.push_str(&rest[..at]);
                filled.push_str(with);
                rest = &rest[at + length..];
            }
            filled.push_str(rest);
            Value::String(filled)
        }
        Value::Array(list) => list.iter().map(|value| fill(value, fields)).collect(),
        Value::Object(map) => map.iter().map(|(name, value)| (name.clone(), fill(value, fields))).collect(),
        other => other.clone(),
    }
}

impl Provider for Gateway {
    fn name(&self) -> &str {
        "gateway"
    }

    fn senders(&self) -> &[String] {
        &self.senders
    }

    fn price(&self, country: &str) -> Option<i64> {
        self.prices.get(country).or_else(|| self.prices.get("*")).copied()
    }

    fn send<'a>(&'a self, text: Text<'a>) -> Fut<'a, Result<Receipt, CallError>> {
        Box::pin(self.post(text))
    }

    fn find<'a>(&'a self, text: Text<'a>) -> Fut<'a, anyhow::Result<Found<Receipt>>> {
        Box::pin(self.look_for(text))
    }

    fn ask<'a>(&'a self, _provider_id: &'a str) -> Fut<'a, anyhow::Result<Option<Word>>> {
        Box::pin(async { Ok(None) })
    }

    fn can_be_asked(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_put_in_is_not_looked_at_again() {
        let fields = [("{to}", "+1"), ("{body}", "say {to} \"x\"")];
        let filled = fill(&json!({ "a": ["{body}/{to}", 1], "b": "{other}" }), &fields);
        assert_eq!(filled, json!({ "a": ["say {to} \"x\"/+1", 1], "b": "{other}" }));
    }
}
