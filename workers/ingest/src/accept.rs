//! `POST`, `PUT`, `DELETE`: a command. Authenticate, read by the contract, publish, and only then say 202.

use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{RawPathParams, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use omnibus_runtime::clock;
use omnibus_runtime::envelope::Envelope;
use omnibus_schemas::generate::{Accepted, Waited};
use omnibus_schemas::platform::Outcome;
use omnibus_schemas::{Encoding, Fault, Method, Sealed, body, subject};
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::ask::ask;
use crate::caller::Caller;
use crate::door::Shared;
use crate::idempotency::{self, Seen};
use crate::observe::Observed;
use crate::outcome::Told;
use crate::prefer;
use crate::problem::Problem;
use crate::publish::{Outgoing, Stored};
use crate::routes::CommandRoute;

/// `ce-source` of everything that comes in by this door.
pub(crate) const SOURCE: &str = "omnibus/ingest";

/// Answers one request.
pub(crate) async fn answer(
    door: &Arc<Shared>,
    route: &CommandRoute,
    path: &RawPathParams,
    request: Request,
    observed: &mut Observed,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let caller = door.admit(&parts.headers, &route.entry.scope, observed)?;
    let key = idempotency::key(&parts.headers)?;
    let taken = match route.entry.upload {
        Some(upload) => crate::upload::take(door, route, upload, path, &parts, &caller, body).await?,
        None => {
            let encoding = encoding(&parts.headers)?;
            let body = read_body(door, &parts.headers, body, door.settings.body_max_bytes).await?;
            let taken = Taken::of(command(route, path, &parts, encoding, &body)?);
            door.shedding.pass(&route.entry)?;
            taken
        }
    };
    let Taken { payload, same } = match route.entry.sealed {
        // Repetitions are compared as they are sealed: no hash of what is sealed is kept either.
        Some(sealed) => {
            let payload = seal(door, route, sealed, &caller, observed, &taken.payload).await?;
            Taken::of(payload)
        }
        None => taken,
    };

    let tenant = caller.tenant.as_str();
    let (id, seen) = match key {
        Some(key) => {
            let id = idempotency::command_id(tenant, caller.user(), &route.label, key);
            (id, door.bodies.remember(&door.bus, id, &same).await?)
        }
        None => (clock::new_id(), Seen::First),
    };
    observed.command = Some(id);

    // Whoever waits listens before the command can be carried out.
    let wait = prefer::wait(&parts.headers);
    let waiting = match wait {
        Some(_) => door.outcomes.listen(&door.bus, &caller.tenant, id).await,
        None => None,
    };
    let id_text = id.to_string();
    let stored = Outgoing {
        id,
        subject: format!("{}{tenant}", route.subject),
        envelope: Envelope {
            id: &id_text,
            kind: &route.ce_type,
            source: SOURCE,
            time: clock::now(),
            tenant,
            actor: Some(&caller.actor),
            correlation: &id_text,
            causation: None,
            trace: &observed.trace,
            encoding: Encoding::MessagePack,
        },
        body: payload,
        deadline: door.settings.publish_timeout(),
        bus: &door.bus,
    }
    .store()
    .await?;

    let told = match (waiting, wait) {
        (Some(waiting), Some(wait)) => {
            // The outcome of a repeated command may be long past: then no event will come.
            let repeated = seen == Seen::Again || stored == Stored::Before;
            let page = Page { door, route, caller: &caller, observed, id };
            waiting.told(wait, &door.stop, repeated, || page.ask()).await
        }
        _ => None,
    };
    Ok(respond(route, id, wait.map(|wait| wait.as_secs()), told))
}

/// The command with its field sealed by the domain's worker.
async fn seal(
    door: &Arc<Shared>,
    route: &CommandRoute,
    sealed: Sealed,
    caller: &Caller,
    observed: &Observed,
    payload: &[u8],
) -> Result<Vec<u8>, Problem> {
    let mut command = body::to_json(Encoding::MessagePack, payload).map_err(|fault| Problem::invalid(vec![fault]))?;
    if command.get(sealed.field).is_none() {
        return Ok(payload.to_vec());
    }
    let subject = subject::query(route.entry.domain, sealed.query);
    let question = body::encode(Encoding::Json, &command);
    let deadline = door.settings.query_timeout();
    let answer = ask(&door.bus, &subject, caller, &observed.trace, question.into(), deadline).await?;
    let closed: Option<Value> = serde_json::from_slice(&answer.payload).ok();
    let closed = closed.and_then(|answer| answer.get(sealed.field).cloned());
    let closed = closed.ok_or_else(|| Problem::worker_failed("The worker could not seal the command."))?;
    command[sealed.field] = closed;
    (route.entry.accept)(Encoding::Json, &body::encode(Encoding::Json, &command)).map_err(Problem::invalid)
}

/// What a request brought.
pub(crate) struct Taken {
    /// The command as it goes on the bus.
    pub(crate) payload: Bytes,
    /// What a repetition of the request has in common with it.
    pub(crate) same: Bytes,
}

impl Taken {
    fn of(payload: Vec<u8>) -> Self {
        let payload = Bytes::from(payload);
        Taken { same: payload.clone(), payload }
    }
}

/// The command's page, where an outcome stands that no event tells any more.
struct Page<'a> {
    door: &'a Shared,
    route: &'a CommandRoute,
    caller: &'a Caller,
    observed: &'a Observed,
    id: Uuid,
}

impl Page<'_> {
    async fn ask(&self) -> Option<Told> {
        crate::outcome::on_page(self.door, self.route.entry.domain, self.caller, &self.observed.trace, self.id).await
    }
}

/// How the body is written.
pub(crate) fn encoding(headers: &HeaderMap) -> Result<Encoding, Problem> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(Encoding::Json) };
    value
        .to_str()
        .ok()
        .and_then(Encoding::from_content_type)
        .ok_or_else(|| Problem::unsupported_media_type("Send the body as application/json or application/msgpack."))
}

/// The whole body, if it has no more bytes than `most`.
pub(crate) async fn read_body(door: &Shared, headers: &HeaderMap, body: Body, most: usize) -> Result<Bytes, Problem> {
    let too_large = || Problem::too_large(format!("The body has more than {most} bytes."));
    // Who says so beforehand is not read at all.
    let said = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if said.is_some_and(|said| said > most as u64) {
        return Err(too_large());
    }
    match tokio::time::timeout(door.settings.body_timeout(), axum::body::to_bytes(body, most)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) => match std::error::Error::source(&error).is_some_and(|e| e.to_string().contains("limit")) {
            true => Err(too_large()),
            false => Err(Problem::malformed("The body ended before it was whole.")),
        },
        Err(_) => Err(Problem::slow_body("The body took too long to arrive.")),
    }
}

/// Refuses fields in the address of a route that has them in its body.
pub(crate) fn no_query_string(parts: &Parts) -> Result<(), Problem> {
    match parts.uri.query().is_none_or(str::is_empty) {
        true => Ok(()),
        false => Err(Problem::invalid(vec![Fault::new(
            "",
            "this route takes no query string: its fields stand in the body",
        )])),
    }
}

/// The command as it goes on the bus.
fn command(
    route: &CommandRoute,
    path: &RawPathParams,
    parts: &Parts,
    encoding: Encoding,
    body: &[u8],
) -> Result<Vec<u8>, Problem> {
    let in_query = route.method == Method::Delete;
    if !in_query {
        no_query_string(parts)?;
    }
    let accept = route.entry.accept;
    if route.fields.in_body_only() && !in_query && !body.is_empty() {
        return accept(encoding, body).map_err(|faults| crate::fields::refusal(encoding, body, faults));
    }
    let mut fields = route.fields.of_path(path);
    if in_query {
        route.fields.add_query(&mut fields, &parts.uri)?;
    }
    route.fields.add_body(&mut fields, encoding, body)?;
    let whole = serde_json::to_vec(&Value::Object(fields)).expect("a JSON value is always written");
    accept(Encoding::Json, &whole).map_err(Problem::invalid)
}

/// 202 with an outcome that is not final: held.
#[derive(Serialize)]
struct Held {
    #[serde(flatten)]
    accepted: Accepted,
    outcome: Outcome,
}

fn respond(route: &CommandRoute, id: Uuid, waited: Option<u64>, told: Option<Told>) -> Response {
    let status_url = route.entry.status.replace("{id}", &id.to_string());
    let location = HeaderValue::from_str(&status_url).expect("a route and an id are visible ASCII");
    let mut response = match told {
        None => (StatusCode::ACCEPTED, Json(Accepted { id, status_url })).into_response(),
        Some(Told { outcome, event }) => match outcome {
            Outcome::Succeeded => Json(Waited { id, status_url, outcome, event }).into_response(),
            Outcome::Held => {
                let accepted = Accepted { id, status_url };
                (StatusCode::ACCEPTED, Json(Held { accepted, outcome })).into_response()
            }
            Outcome::Rejected | Outcome::DeadLettered => {
                let word = |field: &str| event.data.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
                let title = match outcome {
                    Outcome::Rejected => "The command was rejected",
                    _ => "The command could not be carried out",
                };
                let code = Some(word("code")).filter(|code| !code.is_empty());
                let code = code.unwrap_or_else(|| outcome.as_str().to_owned());
                let faults = event.data.get("faults").cloned().and_then(|faults| serde_json::from_value(faults).ok());
                Problem::new(StatusCode::UNPROCESSABLE_ENTITY, code, title, word("detail"))
                    .with_faults(faults.unwrap_or_default())
                    .with("id", id.to_string())
                    .with("status_url", status_url)
                    .with("outcome", outcome.as_str())
                    .with("event", json!(event))
                    .into_response()
            }
        },
    };
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, location);
    if let Some(seconds) = waited {
        let applied = format!("wait={seconds}");
        headers.insert("preference-applied", HeaderValue::try_from(applied).expect("a number is visible ASCII"));
    }
    response
}
