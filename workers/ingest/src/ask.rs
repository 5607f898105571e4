//! Questions, by `GET`, or by `POST` where a question is too much for an address: to the domain's worker, over `qry.<domain>.<query>`.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{HeaderMap, Message};
use axum::body::Body;
use axum::extract::{RawPathParams, Request};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use omnibus_runtime::Bus;
use omnibus_runtime::trace::TraceParent;
use omnibus_schemas::{Encoding, Fault, headers};
use serde::Deserialize;
use serde_json::Value;

use crate::accept;
use crate::caller::Caller;
use crate::door::Shared;
use crate::observe::Observed;
use crate::problem::Problem;
use crate::routes::QueryRoute;
use crate::sheet;

/// Marks an answer as a refusal. <https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-32.md>
const ERROR_CODE: &str = "Nats-Service-Error-Code";
const ERROR: &str = "Nats-Service-Error";

/// Answers one request.
pub(crate) async fn answer(
    door: &Arc<Shared>,
    route: &QueryRoute,
    path: &RawPathParams,
    request: Request,
    observed: &mut Observed,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let caller = door.admit(&parts.headers, &route.entry.scope, observed)?;
    let mut fields = route.fields.of_path(path);
    if route.in_body {
        accept::no_query_string(&parts)?;
        let encoding = accept::encoding(&parts.headers)?;
        let bytes = accept::read_body(door, &parts.headers, body, door.settings.body_max_bytes).await?;
        route.fields.add_body(&mut fields, encoding, &bytes)?;
    } else {
        route.fields.add_query(&mut fields, &parts.uri)?;
    }
    let written = serde_json::to_vec(&Value::Object(fields)).expect("a JSON value is always written");
    let body = (route.entry.accept)(Encoding::Json, &written).map_err(Problem::invalid)?;
    let deadline = door.settings.query_timeout();
    let answer = ask(&door.bus, &route.subject, &caller, &observed.trace, body.into(), deadline).await?;
    if route.entry.sheet {
        return sheet::page(&parts.uri, &answer.payload);
    }
    let mut response = Response::new(Body::from(answer.payload));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// One question in a caller's name. `body` is JSON.
pub(crate) async fn ask(
    bus: &Bus,
    subject: &str,
    caller: &Caller,
    trace: &TraceParent,
    body: Bytes,
    deadline: Duration,
) -> Result<Message, Problem> {
    let mut map = HeaderMap::new();
    map.insert(headers::TENANT, caller.tenant.as_str());
    map.insert(headers::ACTOR, caller.actor.as_str());
    map.insert(headers::SOURCE, crate::accept::SOURCE);
    map.insert(headers::TRACEPARENT, trace.to_string().as_str());
    map.insert(headers::CONTENT_TYPE, Encoding::Json.content_type());
    send(bus, subject, map, body, deadline).await
}

/// One message to whoever serves `subject`, and the answer.
pub(crate) async fn send(
    bus: &Bus,
    subject: &str,
    map: HeaderMap,
    body: Bytes,
    deadline: Duration,
) -> Result<Message, Problem> {
    if !*bus.connected().borrow() {
        return Err(Problem::bus_away("The bus does not answer; try again.").after(1));
    }
    match bus.ask(subject.to_owned(), map, body, deadline).await {
        Ok(Some(message)) => believe(message),
        Ok(None) => Err(Problem::worker_away("No worker answers this query now; try again.").after(2)),
        Err(error) => {
            tracing::warn!(%error, subject, "a query was not answered");
            let seconds = deadline.as_secs_f64();
            Err(Problem::worker_away(format!("No worker answered within {seconds} s; try again.")).after(2))
        }
    }
}

/// What a worker may add to a refusal.
#[derive(Deserialize, Default)]
struct Details {
    #[serde(default)]
    faults: Vec<Fault>,
}

fn believe(message: Message) -> Result<Message, Problem> {
    let get = |name: &str| message.headers.as_ref().and_then(|headers| headers.get(name)).map(|value| value.as_str());
    let Some(code) = get(ERROR_CODE) else { return Ok(message) };
    let words = get(ERROR).unwrap_or_default().to_owned();
    let Details { faults } = serde_json::from_slice(&message.payload).unwrap_or_default();
    let status = code.parse().ok().and_then(|code| StatusCode::from_u16(code).ok());
    Err(match status {
        Some(StatusCode::NOT_FOUND) => Problem::not_found(words),
        Some(StatusCode::BAD_REQUEST) => Problem::malformed(words).with_faults(faults),
        Some(StatusCode::UNPROCESSABLE_ENTITY) => Problem::invalid_query(words).with_faults(faults),
        Some(StatusCode::SERVICE_UNAVAILABLE) => Problem::worker_away(words).after(2),
        _ => {
            tracing::error!(code, error = words, "a worker failed to answer a query");
            Problem::worker_failed("The worker could not answer. Its log says why.")
        }
    })
}
