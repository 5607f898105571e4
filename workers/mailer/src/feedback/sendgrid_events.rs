//! SendGrid's event webhook. The signature is over the timestamp and the raw bytes, and is checked before a single byte
//! is parsed. What SendGrid tells twice has the same `sg_event_id`, and so is the same command.

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use omnibus_runtime::{AskError, At, Receive, Reply, Visit};
use omnibus_schemas::Tenant;
use omnibus_schemas::body;
use omnibus_schemas::mailer::{Feedback, RecordFeedback, SendGridEvents};
use p256::ecdsa::signature::Verifier;
use p256::ecdsa::{Signature, VerifyingKey};
use p256::pkcs8::DecodePublicKey;
use serde::Deserialize;
use uuid::Uuid;

use crate::Mailer;
use crate::transport::{no_such_mailbox, without_addresses};

/// The key that SendGrid shows beside its signed event webhook: base64 of DER.
pub(crate) fn key(text: &str) -> anyhow::Result<VerifyingKey> {
    let der = STANDARD.decode(text.trim()).context("SENDGRID_WEBHOOK_KEY is not base64")?;
    VerifyingKey::from_public_key_der(&der).map_err(|_| anyhow::anyhow!("SENDGRID_WEBHOOK_KEY is no P-256 public key"))
}

/// Is this signature the key's, over the timestamp followed by these very bytes?
fn signed(key: &VerifyingKey, signature: &str, timestamp: &str, raw: &[u8]) -> bool {
    let Ok(der) = STANDARD.decode(signature) else { return false };
    let Ok(signature) = Signature::from_der(&der) else { return false };
    key.verify(&[timestamp.as_bytes(), raw].concat(), &signature).is_ok()
}

/// As much of an event as is looked at.
#[derive(Debug, Deserialize)]
struct Told {
    event: String,
    #[serde(default)]
    email: String,
    #[serde(default)]
    timestamp: i64,
    #[serde(default)]
    sg_event_id: String,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    response: Option<String>,
    #[serde(default)]
    status: Option<String>,
    /// `bounce` or `blocked`.
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    omnibus_tenant: Option<String>,
    #[serde(default)]
    omnibus_email: Option<Uuid>,
}

impl Receive<SendGridEvents> for Mailer {
    async fn receive(&self, at: &mut At<'_>, visit: Visit) -> Result<Reply, AskError> {
        let Some(key) = &self.sendgrid_webhook_key else {
            return Err(AskError::NotFound("SENDGRID_WEBHOOK_KEY is not set".into()));
        };
        let header = |name: &str| visit.headers.get(name).map(String::as_str).unwrap_or_default();
        let signature = header("x-twilio-email-event-webhook-signature");
        let timestamp = header("x-twilio-email-event-webhook-timestamp");
        if !signed(key, signature, timestamp, &visit.body) {
            return Ok(Reply::status(401).text("the signature does not fit"));
        }
        let Ok(events) = serde_json::from_slice::<Vec<Told>>(&visit.body) else {
            return Ok(Reply::status(400).text("not a list of events"));
        };
        let booked = events.iter().filter_map(|told| feedback(told, at.now));
        Ok(booked.fold(Reply::status(200), |reply, (tenant, id, command)| reply.then(&tenant, id, &command)))
    }
}

/// What an event means for us, if anything.
fn feedback(told: &Told, now: DateTime<Utc>) -> Option<(String, Uuid, RecordFeedback)> {
    let what = match told.event.as_str() {
        "delivered" => Feedback::Delivered,
        "deferred" => Feedback::Deferred,
        "bounce" | "dropped" => Feedback::Bounced,
        "spamreport" => Feedback::Complained,
        "unsubscribe" | "group_unsubscribe" => Feedback::Unsubscribed,
        _ => return None,
    };
    // Mails that others send over the same account have no such arguments.
    let (tenant, email_id) = (told.omnibus_tenant.clone()?, told.omnibus_email?);
    tenant.parse::<Tenant>().ok()?;
    let status = told.status.as_deref().unwrap_or_default();
    let words = told.reason.as_deref().or(told.response.as_deref()).unwrap_or_default();
    let detail = without_addresses(&format!("{status} {words}"));
    let command = RecordFeedback {
        email_id,
        address: told.email.clone(),
        what,
        hard: told.event == "bounce" && told.kind.as_deref() != Some("blocked") && no_such_mailbox(&detail),
        detail: Some(detail).filter(|detail| !detail.is_empty()),
        at: DateTime::from_timestamp(told.timestamp, 0).filter(|at| *at <= now).unwrap_or(now),
    };
    body::validate(&command).ok()?;
    // SendGrid's own id, else what makes the event what it is.
    let own = format!("{}/{}/{}/{}", told.event, told.email, told.timestamp, email_id);
    let name = if told.sg_event_id.is_empty() { &own } else { &told.sg_event_id };
    let id = Uuid::new_v5(&Uuid::NAMESPACE_URL, format!("sendgrid/{tenant}/{name}").as_bytes());
    Some((tenant, id, command))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEEDr2LjtURuePQzplybdC+u4CwrqDqBaWjcMMsTbhdbcwHBcepxo7yAQGhHPTnlvFYPAZFceEu/1FwCM/QmGUhA==";
    const SIGNATURE: &str =
        "MEUCIQCtIHJeH93Y+qpYeWrySphQgpNGNr/U+UyUlBkU6n7RAwIgJTz2C+8a8xonZGi6BpSzoQsbVRamr2nlxFDWYNH2j/0=";
    const TIMESTAMP: &str = "1588788367";
    const PAYLOAD: &[u8] = br#"{"category":"example_payload","event":"test_event","message_id":"message_id"}"#;

    #[test]
    fn a_signature_holds_for_the_very_bytes_and_no_others() {
        let key = key(KEY).unwrap();
        assert!(signed(&key, SIGNATURE, TIMESTAMP, PAYLOAD));
        assert!(!signed(&key, SIGNATURE, TIMESTAMP, &[PAYLOAD, b"\r\n"].concat()));
        assert!(!signed(&key, SIGNATURE, "1588788368", PAYLOAD));
        assert!(!signed(&key, "", TIMESTAMP, PAYLOAD));
        assert!(!signed(&key, "AAAA", TIMESTAMP, PAYLOAD));
    }

    #[test]
    fn a_key_that_is_none_is_told_at_the_start() {
        for text in ["", "no base64!", "AAAA"] {
            assert!(key(text).unwrap_err().to_string().contains("SENDGRID_WEBHOOK_KEY"), "{text}");
        }
    }

    #[test]
    fn opens_clicks_and_others_mails_mean_nothing() {
        let told = |text: &str| serde_json::from_str::<Told>(text).unwrap();
        let now = DateTime::UNIX_EPOCH;
        assert!(feedback(&told(r#"{"event":"open","email":"a@example.com"}"#), now).is_none());
        assert!(feedback(&told(r#"{"event":"delivered","email":"a@example.com","sg_event_id":"x"}"#), now).is_none());
    }
}
