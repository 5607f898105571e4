//! `Prefer: wait=N`. RFC 7240 §4.3.

use std::time::Duration;

use axum::http::HeaderMap;

/// Nobody may hold a connection longer, in seconds.
const LONGEST: u64 = 30;

/// How long the caller would wait for the outcome; `None` for not at all. What can't be understood is ignored, as the
/// standard wants it.
pub(crate) fn wait(headers: &HeaderMap) -> Option<Duration> {
    headers
        .get_all("prefer")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .find_map(|preference| {
            let (name, value) = preference.split(';').next()?.split_once('=')?;
            let wanted = name.trim().eq_ignore_ascii_case("wait");
            wanted.then(|| value.trim().trim_matches('"').parse::<u64>().ok()).flatten()
        })
        .filter(|seconds| *seconds > 0)
        .map(|seconds| Duration::from_secs(seconds.min(LONGEST)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait_of(values: &[&str]) -> Option<u64> {
        let headers = values.iter().map(|v| ("prefer".parse().unwrap(), v.parse().unwrap())).collect();
        wait(&headers).map(|wait| wait.as_secs())
    }

    #[test]
    fn the_wait_is_found_among_other_preferences_and_capped() {
        assert_eq!(wait_of(&["wait=5"]), Some(5));
        assert_eq!(wait_of(&["respond-async, Wait = \"7\"; foo=bar"]), Some(7));
        assert_eq!(wait_of(&["return=minimal", "wait=3"]), Some(3));
        assert_eq!(wait_of(&["wait=9999999"]), Some(30));
    }

    #[test]
    fn what_is_not_a_wait_is_ignored() {
        for none in ["wait", "wait=", "wait=0", "wait=-1", "wait=soon", "waiting=5", ""] {
            assert_eq!(wait_of(&[none]), None, "{none}");
        }
    }
}
