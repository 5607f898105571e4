//! Who calls, and what he may do. The tenant is the credential's: nothing else in a request can name one.

use std::sync::Arc;

use axum::http::HeaderMap;
use chrono::{DateTime, Utc};
use omnibus_schemas::Tenant;
use uuid::Uuid;

use crate::bearer;
use crate::jwt::Verifier;
use crate::keyring::KeyRing;
use crate::keys::{self, KeyHash, KeyRecord};
use crate::problem::Problem;
use crate::token::{Claims, Ticket};

/// An authenticated caller.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The credential's.
    pub tenant: Tenant,
    /// `key:<id>` or `jwt:<subject>`; goes into `ce-actor`.
    pub actor: String,
    grants: Grants,
}

#[derive(Debug, Clone)]
enum Grants {
    Key(Arc<KeyRecord>),
    Token(Box<Claims>),
}

/// Checks the credential of a request. Tickets are for sockets alone.
pub(crate) fn authenticate(headers: &HeaderMap, ring: &KeyRing, tokens: &Verifier) -> Result<Caller, Problem> {
    let caller = by_credential(bearer::of(headers)?, ring, tokens)?;
    match caller.ticket() {
        None => Ok(caller),
        Some(_) => Err(Problem::unauthenticated("A ticket opens a WebSocket and nothing else.")),
    }
}

/// Checks a credential as it was sent: an API key, or a token.
pub fn by_credential(credential: &str, ring: &KeyRing, tokens: &Verifier) -> Result<Caller, Problem> {
    if credential.starts_with("omk_") { by_key(credential, ring) } else { by_token(credential, tokens) }
}

fn by_key(key: &str, ring: &KeyRing) -> Result<Caller, Problem> {
    // Unknown, revoked, expired and malformed are answered alike: the difference is of use to a thief only.
    let no = || Problem::unauthenticated("The API key is not known, was revoked, or has expired.");
    let tenant = keys::tenant_in(key).ok_or_else(no)?;
    let record = ring
        .get(&KeyHash::of(key))
        .map_err(|_| Problem::starting("The API keys are not loaded yet; see /readyz.").after(1))?
        .filter(|record| !record.has_expired() && record.tenant.as_str() == tenant)
        .ok_or_else(no)?;
    Ok(Caller { tenant: record.tenant.clone(), actor: format!("key:{}", record.id), grants: Grants::Key(record) })
}

fn by_token(token: &str, tokens: &Verifier) -> Result<Caller, Problem> {
    let claims = tokens.read(token).map_err(|why| {
        tracing::debug!(%why, "a token was refused");
        Problem::unauthenticated("The token is not valid: its signature, time, audience or issuer is wrong.")
    })?;
    Ok(Caller {
        tenant: claims.tenant.clone(),
        actor: format!("jwt:{}", claims.sub),
        grants: Grants::Token(Box::new(claims)),
    })
}

impl Caller {
    /// What the credential grants, as it is written there.
    pub fn scopes(&self) -> Vec<&str> {
        match &self.grants {
            Grants::Key(record) => record.scopes.iter().map(String::as_str).collect(),
            Grants::Token(claims) => {
                let spaced = claims.scope.iter().flat_map(|scope| scope.split_ascii_whitespace());
                spaced.chain(claims.scopes.iter().map(String::as_str)).collect()
            }
        }
    }

    /// Is the caller allowed this?
    pub fn may(&self, scope: &str) -> bool {
        self.scopes().into_iter().any(|granted| covers(granted, scope))
    }

    /// The user that a token is of; `None` for an API key.
    pub fn user(&self) -> Option<&str> {
        match &self.grants {
            Grants::Key(_) => None,
            Grants::Token(claims) => Some(&claims.sub),
        }
    }

    /// The ticket that the credential is, if it is one.
    pub fn ticket(&self) -> Option<&Ticket> {
        match &self.grants {
            Grants::Key(_) => None,
            Grants::Token(claims) => claims.ticket.as_ref(),
        }
    }

    /// The key behind the credential. When it is revoked, so is this.
    pub fn key(&self) -> Option<Uuid> {
        match &self.grants {
            Grants::Key(record) => Some(record.id),
            Grants::Token(claims) => claims.ticket.as_ref().and_then(|ticket| ticket.key),
        }
    }

    /// When what the credential opens must close; never if `None`.
    pub fn until(&self) -> Option<DateTime<Utc>> {
        match &self.grants {
            Grants::Key(record) => record.expires_at,
            Grants::Token(claims) => match &claims.ticket {
                Some(ticket) => ticket.until.and_then(|until| DateTime::from_timestamp(until, 0)),
                None => DateTime::from_timestamp(claims.exp, 0),
            },
        }
    }

    /// Refuses who is not allowed this.
    pub(crate) fn demand(&self, scope: &str) -> Result<(), Problem> {
        match self.may(scope) {
            true => Ok(()),
            false => Err(Problem::forbidden(format!("The credential lacks the scope {scope}.")).with("scope", scope)),
        }
    }
}

/// `*` covers all, `email:*` all that starts with `email:`, anything else itself.
pub(crate) fn covers(granted: &str, scope: &str) -> bool {
    match granted.strip_suffix('*') {
        Some("") => true,
        Some(domain) if domain.ends_with(':') => scope.starts_with(domain),
        _ => granted == scope,
    }
}

#[cfg(test)]
mod tests {
    use super::covers;

    #[test]
    fn a_scope_is_covered_by_itself_its_family_or_the_star() {
        for granted in ["email:send", "email:*", "*"] {
            assert!(covers(granted, "email:send"), "{granted}");
        }
        for granted in ["email:read", "email", "emai*", "em:*", "email:send:x", "", ":*"] {
            assert!(!covers(granted, "email:send"), "{granted}");
        }
    }
}
