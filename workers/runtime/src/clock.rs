//! The one place where the wall clock and chance are asked. Handlers don't come here: they have `Cx::now` and `Cx::id`,
//! which a replay repeats.

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// The wall clock.
#[expect(clippy::disallowed_methods, reason = "the single source of the time outside handlers")]
pub fn now() -> DateTime<Utc> {
    Utc::now()
}

/// A fresh UUIDv7.
#[expect(clippy::disallowed_methods, reason = "the single source of fresh ids outside handlers")]
pub fn new_id() -> Uuid {
    Uuid::now_v7()
}

/// An even pick from `0.0..1.0`, for jitter.
#[expect(clippy::disallowed_methods, reason = "the single source of chance, never seen by handlers")]
pub fn chance() -> f64 {
    rand::random()
}
