//! One-time codes: sending one, and checking what somebody typed.

use chrono::{DateTime, Utc};
use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{DOMAIN, a_message};
use crate::contract::{Command, Event, Http, Query, Sealed};

/// Sends a one-time code. Asked again for the same number and purpose while one is waiting, the same code is sent once
/// more and no check is given back. The answer is the same whether or not anybody has an account under the number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct SendCode {
    /// The recipient's number: E.164, or as it is dialled inside `country`.
    #[garde(length(chars, min = 1, max = 40))]
    #[schemars(extend("x-personal" = "subject"))]
    pub to: String,
    /// Whose national numbers `to` is written in: two letters, ISO 3166-1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(chars, min = 2, max = 2)))]
    #[schemars(length(min = 2, max = 2))]
    pub country: Option<String>,
    /// What the code is for; it is good for nothing else. 1 to 40 characters, `login` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(chars, min = 1, max = 40)))]
    #[schemars(length(min = 1, max = 40))]
    pub purpose: Option<String>,
    /// How many digits; 6 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(range(min = 4, max = 10)))]
    #[schemars(range(min = 4, max = 10))]
    pub digits: Option<u8>,
    /// Seconds for which it is good; 600 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(range(min = 30, max = 3600)))]
    #[schemars(range(min = 30, max = 3600))]
    pub ttl_seconds: Option<u32>,
    /// The language of the text, such as `de`; English if absent or not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(chars, min = 2, max = 35)))]
    #[schemars(length(min = 2, max = 35))]
    pub locale: Option<String>,
    /// Whose code it is, as the text says it; at most 30 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(chars, min = 1, max = 30)))]
    #[schemars(length(min = 1, max = 30))]
    pub brand: Option<String>,
    /// The address from which the person asked, for the limits against fraud.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(chars, min = 2, max = 45)))]
    #[schemars(length(min = 2, max = 45), extend("x-personal" = "data"))]
    pub ip: Option<String>,
}

impl Command for SendCode {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "send_code";
    const LANE: &'static str = "codes";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/sms/2fa"));
    const SCOPE: &'static str = "sms:verify";
    const STATUS: Option<&'static str> = Some("/api/v1/sms/{id}/status");

    fn example() -> Self {
        SendCode {
            to: "+14155552672".into(),
            country: None,
            purpose: Some("login".into()),
            digits: None,
            ttl_seconds: None,
            locale: None,
            brand: Some("Acme".into()),
            ip: None,
        }
    }
}

/// Checks a code. The check is counted before the code is looked at; a code is good once. Name the verification, or the
/// number. The outcome says `verified` and nothing about why not. On the bus it takes a sealed code only: one that anybody
/// could read there is refused, uncounted, and taken out of the stream.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct VerifyCode {
    /// The verification, as `code_sent` named it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub verification_id: Option<Uuid>,
    /// Or the number that the code was sent to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(chars, min = 1, max = 40)))]
    #[schemars(length(min = 1, max = 40))]
    #[schemars(extend("x-personal" = "subject"))]
    pub to: Option<String>,
    /// Whose national numbers `to` is written in: two letters, ISO 3166-1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(chars, min = 2, max = 2)))]
    #[schemars(length(min = 2, max = 2))]
    pub country: Option<String>,
    /// What the code is to be good for; `login` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(chars, min = 1, max = 40)))]
    #[schemars(length(min = 1, max = 40))]
    pub purpose: Option<String>,
    /// What the person typed. The HTTP door seals it before it goes on the bus; who writes to the bus has it sealed there
    /// first, by `POST /api/v1/sms/2fa/seal` with the same fields.
    #[garde(length(chars, min = 1, max = 200))]
    pub code: String,
}

/// What somebody typed is not for logs.
impl std::fmt::Debug for VerifyCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VerifyCode")
            .field("verification_id", &self.verification_id)
            .field("purpose", &self.purpose)
            .finish_non_exhaustive()
    }
}

impl Command for VerifyCode {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "verify_code";
    const LANE: &'static str = "checks";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/sms/2fa/verify"));
    const SCOPE: &'static str = "sms:verify";
    const SEALED: Option<Sealed> = Some(Sealed { field: "code", query: "seal_code" });

    fn example() -> Self {
        VerifyCode {
            verification_id: Some(a_message()),
            to: None,
            country: None,
            purpose: Some("login".into()),
            code: "123456".into(),
        }
    }
}

/// Asks the texter to seal the code of a check, for this check alone, so that nobody reads it on the bus. The door asks by
/// itself; whoever writes `verify_code` to the bus asks first. Nothing is counted or compared.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct SealCode {
    /// As in the check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub verification_id: Option<Uuid>,
    /// As in the check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(chars, min = 1, max = 40)))]
    #[schemars(length(min = 1, max = 40))]
    pub to: Option<String>,
    /// As in the check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(chars, min = 2, max = 2)))]
    #[schemars(length(min = 2, max = 2))]
    pub country: Option<String>,
    /// As in the check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(chars, min = 1, max = 40)))]
    #[schemars(length(min = 1, max = 40))]
    pub purpose: Option<String>,
    /// What the person typed.
    #[garde(length(chars, min = 1, max = 64))]
    pub code: String,
}

/// What somebody typed is not for logs.
impl std::fmt::Debug for SealCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealCode")
    }
}

/// A code that only the texter can open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SealedCode {
    /// To be put in its place.
    pub code: String,
}

impl Query for SealCode {
    type Answer = SealedCode;
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "seal_code";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/sms/2fa/seal"));
    const SCOPE: &'static str = "sms:verify";

    fn example() -> Self {
        SealCode {
            verification_id: Some(a_message()),
            to: None,
            country: None,
            purpose: Some("login".into()),
            code: "123456".into(),
        }
    }
}

/// A code is on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CodeSent {
    /// Names it when it is checked.
    pub verification_id: Uuid,
    /// The text that carries it.
    pub message_id: Uuid,
    /// What it is for.
    pub purpose: String,
    /// How many digits it has.
    pub digits: u8,
    /// Until when it is good.
    pub expires_at: DateTime<Utc>,
    /// The recipient's country, two letters.
    pub country: String,
    /// Which provider took it over.
    pub provider: String,
}

impl Event for CodeSent {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "code_sent";

    fn example() -> Self {
        CodeSent {
            verification_id: a_message(),
            message_id: a_message(),
            purpose: "login".into(),
            digits: 6,
            expires_at: DateTime::UNIX_EPOCH,
            country: "US".into(),
            provider: "twilio".into(),
        }
    }
}

/// The code was right, for the first and only time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CodeVerified {
    /// Always true.
    pub verified: bool,
    /// The verification.
    pub verification_id: Uuid,
    /// What it was for.
    pub purpose: String,
    /// The recipient's country, two letters.
    pub country: String,
}

impl Event for CodeVerified {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "code_verified";

    fn example() -> Self {
        CodeVerified { verified: true, verification_id: a_message(), purpose: "login".into(), country: "US".into() }
    }
}

/// The code was not good: wrong, used, too old, checked too often, or never sent. Which of these is not told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CodeFailed {
    /// Always false.
    pub verified: bool,
    /// The verification, if the question named it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verification_id: Option<Uuid>,
    /// What it was to be good for.
    pub purpose: String,
}

impl Event for CodeFailed {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "code_failed";

    fn example() -> Self {
        CodeFailed { verified: false, verification_id: Some(a_message()), purpose: "login".into() }
    }
}

/// What looks like somebody pumping texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FraudKind {
    /// Few of the codes sent are ever verified.
    Conversion,
    /// One recipient has had as many codes as may be.
    Recipient,
    /// One address has asked for as many codes as it may.
    Ip,
    /// One range of numbers has had as many codes as may be.
    Prefix,
    /// One country has had as many codes as may be.
    Country,
}

/// Codes are asked for as people don't ask for them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FraudSuspected {
    /// What gave rise to it.
    pub kind: FraudKind,
    /// The country, or the range of numbers, or a part of the address or number.
    pub key: String,
    /// Codes sent in the window.
    pub sent: u32,
    /// Of those, verified.
    pub verified: u32,
    /// The window, in seconds.
    pub window_seconds: u32,
}

impl Event for FraudSuspected {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "fraud_suspected";

    fn example() -> Self {
        FraudSuspected { kind: FraudKind::Conversion, key: "US".into(), sent: 50, verified: 2, window_seconds: 3600 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::personal::{self, Role};

    #[test]
    fn the_number_and_the_address_of_who_asks_for_a_code_are_personal() {
        let ask = SendCode { ip: Some("203.0.113.7".into()), ..SendCode::example() };
        let found = personal::find(&personal::marks(&schemars::schema_for!(SendCode)), &serde_json::json!(ask));
        let fields: Vec<_> = found.iter().map(|found| (found.pointer.as_str(), found.role)).collect();
        assert_eq!(fields, [("/ip", Role::Data), ("/to", Role::Subject)]);
    }
}
