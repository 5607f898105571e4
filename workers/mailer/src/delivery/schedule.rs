//! When a mail is to leave.

use chrono::{DateTime, Duration, LocalResult, NaiveDateTime, TimeZone, Utc};
use omnibus_runtime::Fail;
use omnibus_schemas::mailer::SendEmail;

/// No mail waits longer.
const LONGEST: Duration = Duration::days(366);

/// The time that was asked for, if it lies ahead.
pub(crate) fn send_at(email: &SendEmail, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, Fail> {
    let at = match (email.send_at, &email.send_at_local, &email.time_zone) {
        (None, None, None) => return Ok(None),
        (Some(at), None, None) => at,
        (None, Some(local), Some(zone)) => in_zone(local, zone)?,
        (None, Some(_), None) => return invalid("/time_zone is missing: /send_at_local is a time on its clocks"),
        (None, None, Some(_)) => return invalid("/send_at_local is missing: /time_zone alone says no time"),
        (Some(_), ..) => return invalid("/send_at_local and /time_zone can't be given beside /send_at"),
    };
    match at {
        at if at > now + LONGEST => invalid("/send_at lies more than a year ahead"),
        at if at <= now => Ok(None),
        at => Ok(Some(at)),
    }
}

fn in_zone(local: &str, zone: &str) -> Result<DateTime<Utc>, Fail> {
    let Ok(zone) = zone.parse::<chrono_tz::Tz>() else {
        return invalid("/time_zone is no IANA time zone such as Europe/Berlin");
    };
    let formats = ["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%.f"];
    let Some(local) = formats.iter().find_map(|format| NaiveDateTime::parse_from_str(local, format).ok()) else {
        return invalid("/send_at_local must be a date and time such as 2026-03-29T09:00, without a zone");
    };
    Ok(on_the_clocks_of(zone, local))
}

/// In autumn an hour comes twice: the first one is meant. In spring an hour is left out: then it is the moment at which
/// the clocks go on.
fn on_the_clocks_of(zone: chrono_tz::Tz, local: NaiveDateTime) -> DateTime<Utc> {
    match zone.from_local_datetime(&local) {
        LocalResult::Single(at) => at.to_utc(),
        LocalResult::Ambiguous(first, _) => first.to_utc(),
        LocalResult::None => {
            // Gaps are at most a day long (Samoa left one out); the first minute behind it is what the clocks show next.
            let behind = (1..=24 * 60 + 1).find_map(|minutes| {
                zone.from_local_datetime(&(local + Duration::minutes(minutes))).earliest().map(|at| at.to_utc())
            });
            behind.unwrap_or_else(|| local.and_utc())
        }
    }
}

fn invalid<T>(detail: &str) -> Result<T, Fail> {
    Err(Fail::reject("invalid", detail))
}

#[cfg(test)]
mod tests {
    use omnibus_schemas::Command;

    use super::*;

    fn now() -> DateTime<Utc> {
        "2026-01-01T00:00:00Z".parse().unwrap()
    }

    fn local(local: &str, zone: &str) -> Result<Option<DateTime<Utc>>, Fail> {
        let email =
            SendEmail { send_at_local: Some(local.into()), time_zone: Some(zone.into()), ..SendEmail::example() };
        send_at(&email, now())
    }

    fn words(result: Result<Option<DateTime<Utc>>, Fail>) -> String {
        match result.unwrap_err() {
            Fail::Reject { code: "invalid", detail } => detail,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn nine_in_the_morning_is_another_moment_in_each_zone() {
        for (zone, at) in [
            ("Europe/Berlin", "2026-06-01T07:00:00Z"),
            ("America/New_York", "2026-06-01T13:00:00Z"),
            ("Asia/Kolkata", "2026-06-01T03:30:00Z"),
            ("UTC", "2026-06-01T09:00:00Z"),
        ] {
            assert_eq!(local("2026-06-01T09:00", zone).unwrap(), Some(at.parse().unwrap()), "{zone}");
        }
    }

    #[test]
    fn an_hour_that_comes_twice_is_the_first_and_one_that_never_comes_is_the_next() {
        // Berlin: 2026-03-29 02:00 becomes 03:00; 2026-10-25 03:00 becomes 02:00.
        let at = |text: &str| Some(text.parse().unwrap());
        assert_eq!(local("2026-10-25T02:30", "Europe/Berlin").unwrap(), at("2026-10-25T00:30:00Z"));
        assert_eq!(local("2026-03-29T02:30", "Europe/Berlin").unwrap(), at("2026-03-29T01:00:00Z"));
        assert_eq!(local("2026-03-29T03:00", "Europe/Berlin").unwrap(), at("2026-03-29T01:00:00Z"));
    }

    #[test]
    fn what_is_past_leaves_at_once_and_what_is_too_far_is_refused() {
        assert_eq!(local("2025-12-31T09:00", "UTC").unwrap(), None);
        assert!(words(local("2027-06-01T09:00", "UTC")).contains("a year"));
    }

    #[test]
    fn what_makes_no_sense_is_told_by_its_field() {
        assert!(words(local("2026-06-01T09:00", "Europe/Bielefeld")).starts_with("/time_zone"));
        assert!(words(local("tomorrow", "UTC")).starts_with("/send_at_local"));
        assert!(words(local("2026-02-30T09:00", "UTC")).starts_with("/send_at_local"));
        let both = SendEmail { send_at: Some(now()), time_zone: Some("UTC".into()), ..SendEmail::example() };
        assert!(words(send_at(&both, now())).contains("beside"));
        let half = SendEmail { send_at_local: Some("2026-06-01T09:00".into()), ..SendEmail::example() };
        assert!(words(send_at(&half, now())).starts_with("/time_zone"));
    }
}
