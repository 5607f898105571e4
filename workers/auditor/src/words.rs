//! The contract's words (`review`, `high`) as rows have them.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A word as it is written.
pub(crate) fn word<T: Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(word)) => word,
        _ => unreachable!("only types that are written as one word are given"),
    }
}

/// A word that a row holds.
pub(crate) fn read<T: DeserializeOwned>(word: &str) -> Result<T, sqlx::Error> {
    serde_json::from_value(Value::String(word.to_owned())).map_err(|error| sqlx::Error::Decode(Box::new(error)))
}
