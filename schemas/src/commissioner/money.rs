//! Currencies, amounts and tiers.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// An ISO 4217 currency that the house knows, with the digits of its minor unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Currency(&'static (&'static str, u8, &'static str));

/// Code, digits of the minor unit, name. ISO 4217, list one.
static CURRENCIES: &[(&str, u8, &str)] = &[
    ("EUR", 2, "Euro"),
    ("USD", 2, "US dollar"),
    ("GBP", 2, "Pound sterling"),
    ("CHF", 2, "Swiss franc"),
    ("JPY", 0, "Yen"),
    ("AED", 2, "UAE dirham"),
    ("AUD", 2, "Australian dollar"),
    ("BGN", 2, "Bulgarian lev"),
    ("BHD", 3, "Bahraini dinar"),
    ("BRL", 2, "Brazilian real"),
    ("CAD", 2, "Canadian dollar"),
    ("CLP", 0, "Chilean peso"),
    ("CNY", 2, "Yuan renminbi"),
    ("COP", 2, "Colombian peso"),
    ("CZK", 2, "Czech koruna"),
    ("DKK", 2, "Danish krone"),
    ("HKD", 2, "Hong Kong dollar"),
    ("HUF", 2, "Forint"),
    ("IDR", 2, "Rupiah"),
    ("ILS", 2, "New Israeli sheqel"),
    ("INR", 2, "Indian rupee"),
    ("ISK", 0, "Iceland krona"),
    ("KRW", 0, "Won"),
    ("KWD", 3, "Kuwaiti dinar"),
    ("MXN", 2, "Mexican peso"),
    ("MYR", 2, "Malaysian ringgit"),
    ("NOK", 2, "Norwegian krone"),
    ("NZD", 2, "New Zealand dollar"),
    ("PHP", 2, "Philippine peso"),
    ("PLN", 2, "Zloty"),
    ("RON", 2, "Romanian leu"),
    ("SAR", 2, "Saudi riyal"),
    ("SEK", 2, "Swedish krona"),
    ("SGD", 2, "Singapore dollar"),
    ("THB", 2, "Baht"),
    ("TRY", 2, "Turkish lira"),
    ("TWD", 2, "New Taiwan dollar"),
    ("UAH", 2, "Hryvnia"),
    ("VND", 0, "Dong"),
    ("ZAR", 2, "Rand"),
];

/// Why a text is no [`Currency`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be one of the ISO 4217 codes that are known here, in capitals, such as EUR")]
pub struct CurrencyError;

impl Currency {
    /// `EUR`
    pub fn code(self) -> &'static str {
        self.0.0
    }

    /// Digits behind the point: 2 for EUR, 0 for JPY.
    pub fn digits(self) -> u8 {
        self.0.1
    }

    /// An amount in the minor unit as people read it, without the code: 1234 in EUR is `12.34`.
    pub fn decimal(self, amount: i64) -> String {
        let digits = usize::from(self.digits());
        let sign = if amount < 0 { "-" } else { "" };
        let all = format!("{:0>width$}", amount.unsigned_abs(), width = digits + 1);
        let (whole, part) = all.split_at(all.len() - digits);
        if part.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{part}") }
    }
}

impl TryFrom<String> for Currency {
    type Error = CurrencyError;

    fn try_from(code: String) -> Result<Self, CurrencyError> {
        code.parse()
    }
}

impl std::str::FromStr for Currency {
    type Err = CurrencyError;

    fn from_str(code: &str) -> Result<Self, CurrencyError> {
        CURRENCIES.iter().find(|known| known.0 == code).map(Currency).ok_or(CurrencyError)
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> String {
        currency.code().to_owned()
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl JsonSchema for Currency {
    fn schema_name() -> Cow<'static, str> {
        "Currency".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let codes: Vec<_> = CURRENCIES
            .iter()
            .map(|(code, digits, name)| json!({ "const": code, "description": format!("{name}; {digits} digits") }))
            .collect();
        json_schema!({ "description": "An ISO 4217 currency code.", "oneOf": codes })
    }
}

/// An amount in one currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Money {
    /// In the minor unit (cents); below nothing if it is owed the other way.
    pub amount: i64,
    /// The currency.
    pub currency: Currency,
}

impl fmt::Display for Money {
    /// `EUR 12.34`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.currency, self.currency.decimal(self.amount))
    }
}

/// How high a partner stands; the program says what each tier earns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// Where everyone begins; 5 % unless the program says otherwise.
    #[default]
    Bronze,
    /// 10 % unless the program says otherwise.
    Silver,
    /// 15 % unless the program says otherwise.
    Gold,
    /// 20 % unless the program says otherwise.
    Platinum,
}

impl Tier {
    /// From the lowest up.
    pub const ALL: [Tier; 4] = [Tier::Bronze, Tier::Silver, Tier::Gold, Tier::Platinum];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_shown_with_the_digits_of_their_currency() {
        let shown = |amount, code: &str| Money { amount, currency: code.parse().unwrap() }.to_string();
        assert_eq!(shown(123_456, "EUR"), "EUR 1234.56");
        assert_eq!(shown(-5, "EUR"), "EUR -0.05");
        assert_eq!(shown(1234, "JPY"), "JPY 1234");
        assert_eq!(shown(1, "KWD"), "KWD 0.001");
        assert_eq!("eur".parse::<Currency>(), Err(CurrencyError));
    }
}
