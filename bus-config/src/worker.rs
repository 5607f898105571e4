//! What a worker asks before it binds to a consumer that somebody else provisioned.

use async_nats::jetstream::Context;

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

/// Makes sure that a consumer is there and as this build expects it. Needs `CONSUMER.INFO` for it and nothing else.
///
/// # Errors
/// Which field differs, that it is missing, or why it could not be asked for.
pub async fn verify_consumer(js: &Context, spec: &ConsumerSpec) -> Result<(), BindError> {
    let Some(actual) = api::consumer_config(js, &spec.stream, &spec.durable_name).await? else {
        return Err(BindError::Missing(consumer_label(&spec.stream, &spec.durable_name)));
    };
    let differences = consumer_differences(&actual, spec);
    if differences.is_empty() { Ok(()) } else { Err(BindError::Different(differences)) }
}
