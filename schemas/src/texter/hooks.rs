//! Where providers call.

use super::DOMAIN;
use crate::contract::Http;
use crate::hook::Hook;

/// Twilio tells how far a text is.
pub struct TwilioStatus;

impl Hook for TwilioStatus {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "twilio_status";
    const HTTP: Http = Http::post("/webhooks/twilio/status");
    const HEADERS: &'static [&'static str] = &["x-twilio-signature", "content-type"];
    const MAX_BODY: usize = 64 * 1024;
    const SUMMARY: &'static str =
        "How far a text is. Proved by Twilio's signature over the public address and the form.";
}

/// Twilio brings a text that came in.
pub struct TwilioInbound;

impl Hook for TwilioInbound {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "twilio_inbound";
    const HTTP: Http = Http::post("/webhooks/twilio/inbound");
    const HEADERS: &'static [&'static str] = &["x-twilio-signature", "content-type"];
    const MAX_BODY: usize = 64 * 1024;
    const SUMMARY: &'static str =
        "A text that came in. Proved by Twilio's signature over the public address and the form.";
}
