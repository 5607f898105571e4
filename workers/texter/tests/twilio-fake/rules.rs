//! What Twilio minds about a request. Stricter than Twilio where that finds mistakes: an unknown field is refused.

use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::message::now;

/// The fields that a message may be made with.
pub(crate) const FIELDS: [&str; 8] =
    ["To", "From", "MessagingServiceSid", "Body", "StatusCallback", "ScheduleType", "SendAt", "ValidityPeriod"];

/// An error as Twilio writes it.
pub(crate) fn error(status: u16, code: u32, message: &str) -> Response {
    let status = StatusCode::from_u16(status).expect("the fake names real statuses");
    let body = json!({
        "code": code,
        "message": message,
        "more_info": format!("https://www.twilio.com/docs/errors/{code}"),
        "status": status.as_u16(),
    });
    (status, axum::Json(body)).into_response()
}

/// HTTP Basic with exactly this account and token.
pub(crate) fn authenticated(headers: &HeaderMap, account: &str, token: &str) -> bool {
    let wanted = format!("Basic {}", STANDARD.encode(format!("{account}:{token}")));
    headers.get(header::AUTHORIZATION).is_some_and(|given| given.as_bytes() == wanted.as_bytes())
}

/// The fields of a form, percent-decoded; a refusal if it is none, or has others than these.
pub(crate) fn form(
    method: &Method,
    headers: &HeaderMap,
    body: &[u8],
    known: &[&str],
) -> Result<Vec<(String, String)>, Box<Response>> {
    let refuse = |message: &str| Err(Box::new(error(400, 20001, message)));
    if method != Method::POST {
        return refuse("method");
    }
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if kind != "application/x-www-form-urlencoded" {
        return refuse("a form is expected");
    }
    let Some(fields) = decode(body) else { return refuse("the form is not percent-encoded UTF-8") };
    if let Some((name, _)) = fields.iter().find(|(name, _)| !known.contains(&name.as_str())) {
        return refuse(&format!("unknown field {name}"));
    }
    let mut names: Vec<_> = fields.iter().map(|(name, _)| name).collect();
    names.sort();
    names.dedup();
    if names.len() != fields.len() {
        return refuse("a field is given twice");
    }
    Ok(fields)
}

/// `a=b&c=d`, percent-decoded.
pub(crate) fn decode(text: &[u8]) -> Option<Vec<(String, String)>> {
    let text = std::str::from_utf8(text).ok()?;
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=')?;
            Some((plain(name)?, plain(value)?))
        })
        .collect()
}

fn plain(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, more @ ..] = rest {
        rest = match first {
            b'%' => {
                let hex = std::str::from_utf8(more.get(..2)?).ok()?;
                bytes.push(u8::from_str_radix(hex, 16).ok()?);
                &more[2..]
            }
            b'+' => {
                bytes.push(b' ');
                more
            }
            other => {
                bytes.push(*other);
                more
            }
        };
    }
    String::from_utf8(bytes).ok()
}

/// What is wrong with a message, in Twilio's codes.
pub(crate) fn fault(get: &dyn Fn(&str) -> Option<String>) -> Option<(u32, &'static str)> {
    let Some(to) = get("To") else { return Some((21604, "A 'To' phone number is required.")) };
    let digits = to.strip_prefix('+').unwrap_or_default();
    if !(7..=15).contains(&digits.len()) || digits.starts_with('0') || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Some((21211, "The 'To' number is not a valid phone number."));
    }
    match (get("From"), get("MessagingServiceSid")) {
        (None, None) => return Some((21603, "A 'From' phone number is required.")),
        (Some(_), Some(_)) => return Some((20001, "From and MessagingServiceSid exclude each other here.")),
        (Some(from), None) if !from.starts_with('+') => return Some((21212, "The 'From' number is not valid.")),
        (None, Some(sid)) if !(sid.starts_with("MG") && sid.len() == 34) => {
            return Some((21701, "The Messaging Service does not exist."));
        }
        _ => {}
    }
    match get("Body").map(|body| body.chars().count()) {
        None | Some(0) => return Some((21602, "Message body is required.")),
        Some(length) if length > 1600 => return Some((21617, "The body exceeds the 1600 character limit.")),
        _ => {}
    }
    if let Some(fault) = schedule_fault(get) {
        return Some(fault);
    }
    if get("ValidityPeriod").is_some_and(|text| !text.parse().is_ok_and(|seconds: u32| (1..=36000).contains(&seconds)))
    {
        return Some((21628, "ValidityPeriod is not a number of seconds from 1 to 36000."));
    }
    if get("StatusCallback").is_some_and(|url| !url.starts_with("http")) {
        return Some((21609, "The 'StatusCallback' URL is not a valid URL."));
    }
    None
}

/// What is wrong with the time at which a message is to be sent.
fn schedule_fault(get: &dyn Fn(&str) -> Option<String>) -> Option<(u32, &'static str)> {
    let at = match (get("ScheduleType"), get("SendAt")) {
        (None, None) => return None,
        (Some(kind), Some(at)) if kind == "fixed" => at,
        _ => return Some((35111, "ScheduleType fixed and SendAt go together.")),
    };
    if get("MessagingServiceSid").is_none() {
        return Some((35118, "MessagingServiceSid is required to schedule a message."));
    }
    let Ok(at) = chrono::DateTime::parse_from_rfc3339(&at) else { return Some((35115, "SendAt is not ISO 8601.")) };
    // A minute's grace for who was on the way.
    let ahead = at.to_utc() - now();
    if ahead < chrono::Duration::minutes(14) || ahead > chrono::Duration::days(35) {
        return Some((35114, "SendAt can only be between 15 minutes and 35 days in the future."));
    }
    None
}
