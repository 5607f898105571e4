//! Whose fault it is that a handler did not return what it should, or that a command was not answered: the handler's, the
//! database's, or ours.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use futures_util::FutureExt;

use crate::delivery::Delivery;
use crate::engine::{self, Engine};
use crate::handler::Fail;
use crate::registry::Trouble;

/// What a handler that takes too long has failed with.
#[derive(Debug, thiserror::Error)]
#[error("the handler took longer than {0:?}")]
struct TookTooLong(Duration);

/// Turns panics and time-outs into failures that can be repeated.
pub(crate) async fn guarded<T, E: From<Fail>>(
    timeout: Duration,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    match tokio::time::timeout(timeout, AssertUnwindSafe(work).catch_unwind()).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(Fail::Retry(anyhow!("the handler panicked")).into()),
        Err(_) => Err(Fail::Retry(TookTooLong(timeout).into()).into()),
    }
}

/// Does what is left to do about these. A panic in it is a fault of ours: it is said, and they are asked for again. What is
/// committed of them is found done then, told and answered.
pub(crate) async fn seen_through(deliveries: &[Arc<Delivery>], work: impl Future<Output = ()>) {
    if AssertUnwindSafe(work).catch_unwind().await.is_ok() {
        return;
    }
    for delivery in deliveries {
        let meta = &delivery.meta;
        tracing::error!(tenant = meta.tenant, command = meta.name, command_id = %meta.id, "a panic left it unanswered");
        delivery.again_in(Duration::from_secs(1)).await;
    }
}

fn of_the_database(trouble: &Trouble) -> Option<&sqlx::Error> {
    match trouble {
        Trouble::Fail(Fail::Retry(error)) => engine::of_the_database(error),
        _ => None,
    }
}

/// Is it the database's, and not the command's?
pub(crate) fn passes(trouble: &Trouble) -> bool {
    of_the_database(trouble).is_some_and(|error| engine::database_away(error) || engine::collided(error))
}

/// Did another transaction get in its way?
pub(crate) fn collided(trouble: &Trouble) -> bool {
    of_the_database(trouble).is_some_and(engine::collided)
}

/// A handler's `?` on a database that went away, or on a collision, is not the command's fault.
pub(crate) fn the_databases(trouble: Trouble) -> Result<sqlx::Error, Trouble> {
    match passes(&trouble) {
        true => match trouble {
            Trouble::Fail(Fail::Retry(error)) => {
                error.downcast::<sqlx::Error>().map_err(|error| Trouble::Fail(Fail::Retry(error)))
            }
            other => Err(other),
        },
        false => Err(trouble),
    }
}

impl Engine {
    /// As [`the_databases`], for what must not be given up lightly: a time-out too is the database's, as long as the
    /// database can't be shown to be well. It answers late, or not at all, when a line has become mute.
    pub(crate) async fn the_databases(&self, fail: Fail) -> Result<sqlx::Error, Fail> {
        let fail = match the_databases(Trouble::Fail(fail)) {
            Ok(error) => return Ok(error),
            Err(Trouble::Fail(fail)) => fail,
            Err(_) => unreachable!("what went in as a failure comes out as one"),
        };
        let late = matches!(&fail, Fail::Retry(error) if error.is::<TookTooLong>());
        match late && !self.database_answers().await {
            true => Ok(sqlx::Error::PoolTimedOut),
            false => Err(fail),
        }
    }
}
