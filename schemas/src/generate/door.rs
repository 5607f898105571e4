//! The part of the OpenAPI document that no contract says: the door's own endpoints, its credentials, its headers and
//! the ways it refuses.

use serde_json::{Map, Value, json};

use super::components::reference;

/// The tag of the door's own endpoints.
pub(super) const TAG: &str = "door";

/// The document's introduction, in Markdown.
pub(super) const DESCRIPTION: &str = "\
A `POST` is a command: it is published on the bus and answered with `202` and an id once the bus has stored it. From \
then on it ends in exactly one outcome, which `status_url` tells. With `Prefer: wait=5` the door waits for the outcome \
and answers `200` with it, or `422` if the command was rejected; after five seconds it falls back to `202`.

A `GET` is a query, answered by the domain's worker.

Bodies are JSON or MessagePack, by `Content-Type`. Unknown fields are refused by name. Every refusal is a problem \
document (RFC 9457) with a stable `code` and a JSON Pointer for each faulty field. The tenant is the credential's; no \
request can name another.";

/// How a refusal is described: status, code of the example, title, detail.
const REFUSALS: &[(&str, &str, &str, &str)] = &[
    ("400", "malformed", "The request can't be read", "The body is not JSON; send what its Content-Type says."),
    ("401", "unauthenticated", "No valid credential", "Send Authorization: Bearer with an API key or a token."),
    ("403", "forbidden", "The credential lacks a scope", "The key has not the scope that this operation needs."),
    ("404", "not_found", "There is no such thing", "Nothing of this tenant has this id."),
    ("408", "slow_body", "The body took too long to arrive", "Send the body without pauses."),
    ("413", "too_large", "The body is too large", "The body is over the door's limit."),
    (
        "415",
        "unsupported_media_type",
        "The body's type is not understood",
        "Send application/json or application/msgpack.",
    ),
    ("422", "invalid", "The request breaks its contract", "1 field is at fault; see faults."),
    ("429", "rate_limited", "Too many requests", "Wait for the seconds that Retry-After says."),
    ("500", "internal", "The door failed", "The fault is not yours; with an Idempotency-Key it is safe to try again."),
    ("503", "bus_away", "The bus does not answer", "Nothing was accepted; wait for the seconds that Retry-After says."),
];

const FOR_COMMANDS: &[&str] = &["400", "401", "403", "404", "408", "413", "415", "422", "429", "500", "503"];
const FOR_QUERIES: &[&str] = &["400", "401", "403", "404", "422", "429", "500", "503"];

fn response_name(status: &str) -> String {
    format!("Problem{status}")
}

/// Reusable responses, one per refusal.
pub(super) fn responses() -> Map<String, Value> {
    let refusal = |&(status, code, title, detail): &(&str, &str, &str, &str)| {
        let number: u16 = status.parse().expect("the table has numbers");
        let mut problem =
            json!({ "type": "about:blank", "title": title, "status": number, "detail": detail, "code": code });
        if status == "422" {
            problem["faults"] = json!([{ "pointer": "/subject", "reason": "length is lower than 1" }]);
        }
        let mut headers = vec!["RateLimit", "RateLimit-Policy"];
        match status {
            "429" | "503" => headers.push("Retry-After"),
            "401" => headers.push("WWW-Authenticate"),
            _ => {}
        }
        let response = json!({
            "description": title,
            "headers": header_references(&headers),
            "content": { "application/problem+json": { "schema": reference("Problem"), "example": problem } },
        });
        (response_name(status), response)
    };
    REFUSALS.iter().map(refusal).collect()
}

fn refusals(statuses: &[&str]) -> Map<String, Value> {
    let one = |status: &&str| {
        ((*status).to_owned(), json!({ "$ref": format!("#/components/responses/{}", response_name(status)) }))
    };
    statuses.iter().map(one).collect()
}

fn header_references(names: &[&str]) -> Value {
    names.iter().map(|name| ((*name).to_owned(), json!({ "$ref": format!("#/components/headers/{name}") }))).collect()
}

/// What a command may be answered.
pub(super) fn command_responses(accepted: &Value) -> Value {
    let mut responses = refusals(FOR_COMMANDS);
    responses.insert(
        "202".into(),
        json!({
            "description": "Accepted: stored on the bus, to be decided once.",
            "headers": header_references(&["Location", "RateLimit", "RateLimit-Policy"]),
            "content": { "application/json": { "schema": reference("Accepted"), "example": accepted } },
        }),
    );
    responses.insert(
        "200".into(),
        json!({
            "description": "Decided while the caller waited (`Prefer: wait=N`).",
            "headers": header_references(&["Location", "Preference-Applied", "RateLimit", "RateLimit-Policy"]),
            "content": { "application/json": { "schema": reference("Waited") } },
        }),
    );
    Value::Object(responses)
}

/// What a hook may be answered.
pub(super) fn hook_responses() -> Value {
    let mut responses = refusals(&["408", "413", "429", "500", "503"]);
    let answered = json!({ "description": "What the domain answers: any status of its own may come too." });
    responses.insert("200".into(), answered);
    Value::Object(responses)
}

/// A page of CSV, as text.
pub(super) fn sheet_responses(says: &Value) -> Value {
    text_responses(says, "text/csv", &["Link", "RateLimit", "RateLimit-Policy"])
}

/// A page to read, as text.
pub(super) fn page_responses(says: &Value) -> Value {
    text_responses(says, "text/html", &["RateLimit", "RateLimit-Policy"])
}

fn text_responses(says: &Value, media_type: &str, headers: &[&str]) -> Value {
    let mut responses = refusals(FOR_QUERIES);
    responses.insert(
        "200".into(),
        json!({
            "description": says,
            "headers": header_references(headers),
            "content": { media_type: { "schema": { "type": "string" } } },
        }),
    );
    Value::Object(responses)
}

/// What a query may be answered.
pub(super) fn query_responses(says: &Value, answer: &Value, in_body: bool) -> Value {
    let mut responses = refusals(if in_body { FOR_COMMANDS } else { FOR_QUERIES });
    responses.insert(
        "200".into(),
        json!({
            "description": says,
            "headers": header_references(&["RateLimit", "RateLimit-Policy"]),
            "content": { "application/json": { "schema": answer } },
        }),
    );
    Value::Object(responses)
}

/// Parameters that every command takes.
pub(super) fn parameters() -> Value {
    json!({
        "idempotencyKey": {
            "name": "Idempotency-Key",
            "in": "header",
            "required": false,
            "description": "Makes a repeated request the same command: the id is derived from tenant, route and key. \
                The same key with another body is refused with 422.",
            "schema": { "type": "string", "minLength": 1, "maxLength": 200 },
            "example": "order-4711-confirmation",
        },
        "prefer": {
            "name": "Prefer",
            "in": "header",
            "required": false,
            "description": "`wait=N` waits up to N seconds for the outcome (RFC 7240).",
            "schema": { "type": "string" },
            "example": "wait=5",
        },
    })
}

/// Headers of answers.
pub(super) fn headers() -> Value {
    json!({
        "Link": {
            "description": "The next page, if there is one: `<address>; rel=\"next\"` (RFC 8288).",
            "schema": { "type": "string" },
        },
        "Location": {
            "description": "Where the outcome is read; the same as `status_url`.",
            "schema": { "type": "string", "format": "uri-reference" },
        },
        "Preference-Applied": {
            "description": "The part of `Prefer` that was honoured (RFC 7240).",
            "schema": { "type": "string" },
        },
        "RateLimit": {
            "description": "What is left of the limit that is nearest: `\"tenant\";r=49;t=1`, r requests within t seconds.",
            "schema": { "type": "string" },
        },
        "RateLimit-Policy": {
            "description": "That limit itself: `\"tenant\";q=50;w=1`, q requests within w seconds.",
            "schema": { "type": "string" },
        },
        "Retry-After": {
            "description": "Seconds to wait before the next try.",
            "schema": { "type": "integer", "minimum": 0 },
        },
        "WWW-Authenticate": {
            "description": "Always of the scheme `Bearer`.",
            "schema": { "type": "string" },
        },
    })
}

/// The two kinds of credential, both in `Authorization: Bearer`.
pub(super) fn security_schemes() -> Value {
    json!({
        "apiKey": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "omk_<tenant>_<random>",
            "description": "An API key, for servers: `Authorization: Bearer omk_acme_...`. It names its tenant and \
                carries its scopes; a revocation takes effect at once.",
        },
        "token": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "A short-lived token, for browsers: `Authorization: Bearer eyJ...`.",
        },
    })
}

/// The door's own endpoints. None needs a credential.
pub(super) fn paths() -> Map<String, Value> {
    let get = |id: &str, summary: &str, responses: Value| {
        json!({ "get": {
            "operationId": format!("door_{id}"),
            "tags": [TAG],
            "summary": summary,
            "security": [],
            "responses": responses,
        }})
    };
    let served = |media: &str, description: &str, schema: Value| json!({ "200": { "description": description, "content": { media: { "schema": schema } } } });
    let text = || json!({ "type": "string" });
    let document = || json!({ "type": "object" });
    let mut readiness = served("application/json", "Ready to take commands.", document());
    readiness["503"] = json!({
        "description": "Not ready; the body says what is missing.",
        "content": { "application/json": { "schema": document() } },
    });
    [
        ("/healthz", get("health", "Whether the process lives", json!({ "200": { "description": "It does." } }))),
        ("/readyz", get("readiness", "Whether the door can take commands, and what is missing if not", readiness)),
        ("/metrics", get("metrics", "Metrics for Prometheus", served("text/plain", "Text exposition format.", text()))),
        ("/openapi.json", get("openapi", "This document", served("application/json", "OpenAPI 3.1.", document()))),
        ("/asyncapi.yaml", get("asyncapi", "The bus, described", served("application/yaml", "AsyncAPI 3.0.", text()))),
        ("/docs", get("docs", "The API to read and to try, working offline", served("text/html", "A page.", text()))),
    ]
    .into_iter()
    .chain([("/api/v1/websocket/connect", ticket()), ("/ws", socket())])
    .map(|(path, item)| (path.to_owned(), item))
    .collect()
}

/// Where a socket's ticket comes from.
fn ticket() -> Value {
    let text = |says: &str| json!({ "type": "string", "description": says });
    let mut responses = refusals(FOR_COMMANDS);
    responses.insert(
        "200".into(),
        json!({
            "description": "A ticket, good once and for 30 seconds.",
            "content": { "application/json": { "schema": {
                "type": "object",
                "required": ["ticket", "url", "user", "expires_at"],
                "properties": {
                    "ticket": text("Sent as the token of the connect command."),
                    "url": text("Where to connect; the ticket stands in it, for clients that send no token."),
                    "user": text("Whose socket it will be."),
                    "expires_at": { "type": "string", "format": "date-time", "description": "Until when it must be used." },
                },
            } } },
        }),
    );
    json!({ "post": {
        "operationId": "door_websocket_connect",
        "tags": [TAG],
        "summary": "A ticket for one WebSocket",
        "description": "Good once, within 30 seconds. The socket has the caller's scopes, or those that are asked for \
            among them; with an API key that asks for none, `websocket:read` and `websocket:write`. It closes when the \
            credential ends or is revoked.\n\nNeeds the scope `websocket:connect`.",
        "security": [{ "apiKey": ["websocket:connect"] }, { "token": ["websocket:connect"] }],
        "x-scope": "websocket:connect",
        "requestBody": { "required": false, "content": { "application/json": {
            "schema": {
                "type": "object",
                "additionalProperties": false,
                "properties": {
                    "user": {
                        "type": "string",
                        "pattern": "^[a-z0-9_-]{1,64}$",
                        "description": "Whose socket it will be. An API key must say so; a token is of its own user.",
                    },
                    "scopes": {
                        "type": "array",
                        "maxItems": 50,
                        "items": { "type": "string" },
                        "description": "What the socket may do, among what the caller may.",
                    },
                },
            },
            "example": { "user": "ada" },
        } } },
        "responses": responses,
    }})
}

/// The socket itself.
fn socket() -> Value {
    json!({ "get": {
        "operationId": "door_websocket",
        "tags": [TAG],
        "summary": "The WebSocket: Centrifugo's client protocol in JSON",
        "description": "Where the WebSocket door is served at the same address, as in `omnibus up`. See the README of \
            workers/fanout.",
        "security": [],
        "responses": {
            "101": { "description": "The protocol is WebSocket from here on." },
            "400": { "description": "The request is none for a WebSocket." },
            "403": { "description": "The page's origin is not allowed." },
        },
    }})
}
