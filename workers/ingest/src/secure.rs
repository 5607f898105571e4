//! From plain HTTP to https, for visitors of tenants' hosts that have a certificate.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::door::Shared;
use crate::{peer, visit};

/// What an authority asks for over plain HTTP (RFC 8555, 8.3).
const CHALLENGES: &str = "/.well-known/acme-challenge/";

/// Leads there, or lets the request through. Behind a trusted proxy it is the proxy that knows how the visitor came.
pub(crate) async fn lead(State(door): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    match secure(&door, &request) {
        Some(location) => (StatusCode::PERMANENT_REDIRECT, [(header::LOCATION, location)]).into_response(),
        None => next.run(request).await,
    }
}

fn secure(door: &Shared, request: &Request) -> Option<HeaderValue> {
    let certificates = door.certificates.as_ref()?;
    let uri = request.uri();
    if !matches!(*request.method(), Method::GET | Method::HEAD) || uri.path().starts_with(CHALLENGES) {
        return None;
    }
    let from = request.extensions().get::<ConnectInfo<SocketAddr>>()?.0.ip();
    if peer::is_trusted(from, &door.settings.trusted_proxies) {
        return None;
    }
    let host = visit::host(request.headers(), uri);
    certificates.of(&host)?;
    let rest = uri.path_and_query().map_or("/", |rest| rest.as_str());
    HeaderValue::from_str(&format!("https://{host}{rest}")).ok()
}
