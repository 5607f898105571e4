//! A message as Twilio shows it: all properties of the Message resource, dates in RFC 2822, numbers as texts.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

/// A message that was taken.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) sid: String,
    pub(crate) to: String,
    pub(crate) from: Option<String>,
    pub(crate) service: Option<String>,
    pub(crate) body: String,
    pub(crate) status: String,
    pub(crate) error_code: Option<u32>,
    pub(crate) price: Option<String>,
    pub(crate) callback: Option<String>,
    pub(crate) created: DateTime<Utc>,
    pub(crate) sent: Option<DateTime<Utc>>,
}

#[expect(clippy::disallowed_methods, reason = "another house's clock")]
pub(crate) fn now() -> DateTime<Utc> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    DateTime::UNIX_EPOCH + chrono::Duration::from_std(since).unwrap_or_default()
}

fn rfc2822(at: DateTime<Utc>) -> String {
    at.format("%a, %d %b %Y %H:%M:%S +0000").to_string()
}

impl Message {
    pub(crate) fn shown(&self, account: &str) -> Value {
        let place = format!("/2010-04-01/Accounts/{account}/Messages/{}", self.sid);
        json!({
            "account_sid": account,
            "api_version": "2010-04-01",
            "body": self.body,
            "date_created": rfc2822(self.created),
            "date_sent": self.sent.map(rfc2822),
            "date_updated": rfc2822(self.created),
            "direction": "outbound-api",
            "error_code": self.error_code,
            "error_message": null,
            "from": self.from,
            "messaging_service_sid": self.service,
            "num_media": "0",
            // Nobody has been assigned to send it yet where a service does.
            "num_segments": if self.service.is_some() { "0" } else { "1" },
            "price": self.price,
            "price_unit": "USD",
            "sid": self.sid,
            "status": self.status,
            "subresource_uris": { "media": format!("{place}/Media.json") },
            "to": self.to,
            "uri": format!("{place}.json"),
        })
    }
}
