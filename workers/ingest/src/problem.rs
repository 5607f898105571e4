//! Refusals: RFC 9457 problem details, with a `code` that stays.

use std::borrow::Cow;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use omnibus_schemas::Fault;
use omnibus_schemas::generate;
use serde::Serialize;
use serde_json::{Map, Value};

/// A refusal by the door.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{} {}: {}", .0.status, .0.code, .0.detail)]
pub struct Problem(Box<Inner>);

/// Boxed, since every fallible step carries it in its `Err`.
#[derive(Debug, Clone)]
struct Inner {
    status: StatusCode,
    code: Cow<'static, str>,
    title: &'static str,
    detail: String,
    faults: Vec<Fault>,
    retry_after: Option<u64>,
    more: Map<String, Value>,
}

/// The document, with members of its own beside the standard's. RFC 9457 §3.2.
#[derive(Serialize)]
struct Document {
    #[serde(flatten)]
    problem: generate::Problem,
    #[serde(flatten)]
    more: Map<String, Value>,
}

/// One line per kind of problem: function, status, code, title.
macro_rules! problems {
    ($($(#[$doc:meta])* $name:ident = $status:ident, $code:literal, $title:literal;)*) => {
        impl Problem {
            $($(#[$doc])* pub(crate) fn $name(detail: impl Into<String>) -> Self {
                Problem::new(StatusCode::$status, $code, $title, detail)
            })*
        }
    };
}

problems! {
    malformed = BAD_REQUEST, "malformed", "The request can't be read";
    bad_idempotency_key = BAD_REQUEST, "invalid_idempotency_key", "The Idempotency-Key can't be used";
    unauthenticated = UNAUTHORIZED, "unauthenticated", "No valid credential";
    forbidden = FORBIDDEN, "forbidden", "The credential lacks a scope";
    not_found = NOT_FOUND, "not_found", "There is no such thing";
    no_route = NOT_FOUND, "no_route", "There is no such route";
    method_not_allowed = METHOD_NOT_ALLOWED, "method_not_allowed", "The route has not this method";
    slow_body = REQUEST_TIMEOUT, "slow_body", "The body took too long to arrive";
    too_large = PAYLOAD_TOO_LARGE, "too_large", "The body is too large";
    unsupported_media_type = UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", "The body's type is not understood";
    invalid_query = UNPROCESSABLE_ENTITY, "invalid", "The request breaks its contract";
    idempotency_key_reused =
        UNPROCESSABLE_ENTITY, "idempotency_key_reused", "The Idempotency-Key was used with another body";
    rate_limited = TOO_MANY_REQUESTS, "rate_limited", "Too many requests";
    internal = INTERNAL_SERVER_ERROR, "internal", "The door failed";
    worker_failed = INTERNAL_SERVER_ERROR, "worker_failed", "The worker failed";
    queue_full = SERVICE_UNAVAILABLE, "queue_full", "The queue is full";
    overloaded = SERVICE_UNAVAILABLE, "overloaded", "Commands wait too long";
    bus_away = SERVICE_UNAVAILABLE, "bus_away", "The bus does not answer";
    worker_away = SERVICE_UNAVAILABLE, "worker_away", "No worker answers";
    starting = SERVICE_UNAVAILABLE, "starting", "The door is not ready yet";
}

impl Problem {
    pub(crate) fn new(
        status: StatusCode,
        code: impl Into<Cow<'static, str>>,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        Problem(Box::new(Inner {
            status,
            code: code.into(),
            title,
            detail: detail.into(),
            faults: vec![],
            retry_after: None,
            more: Map::new(),
        }))
    }

    /// What breaks the contract, field by field.
    pub(crate) fn invalid(faults: Vec<Fault>) -> Self {
        let detail = match faults.len() {
            1 => "1 field is at fault; see faults.".to_owned(),
            n => format!("{n} fields are at fault; see faults."),
        };
        Problem::invalid_query(detail).with_faults(faults)
    }

    /// Names the faulty fields.
    #[must_use]
    pub(crate) fn with_faults(mut self, faults: Vec<Fault>) -> Self {
        self.0.faults = faults;
        self
    }

    /// Says when to try again, in whole seconds.
    #[must_use]
    pub(crate) fn after(mut self, seconds: u64) -> Self {
        self.0.retry_after = Some(seconds);
        self
    }

    /// One more member.
    #[must_use]
    pub(crate) fn with(mut self, member: &str, value: impl Into<Value>) -> Self {
        self.0.more.insert(member.to_owned(), value.into());
        self
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// Stable, for programs.
    pub fn code(&self) -> &str {
        &self.0.code
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Inner { status, code, title, detail, faults, retry_after, more } = *self.0;
        let code = code.into_owned();
        let document = Document {
            problem: generate::Problem {
                kind: "about:blank".to_owned(),
                title: title.to_owned(),
                status: status.as_u16(),
                detail,
                code,
                faults,
            },
            more,
        };
        let body = serde_json::to_vec(&document).expect("string keys and plain values are always written");
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"omnibus\""));
        }
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response.extensions_mut().insert(Refused(document.problem.code));
        response
    }
}

/// The refusal's code, for the log.
#[derive(Debug, Clone)]
pub(crate) struct Refused(pub(crate) String);
