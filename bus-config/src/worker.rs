//! What a worker asks before it binds to a consumer that somebody else provisioned.

use std::time::Duration;

use async_nats::jetstream::Context;
use serde_json::Value;

use crate::api::{self, BusError};
use crate::difference::{Difference, consumer_differences, consumer_label};
use crate::spec::ConsumerSpec;

/// Why a worker can't bind.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// It was never made, or somebody deleted it.
    #[error("{0} is missing; run `omnibus bus apply`")]
    Missing(String),
    /// It is there and not what this build expects.
    #[error("{}; run `omnibus bus plan`", lines(.0))]
    Different(Vec<Difference>),
    /// It could not be asked for.
    #[error(transparent)]
    Bus(#[from] BusError),
}

fn lines(differences: &[Difference]) -> String {
    differences.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// What a worker goes by, of what it found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// How long a message may be out before it comes again. At least [`LEAST_ACK_WAIT`].
    pub ack_wait: Duration,
    /// After how many deliveries the server gives up; `None` for never.
    pub max_deliver: Option<u32>,
}

/// With less, a message would come again before a worker under load could say that it is still at it.
pub const LEAST_ACK_WAIT: Duration = Duration::from_secs(1);
/// Snoozes, redeliveries after a crash and attempts all count as deliveries: with fewer, the server would give up on
/// commands that are well.
pub const LEAST_MAX_DELIVER: u32 = 100;

/// Makes sure that a consumer is there and that a worker can keep its promises on it; `ack_wait`, `max_deliver` and
/// `max_ack_pending` are an operator's choice within limits. Needs `CONSUMER.INFO` for it and nothing else.
///
/// # Errors
/// Which field differs, that it is missing, or why it could not be asked for.
pub async fn verify_consumer(js: &Context, spec: &ConsumerSpec) -> Result<Bound, BindError> {
    let Some(actual) = api::consumer_config(js, &spec.stream, &spec.durable_name).await? else {
        return Err(BindError::Missing(consumer_label(&spec.stream, &spec.durable_name)));
    };
    let differences = binding_differences(&actual, spec);
    if !differences.is_empty() {
        return Err(BindError::Different(differences));
    }
    Ok(Bound {
        ack_wait: Duration::from_nanos(actual["ack_wait"].as_u64().unwrap_or_default()),
        max_deliver: actual["max_deliver"].as_u64().and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0),
    })
}

/// What keeps a worker built for `spec` from working on `actual`, a consumer's `config` as the JetStream API tells it.
/// Less than [`consumer_differences`]: what an operator may choose is not compared, only kept within limits.
pub fn binding_differences(actual: &Value, spec: &ConsumerSpec) -> Vec<Difference> {
    let mut found = consumer_differences(actual, spec);
    found.retain(|difference| match difference.field.as_str() {
        "description" | "max_ack_pending" => false,
        "ack_wait" => difference.actual.as_u64().is_none_or(|ns| Duration::from_nanos(ns) < LEAST_ACK_WAIT),
        // -1 is no limit; then nothing is ever given up on.
        "max_deliver" => difference.actual.as_i64().is_none_or(|n| (0..i64::from(LEAST_MAX_DELIVER)).contains(&n)),
        _ => true,
    });
    found
}
