//! The one place where the wall clock and chance are asked. Handlers don't come here: they have `Cx::now` and `Cx::id`,
//! which a replay repeats.

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

/// The wall clock.
#[expect(clippy::disallowed_methods, reason = "the single source of the time outside handlers")]
pub fn now() -> DateTime<Utc> {
    Utc::now() + wrong_by()
}

#[cfg(not(feature = "failpoints"))]
fn wrong_by() -> TimeDelta {
    TimeDelta::zero()
}

/// The seconds in the file that `OMNIBUS_CLOCK` names, for tests of clocks that jump.
#[cfg(feature = "failpoints")]
fn wrong_by() -> TimeDelta {
    use std::sync::OnceLock;
    static FILE: OnceLock<Option<std::path::PathBuf>> = OnceLock::new();
    let Some(file) = FILE.get_or_init(|| std::env::var_os("OMNIBUS_CLOCK").map(Into::into)) else {
        return TimeDelta::zero();
    };
    let seconds = std::fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0);
    TimeDelta::seconds(seconds)
}

/// A fresh UUIDv7.
#[expect(clippy::disallowed_methods, reason = "the single source of fresh ids outside handlers")]
pub fn new_id() -> Uuid {
    Uuid::now_v7()
}

/// Eight bytes of chance, for the name of a span.
#[expect(clippy::disallowed_methods, reason = "the single source of chance, never seen by handlers")]
pub(crate) fn span() -> [u8; 8] {
    rand::random()
}

/// An even pick from `0.0..1.0`, for jitter.
#[expect(clippy::disallowed_methods, reason = "the single source of chance, never seen by handlers")]
pub fn chance() -> f64 {
    rand::random()
}
