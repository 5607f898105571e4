//! Short-lived tokens for browsers: HS256, made by `omnibus token` and by tests.

use chrono::{DateTime, Utc};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use omnibus_schemas::Tenant;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// RFC 7518 §3.2: a key as long as the hash, at least.
const SHORTEST_SECRET: usize = 32;

/// What a token says. RFC 7519.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Who holds it: 1 to 200 visible characters. Ends up in `ce-actor`.
    pub sub: String,
    /// For whom he acts.
    pub tenant: Tenant,
    /// What he may do, space-separated (RFC 8693 §4.2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// The same as a list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    /// Until when, in seconds since 1970.
    pub exp: i64,
    /// When it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iat: Option<i64>,
    /// Not before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nbf: Option<i64>,
    /// For which door.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aud: Option<serde_json::Value>,
    /// By whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iss: Option<String>,
    /// That it is a ticket, good for opening one WebSocket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<Ticket>,
}

/// What makes a token a ticket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// Its id. Whoever comes second with it is refused.
    pub id: Uuid,
    /// When the socket that it opens must close, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<i64>,
    /// The API key that it was issued for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Uuid>,
}

/// Why a token can't be signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// Guessing a short secret is quicker than breaking the hash.
    #[error("WEBSOCKET_SECRET must have at least {SHORTEST_SECRET} bytes (RFC 7518, section 3.2)")]
    ShortSecret,
    /// The library's words.
    #[error("the token could not be signed: {0}")]
    Sign(#[from] jsonwebtoken::errors::Error),
}

impl Claims {
    /// Claims made at `now`, good for `seconds`.
    pub fn new(
        tenant: &Tenant,
        sub: impl Into<String>,
        scopes: impl IntoIterator<Item = impl Into<String>>,
        now: DateTime<Utc>,
        seconds: u32,
    ) -> Self {
        let scopes: Vec<String> = scopes.into_iter().map(Into::into).collect();
        Claims {
            sub: sub.into(),
            tenant: tenant.clone(),
            scope: Some(scopes.join(" ")),
            scopes: vec![],
            exp: now.timestamp() + i64::from(seconds),
            iat: Some(now.timestamp()),
            nbf: None,
            aud: None,
            iss: None,
            ticket: None,
        }
    }
}

pub(crate) fn check_secret(secret: &SecretString) -> Result<(), SignError> {
    match secret.expose_secret().len() >= SHORTEST_SECRET {
        true => Ok(()),
        false => Err(SignError::ShortSecret),
    }
}

/// Signs a token with the secret that doors are given as `WEBSOCKET_SECRET`.
pub fn sign(secret: &SecretString, claims: &Claims) -> Result<SecretString, SignError> {
    check_secret(secret)?;
    let key = EncodingKey::from_secret(secret.expose_secret().as_bytes());
    Ok(jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &key)?.into())
}
