//! One text: sending it, and how far it has come.

use chrono::{DateTime, Utc};
use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{DOMAIN, a_message, is_false};
use crate::contract::{Command, Event, Http, Query};

/// Sends one text. 202 means accepted, not delivered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct SendSms {
    /// The recipient's number: E.164 such as `+14155552671`, or as it is dialled inside `country`.
    #[garde(length(chars, min = 1, max = 40))]
    #[schemars(extend("x-personal" = "subject"))]
    pub to: String,
    /// Whose national numbers `to` is written in: two letters, ISO 3166-1. Not needed for E.164.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(chars, min = 2, max = 2)))]
    #[schemars(length(min = 2, max = 2))]
    pub country: Option<String>,
    /// The text, 1 to 1600 characters. It leaves as up to 11 GSM-7 or 24 UCS-2 segments, each of which costs.
    #[garde(length(chars, min = 1, max = 1600))]
    pub body: String,
    /// The sender: one of those the texter is set up for. Its own choice if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(chars, min = 1, max = 40)))]
    #[schemars(length(min = 1, max = 40))]
    pub from: Option<String>,
    /// What kind of text it is: decides on quiet hours and on which opt-outs hold.
    #[serde(default)]
    #[garde(skip)]
    pub category: Category,
    /// Writes typographic quotes, dashes and spaces as their GSM-7 look-alikes, where that saves segments.
    #[serde(default, skip_serializing_if = "is_false")]
    #[garde(skip)]
    pub smart_encoding: bool,
    /// The recipient's time zone for quiet hours, an IANA name such as `Europe/Berlin`. By default that of the number's
    /// country where it has one, else the tenant's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(chars, min = 1, max = 64)))]
    #[schemars(length(min = 1, max = 64))]
    pub timezone: Option<String>,
    /// Not before this time; at most 30 days ahead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub send_at: Option<DateTime<Utc>>,
    /// Where it waits for `send_at`.
    #[serde(default, skip_serializing_if = "is_here")]
    #[garde(skip)]
    pub waits_at: WaitsAt,
}

/// Where a text waits for its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WaitsAt {
    /// Here: opt-outs, quiet hours, budgets and prices are those of the moment at which it leaves. Any provider will do.
    #[default]
    Here,
    /// At the provider, which sends it even while nothing of ours runs; it is paid for, and looked at, when it is handed
    /// over. Takes a provider that can, such as Twilio with a messaging service, and 15 minutes to 30 days.
    Provider,
}

fn is_here(at: &WaitsAt) -> bool {
    *at == WaitsAt::Here
}

/// What kind of text it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Category {
    /// Advertising: any opt-out holds, quiet hours delay it.
    Marketing,
    /// Somebody's own business: opt-outs of everything hold, quiet hours delay it.
    #[default]
    Transactional,
    /// What can't wait: opt-outs of everything hold, quiet hours don't.
    Urgent,
}

impl Command for SendSms {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "send_sms";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/sms/send"));
    const SCOPE: &'static str = "sms:send";
    const STATUS: Option<&'static str> = Some("/api/v1/sms/{id}/status");

    fn example() -> Self {
        SendSms {
            to: "+14155552671".into(),
            country: None,
            body: "Hello".into(),
            from: None,
            category: Category::Transactional,
            smart_encoding: false,
            timezone: None,
            send_at: None,
            waits_at: WaitsAt::Here,
        }
    }
}

/// How a text is packed. 3GPP TS 23.038.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SmsEncoding {
    /// Seven bits a character: 160 alone, 153 in each part of several.
    #[serde(rename = "GSM-7")]
    Gsm7,
    /// Sixteen bits a unit: 70 alone, 67 in each part of several.
    #[serde(rename = "UCS-2")]
    Ucs2,
}

/// How far a text has come. It only ever moves down this list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SmsState {
    /// Accepted here; it leaves later. The report says what it waits for. Nothing is booked for it yet.
    Waiting,
    /// Accepted here, on its way to a provider.
    Queued,
    /// Whether a provider has it is not known.
    Uncertain,
    /// A provider has it.
    Accepted,
    /// A provider holds it for later.
    Scheduled,
    /// A provider is sending it.
    Sending,
    /// The carrier has it.
    Sent,
    /// The carrier could not deliver it.
    Undelivered,
    /// It was refused, or given up.
    Failed,
    /// It was taken back.
    Canceled,
    /// It is on the recipient's device.
    Delivered,
    /// The recipient has read it.
    Read,
}

/// A provider has taken the text over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SmsSent {
    /// The text's id, which is the command's.
    pub message_id: Uuid,
    /// Which provider.
    pub provider: String,
    /// The provider's own id of it.
    pub provider_id: String,
    /// How far it has come.
    pub status: SmsState,
    /// How it is packed.
    pub encoding: SmsEncoding,
    /// In how many segments.
    pub segments: u32,
    /// The recipient's country, two letters.
    pub country: String,
    /// The template's name, if it came from one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// What it is estimated to cost, in millionths of the currency.
    pub estimate_micro: i64,
    /// ISO 4217, such as `USD`.
    pub currency: String,
    /// Rises with every change of this text.
    pub revision: u32,
}

impl Event for SmsSent {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "sms_sent";

    fn example() -> Self {
        SmsSent {
            message_id: a_message(),
            provider: "twilio".into(),
            provider_id: "SM00000000000000000000000000000001".into(),
            status: SmsState::Accepted,
            encoding: SmsEncoding::Gsm7,
            segments: 1,
            country: "US".into(),
            template: None,
            estimate_micro: 7900,
            currency: "USD".into(),
            revision: 2,
        }
    }
}

/// A provider or carrier has told how far the text is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SmsStatusChanged {
    /// The text's id.
    pub message_id: Uuid,
    /// How far it has come.
    pub status: SmsState,
    /// Where it stood before.
    pub previous: SmsState,
    /// The provider's error code, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_code: Option<u32>,
    /// Rises with every change of this text.
    pub revision: u32,
}

impl Event for SmsStatusChanged {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "sms_status_changed";

    fn example() -> Self {
        SmsStatusChanged {
            message_id: a_message(),
            status: SmsState::Delivered,
            previous: SmsState::Sent,
            error_code: None,
            revision: 4,
        }
    }
}

/// The text was refused for good, or given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SmsFailed {
    /// The text's id.
    pub message_id: Uuid,
    /// `refused`, `gave_up` or `dropped`.
    pub code: String,
    /// What the provider said, or the last error.
    pub detail: String,
    /// Rises with every change of this text.
    pub revision: u32,
}

impl Event for SmsFailed {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "sms_failed";

    fn example() -> Self {
        SmsFailed {
            message_id: a_message(),
            code: "refused".into(),
            detail: "twilio 21211: not a valid number".into(),
            revision: 2,
        }
    }
}

/// Whether a provider has the text is not known; it is not sent again unless a person says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SmsUncertain {
    /// The text's id.
    pub message_id: Uuid,
    /// What is known.
    pub detail: String,
    /// Rises with every change of this text.
    pub revision: u32,
}

impl Event for SmsUncertain {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "sms_uncertain";

    fn example() -> Self {
        SmsUncertain { message_id: a_message(), detail: "no answer to the POST".into(), revision: 2 }
    }
}

/// Takes back a text that waits: here, or at a provider that can. One that has left can't be taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct CancelSms {
    /// The text's id.
    #[garde(skip)]
    pub message_id: Uuid,
}

impl Command for CancelSms {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "cancel_sms";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/sms/{message_id}/cancel"));
    const SCOPE: &'static str = "sms:send";

    fn example() -> Self {
        CancelSms { message_id: a_message() }
    }
}

/// What a text waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WaitsFor {
    /// Its `send_at`.
    SendAt,
    /// The end of the recipient's quiet hours.
    QuietHours,
    /// A blown spend fuse to be put in again, or the next day.
    SpendFuse,
    /// A provider that is left alone for now.
    Provider,
}

/// Asks how far a text has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct SmsStatus {
    /// The text's id.
    #[garde(skip)]
    pub message_id: Uuid,
}

/// How far a text has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SmsReport {
    /// The text's id.
    pub message_id: Uuid,
    /// How far it has come.
    pub status: SmsState,
    /// What it waits for, while it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<WaitsFor>,
    /// When it is looked at again, while it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_until: Option<DateTime<Utc>>,
    /// Rises with every change of this text.
    pub revision: u32,
    /// The recipient, all but the ends blotted out: `+1415*****71`.
    pub to: String,
    /// The recipient's country, two letters.
    pub country: String,
    /// How it is packed.
    pub encoding: SmsEncoding,
    /// In how many segments.
    pub segments: u32,
    /// Which provider it went to, or is going to.
    pub provider: String,
    /// The provider's own id of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_id: Option<String>,
    /// The template's name, if it came from one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// The provider's error code, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_code: Option<u32>,
    /// What the provider said, or the last error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// What it is estimated to cost, in millionths of the currency.
    pub estimate_micro: i64,
    /// What the provider has billed, once it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actual_micro: Option<i64>,
    /// ISO 4217.
    pub currency: String,
    /// When it was accepted here.
    pub queued_at: DateTime<Utc>,
    /// When a provider took it over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<DateTime<Utc>>,
}

impl Query for SmsStatus {
    type Answer = SmsReport;
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "sms_status";
    const HTTP: Option<Http> = Some(Http::get("/api/v1/sms/{message_id}/status"));
    const SCOPE: &'static str = "sms:read";

    fn example() -> Self {
        SmsStatus { message_id: a_message() }
    }
}
