//! Random input for as long as somebody wants to wait.

use std::time::{Duration, Instant};

/// Plays a test of random inputs: once, or with `FUZZ_SECONDS` in the environment again and again, until so many seconds
/// are over. Each time the inputs are others.
///
/// # Panics
/// As the test does, and if `FUZZ_SECONDS` is no whole number.
pub fn fuzzed(play: impl Fn()) {
    let seconds = std::env::var("FUZZ_SECONDS").map_or(0, |text| text.parse().expect("FUZZ_SECONDS is a whole number"));
    let until = Instant::now() + Duration::from_secs(seconds);
    loop {
        play();
        if Instant::now() >= until {
            return;
        }
    }
}
