//! How a typed value is shown to people.

use chrono::{DateTime, NaiveDate, Utc};

/// ISO 4217 currencies whose minor unit is not a hundredth, with the number of digits.
const DIGITS: [(&str, usize); 26] = [
    ("BHD", 3),
    ("BIF", 0),
    ("CLF", 4),
    ("CLP", 0),
    ("DJF", 0),
    ("GNF", 0),
    ("IQD", 3),
    ("ISK", 0),
    ("JOD", 3),
    ("JPY", 0),
    ("KMF", 0),
    ("KRW", 0),
    ("KWD", 3),
    ("LYD", 3),
    ("OMR", 3),
    ("PYG", 0),
    ("RWF", 0),
    ("TND", 3),
    ("UGX", 0),
    ("UYI", 0),
    ("UYW", 4),
    ("VND", 0),
    ("VUV", 0),
    ("XAF", 0),
    ("XOF", 0),
    ("XPF", 0),
];

/// `EUR 1,234.50`: the code, so that no reader takes one dollar for another.
pub(crate) fn money(amount: i64, currency: &str) -> String {
    let digits = DIGITS.iter().find(|(code, _)| *code == currency).map_or(2, |(_, digits)| *digits);
    let unit = 10u64.pow(u32::try_from(digits).unwrap_or(0));
    let (whole, part) = (amount.unsigned_abs() / unit, amount.unsigned_abs() % unit);
    let sign = if amount < 0 { "-" } else { "" };
    let part = if digits == 0 { String::new() } else { format!(".{part:0digits$}") };
    format!("{currency} {sign}{}{part}", grouped(whole))
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `31 March 2026`
pub(crate) fn date(date: NaiveDate) -> String {
    date.format("%-d %B %Y").to_string()
}

/// `31 March 2026, 14:05 UTC`
pub(crate) fn time(time: DateTime<Utc>) -> String {
    time.format("%-d %B %Y, %H:%M UTC").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_has_its_currency_s_own_digits() {
        assert_eq!(money(123_450, "EUR"), "EUR 1,234.50");
        assert_eq!(money(-5, "USD"), "USD -0.05");
        assert_eq!(money(1_234_567, "JPY"), "JPY 1,234,567");
        assert_eq!(money(1_234, "KWD"), "KWD 1.234");
        assert_eq!(money(100, "XPF"), "XPF 100");
        assert_eq!(money(i64::MIN, "EUR"), "EUR -92,233,720,368,547,758.08");
    }

    #[test]
    fn dates_can_be_read_in_one_way_only() {
        assert_eq!(date("2026-03-04".parse().unwrap()), "4 March 2026");
        assert_eq!(time("2026-03-04T23:30:00+01:00".parse().unwrap()), "4 March 2026, 22:30 UTC");
    }
}
