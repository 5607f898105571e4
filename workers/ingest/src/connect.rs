//! A ticket for one WebSocket. Browsers can't send headers with it, and a key or a token in its address would stand in
//! logs: a ticket may, since it is good once and for half a minute.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use chrono::{DateTime, TimeDelta, Utc};
use omnibus_runtime::clock;
use omnibus_schemas::presence::{CONNECT, READ, WRITE};
use omnibus_schemas::{Fault, Token, body};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};

use crate::accept;
use crate::caller::{Caller, covers};
use crate::door::Shared;
use crate::observe::Observed;
use crate::problem::Problem;
use crate::token::{Claims, Ticket, sign};

/// Seconds that a ticket is good for.
const GOOD_FOR: u32 = 30;
const PATH: &str = "/api/v1/websocket/connect";
/// A body is a name and a few scopes.
const MOST: usize = 16 * 1024;

pub(crate) fn routes(door: &Arc<Shared>) -> Router {
    Router::new().route(PATH, post(take).with_state(door.clone()))
}

async fn take(State(door): State<Arc<Shared>>, request: Request) -> Response {
    let label: Arc<str> = format!("POST {PATH}").into();
    let mut observed = Observed::start(&label, request.headers());
    let result = answer(&door, request, &mut observed).await;
    observed.finish(result)
}

/// What the caller wants.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    user: Option<Token>,
    scopes: Option<Vec<String>>,
}

/// What the caller gets.
#[derive(Serialize)]
struct Given {
    ticket: String,
    url: String,
    user: Token,
    expires_at: DateTime<Utc>,
}

async fn answer(door: &Arc<Shared>, request: Request, observed: &mut Observed) -> Result<Response, Problem> {
    let (parts, bytes) = request.into_parts();
    let caller = door.admit(&parts.headers, CONNECT, observed)?;
    let encoding = accept::encoding(&parts.headers)?;
    let bytes = accept::read_body(door, &parts.headers, bytes, MOST).await?;
    let wanted = match bytes.is_empty() {
        true => Wanted::default(),
        false => body::decode(encoding, &bytes).map_err(|fault| Problem::invalid(vec![fault]))?,
    };
    let Some(secret) = &door.settings.websocket_secret else {
        let detail = "The door has no WEBSOCKET_SECRET to sign tickets with; its operator must set one.";
        return Err(Problem::new(StatusCode::NOT_IMPLEMENTED, "no_tickets", "There are no tickets here", detail));
    };
    let user = user(&caller, wanted.user)?;
    let scopes = scopes(&caller, wanted.scopes)?;
    let now = clock::now();
    let ticket =
        Ticket { id: clock::new_id(), until: caller.until().map(|until| until.timestamp()), key: caller.key() };
    let claims = Claims {
        aud: door.settings.jwt_audience.clone().map(Into::into),
        iss: door.settings.jwt_issuer.clone(),
        ticket: Some(ticket),
        ..Claims::new(&caller.tenant, user.as_str(), scopes, now, GOOD_FOR)
    };
    let ticket = sign(secret, &claims).map_err(|error| Problem::internal(error.to_string()))?;
    let ticket = ticket.expose_secret().to_owned();
    let url = format!("{}?ticket={ticket}", url(door, &parts.headers));
    let expires_at = now + TimeDelta::seconds(GOOD_FOR.into());
    Ok(Json(Given { ticket, url, user, expires_at }).into_response())
}

fn user(caller: &Caller, named: Option<Token>) -> Result<Token, Problem> {
    let fault = |reason: String| Problem::invalid(vec![Fault::new("/user", reason)]);
    match (caller.user(), named) {
        (None, Some(named)) => Ok(named),
        (None, None) => Err(fault("is missing: an API key must say whose socket it will be".to_owned())),
        (Some(own), named) => match own.parse::<Token>() {
            Err(error) => Err(fault(format!("can't be the token's subject, which {error}"))),
            Ok(own) if named.as_ref().is_some_and(|named| *named != own) => {
                Err(fault("must be the token's own user or absent".to_owned()))
            }
            Ok(own) => Ok(own),
        },
    }
}

fn scopes(caller: &Caller, wanted: Option<Vec<String>>) -> Result<Vec<String>, Problem> {
    let has = caller.scopes();
    match wanted {
        Some(wanted) => {
            let allowed = |scope: &str| has.iter().any(|granted| *granted == scope || covers(granted, scope));
            let faults: Vec<_> = wanted
                .iter()
                .enumerate()
                // A family such as `email:*` is asked for only by who has it.
                .filter(|(_, scope)| match scope.ends_with('*') {
                    true => !has.iter().any(|granted| *granted == "*" || granted == scope),
                    false => !allowed(scope),
                })
                .map(|(n, _)| Fault::new(format!("/scopes/{n}"), "is none of the credential's scopes"))
                .collect();
            match faults.is_empty() && wanted.len() <= 50 && wanted.iter().all(|scope| !scope.contains(' ')) {
                true => Ok(wanted),
                false if faults.is_empty() => Err(Problem::invalid(vec![Fault::new("/scopes", "are not scopes")])),
                false => Err(Problem::invalid(faults)),
            }
        }
        // What a back end may is more than what its users may.
        None if caller.user().is_none() => {
            Ok([READ, WRITE].into_iter().filter(|scope| caller.may(scope)).map(str::to_owned).collect())
        }
        None => Ok(has.into_iter().map(str::to_owned).collect()),
    }
}

fn url(door: &Shared, headers: &HeaderMap) -> String {
    if let Some(url) = &door.settings.websocket_url {
        return url.clone();
    }
    let scheme = if door.settings.tls_cert_file.is_some() { "wss" } else { "ws" };
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    format!("{scheme}://{host}/ws")
}
