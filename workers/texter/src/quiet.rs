//! Quiet hours, on the recipient's clock.

use chrono::{DateTime, Days, Duration, NaiveDate, NaiveTime, TimeZone, Timelike, Utc};
use chrono_tz::Tz;

/// When texts wait. Minutes since midnight; they wrap it if they end before they begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuietHours {
    /// First quiet minute.
    pub begins: i32,
    /// First minute that is not.
    pub ends: i32,
    /// The IANA zone of recipients whose own is not known.
    pub timezone: String,
}

impl QuietHours {
    /// When a text may leave that would leave at `now`: `None` is at once.
    pub fn until(&self, now: DateTime<Utc>, zone: Tz) -> Option<DateTime<Utc>> {
        if self.begins == self.ends {
            return None;
        }
        let local = now.with_timezone(&zone);
        let minute = i32::try_from(local.hour() * 60 + local.minute()).expect("a day has 1440 minutes");
        let quiet = match self.begins < self.ends {
            true => (self.begins..self.ends).contains(&minute),
            false => minute >= self.begins || minute < self.ends,
        };
        if !quiet {
            return None;
        }
        let today = local.date_naive();
        // The end that comes next on the recipient's clock; clocks that are set may make it today's or tomorrow's.
        (0..3)
            .find_map(|days| instant(zone, today.checked_add_days(Days::new(days))?, self.ends).filter(|at| *at > now))
    }
}

/// When a clock in this zone shows this. What it shows twice is taken the later time, what it never shows is the moment
/// at which it is set.
fn instant(zone: Tz, day: NaiveDate, minute: i32) -> Option<DateTime<Utc>> {
    let time = NaiveTime::from_num_seconds_from_midnight_opt(u32::try_from(minute).ok()? * 60, 0)?;
    let mut wanted = day.and_time(time);
    for _ in 0..=24 * 60 {
        if let Some(at) = zone.from_local_datetime(&wanted).latest() {
            return Some(at.to_utc());
        }
        wanted += Duration::minutes(1);
    }
    None
}

/// `21:30` as minutes since midnight.
pub fn minutes(text: &str) -> Option<i32> {
    let (hours, minutes) = text.split_once(':')?;
    let two = |part: &str, below: i32| {
        let digits = part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
        part.parse::<i32>().ok().filter(|n| digits && *n < below)
    };
    Some(two(hours, 24)? * 60 + two(minutes, 60)?)
}

/// The zone of a country that has one alone. Others' people live in several.
pub fn zone_of(country: &str) -> Option<Tz> {
    use chrono_tz::{Africa, America, Asia, Atlantic, Europe, Pacific};
    Some(match country {
        "AE" => Asia::Dubai,
        "AT" => Europe::Vienna,
        "BE" => Europe::Brussels,
        "BG" => Europe::Sofia,
        "CH" => Europe::Zurich,
        "CN" => Asia::Shanghai,
        "CO" => America::Bogota,
        "CZ" => Europe::Prague,
        "DE" => Europe::Berlin,
        "DK" => Europe::Copenhagen,
        "EE" => Europe::Tallinn,
        "EG" => Africa::Cairo,
        "FI" => Europe::Helsinki,
        "GB" => Europe::London,
        "GR" => Europe::Athens,
        "HK" => Asia::Hong_Kong,
        "HR" => Europe::Zagreb,
        "HU" => Europe::Budapest,
        "IE" => Europe::Dublin,
        "IL" => Asia::Jerusalem,
        "IN" => Asia::Kolkata,
        "IS" => Atlantic::Reykjavik,
        "IT" => Europe::Rome,
        "JP" => Asia::Tokyo,
        "KE" => Africa::Nairobi,
        "KR" => Asia::Seoul,
        "LT" => Europe::Vilnius,
        "LU" => Europe::Luxembourg,
        "LV" => Europe::Riga,
        "MA" => Africa::Casablanca,
        "NG" => Africa::Lagos,
        "NL" => Europe::Amsterdam,
        "NO" => Europe::Oslo,
        "PE" => America::Lima,
        "PH" => Asia::Manila,
        "PK" => Asia::Karachi,
        "PL" => Europe::Warsaw,
        "RO" => Europe::Bucharest,
        "RS" => Europe::Belgrade,
        "SA" => Asia::Riyadh,
        "SE" => Europe::Stockholm,
        "SG" => Asia::Singapore,
        "SI" => Europe::Ljubljana,
        "SK" => Europe::Bratislava,
        "TH" => Asia::Bangkok,
        "TR" => Europe::Istanbul,
        "TW" => Asia::Taipei,
        "VN" => Asia::Ho_Chi_Minh,
        "WS" => Pacific::Apia,
        "ZA" => Africa::Johannesburg,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn night() -> QuietHours {
        QuietHours { begins: 21 * 60, ends: 8 * 60, timezone: "UTC".into() }
    }

    const BERLIN: Tz = chrono_tz::Europe::Berlin;

    #[test]
    fn a_night_wraps_midnight_on_the_recipients_clock() {
        assert_eq!(night().until(at("2026-01-15T19:59:00Z"), BERLIN), None);
        assert_eq!(night().until(at("2026-01-15T20:00:00Z"), BERLIN), Some(at("2026-01-16T07:00:00Z")));
        assert_eq!(night().until(at("2026-01-16T06:59:59Z"), BERLIN), Some(at("2026-01-16T07:00:00Z")));
        assert_eq!(night().until(at("2026-01-16T07:00:00Z"), BERLIN), None);
        let la = chrono_tz::America::Los_Angeles;
        assert_eq!(night().until(at("2026-01-16T07:00:00Z"), la), Some(at("2026-01-16T16:00:00Z")));
    }

    #[test]
    fn hours_within_a_day_do_not_wrap() {
        let noon = QuietHours { begins: 12 * 60, ends: 14 * 60, ..night() };
        assert_eq!(noon.until(at("2026-07-01T10:30:00Z"), BERLIN), Some(at("2026-07-01T12:00:00Z")));
        assert_eq!(noon.until(at("2026-07-01T12:00:00Z"), BERLIN), None);
        let never = QuietHours { begins: 60, ends: 60, ..night() };
        assert_eq!(never.until(at("2026-07-01T23:00:00Z"), BERLIN), None);
    }

    #[test]
    fn a_night_in_which_clocks_are_set_ends_when_the_clock_shows_it() {
        // Forward on 2026-03-29, back on 2026-10-25.
        assert_eq!(night().until(at("2026-03-28T21:00:00Z"), BERLIN), Some(at("2026-03-29T06:00:00Z")));
        assert_eq!(night().until(at("2026-10-24T21:00:00Z"), BERLIN), Some(at("2026-10-25T07:00:00Z")));
    }

    #[test]
    fn an_end_that_no_clock_shows_is_when_it_is_set_and_one_shown_twice_is_the_later() {
        let until_half_past_two = QuietHours { ends: 2 * 60 + 30, ..night() };
        assert_eq!(until_half_past_two.until(at("2026-03-28T23:00:00Z"), BERLIN), Some(at("2026-03-29T01:00:00Z")));
        assert_eq!(until_half_past_two.until(at("2026-10-24T23:00:00Z"), BERLIN), Some(at("2026-10-25T01:30:00Z")));
    }

    #[test]
    fn times_have_four_digits() {
        assert_eq!(minutes("21:30"), Some(1290));
        for wrong in ["24:00", "21:60", "9:00", "21-30", "+1:00", ""] {
            assert_eq!(minutes(wrong), None, "{wrong}");
        }
    }
}
