//! The few JetStream calls this crate makes, as raw requests: the server's answers are compared as they are, with the
//! fields that no client library knows.

use async_nats::jetstream::Context;
use serde_json::{Value, json};

/// Why the bus could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// No answer: no connection, no JetStream, no leader, or no permission for the subject.
    #[error("no answer from {call}: {reason}")]
    Unanswered {
        /// The subject that was asked, without `$JS.API`.
        call: String,
        /// What the client library says.
        reason: String,
    },
    /// The server said no.
    #[error("the server refused {call}: {description} ({code})")]
    Answered {
        /// The subject that was asked, without `$JS.API`.
        call: String,
        /// The server's words.
        description: String,
        /// The server's `err_code`.
        code: u64,
    },
    /// The plan holds changes that can't be made in place; nothing was changed.
    #[error("nothing was changed, because these can't be changed in place:\n{0}")]
    Refused(String),
}

/// The server's `err_code` for a stream that isn't there.
const STREAM_NOT_FOUND: u64 = 10059;
/// The server's `err_code` for a consumer that isn't there.
const CONSUMER_NOT_FOUND: u64 = 10014;

/// Asks, and tells an error in the answer from the answer.
async fn request(js: &Context, call: &str, body: &Value) -> Result<Value, BusError> {
    let answer: Value = js
        .request(call.to_owned(), body)
        .await
        .map_err(|error| BusError::Unanswered { call: call.to_owned(), reason: error.to_string() })?;
    match answer.get("error") {
        None => Ok(answer),
        Some(error) => Err(BusError::Answered {
            call: call.to_owned(),
            description: error["description"].as_str().unwrap_or("no description").to_owned(),
            code: error["err_code"].as_u64().unwrap_or_default(),
        }),
    }
}

/// All pages of a list call; `field` holds the items.
async fn list(js: &Context, call: &str, field: &str) -> Result<Vec<Value>, BusError> {
    let mut items = Vec::new();
    loop {
        let page = request(js, call, &json!({ "offset": items.len() })).await?;
        let new = page[field].as_array().cloned().unwrap_or_default();
        let total = page["total"].as_u64().unwrap_or_default();
        let done = new.is_empty();
        items.extend(new);
        if done || items.len() as u64 >= total {
            return Ok(items);
        }
    }
}

/// Every stream of the account, with its `config` and `state`.
pub(crate) async fn streams(js: &Context) -> Result<Vec<Value>, BusError> {
    list(js, "STREAM.LIST", "streams").await
}

/// Every consumer of a stream, with its `config`.
pub(crate) async fn consumers(js: &Context, stream: &str) -> Result<Vec<Value>, BusError> {
    list(js, &format!("CONSUMER.LIST.{stream}"), "consumers").await
}

/// One consumer's `config`, or `None` if it or its stream is missing.
pub(crate) async fn consumer_config(js: &Context, stream: &str, name: &str) -> Result<Option<Value>, BusError> {
    match request(js, &format!("CONSUMER.INFO.{stream}.{name}"), &json!({})).await {
        Ok(mut info) => Ok(Some(info["config"].take())),
        Err(BusError::Answered { code: STREAM_NOT_FOUND | CONSUMER_NOT_FOUND, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

pub(crate) async fn create_stream(js: &Context, name: &str, config: &Value) -> Result<(), BusError> {
    request(js, &format!("STREAM.CREATE.{name}"), config).await.map(drop)
}

pub(crate) async fn update_stream(js: &Context, name: &str, config: &Value) -> Result<(), BusError> {
    request(js, &format!("STREAM.UPDATE.{name}"), config).await.map(drop)
}

/// `action` is `create` or `update`: without it the server would silently do either.
pub(crate) async fn put_consumer(
    js: &Context,
    stream: &str,
    name: &str,
    config: &Value,
    action: &str,
) -> Result<(), BusError> {
    let body = json!({ "stream_name": stream, "config": config, "action": action });
    request(js, &format!("CONSUMER.CREATE.{stream}.{name}"), &body).await.map(drop)
}
