//! Twilio's error codes: which pass, which are final, and which are about us rather than about one text.

/// What follows from an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It passes: the same again, later.
    Again,
    /// It does not.
    Final,
    /// The recipient has opted out at the provider.
    OptedOut,
    /// It would be the same for the next text: the provider is left alone.
    Stop {
        /// For this tenant's texts alone, or for all.
        tenant_only: bool,
    },
}

/// What follows from this one.
pub(crate) fn verdict(code: u32) -> Verdict {
    match code {
        20429 | 30001 | 30003 | 30008 => Verdict::Again,
        21610 => Verdict::OptedOut,
        20003 | 30002 => Verdict::Stop { tenant_only: false },
        // Carriers filter what somebody sends, not who sends it.
        30007 => Verdict::Stop { tenant_only: true },
        _ => Verdict::Final,
    }
}

/// The code of a rejection.
pub(crate) fn refusal(code: u32) -> &'static str {
    match code {
        21211 | 21614 => "invalid_number",
        21610 => "opted_out",
        30005 | 30006 => "unreachable_number",
        20003 => "provider_credentials",
        30002 => "provider_suspended",
        30007 => "carrier_filtered",
        _ => "provider_refused",
    }
}

/// The error that a rejection of this code came from, where it stops a provider.
pub(crate) fn stopping(refusal: &str) -> Option<u32> {
    [20003, 30002, 30007].into_iter().find(|code| self::refusal(*code) == refusal)
}

/// In words. Twilio's own may hold the number.
pub(crate) fn meaning(code: u32) -> &'static str {
    match code {
        20003 => "the credentials are not taken",
        20429 => "too many requests",
        21211 => "not a valid number",
        21610 => "the recipient has opted out",
        21614 => "not a mobile number",
        30001 => "the queue is full",
        30002 => "the account is suspended",
        30003 => "the device can't be reached now",
        30005 => "no such number is in use",
        30006 => "a landline, or a carrier that takes no texts",
        30007 => "a carrier filtered it",
        30008 => "not delivered, nobody says why",
        _ => "refused",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_pass_or_are_final_or_stop_everything() {
        assert!([20429, 30001, 30003, 30008].into_iter().all(|code| verdict(code) == Verdict::Again));
        assert!([21211, 21614, 30005, 30006, 12345].into_iter().all(|code| verdict(code) == Verdict::Final));
        assert_eq!(verdict(21610), Verdict::OptedOut);
        for code in [20003, 30002, 30007] {
            assert!(matches!(verdict(code), Verdict::Stop { .. }));
            assert_eq!(stopping(refusal(code)), Some(code));
        }
        assert_eq!(stopping("provider_refused"), None);
    }
}
