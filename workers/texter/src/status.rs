//! How far a text has come. A status never moves up its list again.

use omnibus_schemas::texter::SmsState;

/// In the order in which a text passes them; SQL has the same list in [`LADDER`].
const ORDER: [SmsState; 12] = [
    SmsState::Waiting,
    SmsState::Queued,
    SmsState::Uncertain,
    SmsState::Accepted,
    SmsState::Scheduled,
    SmsState::Sending,
    SmsState::Sent,
    SmsState::Undelivered,
    SmsState::Failed,
    SmsState::Canceled,
    SmsState::Delivered,
    SmsState::Read,
];

/// As it stands in rows.
pub(crate) fn word(state: SmsState) -> &'static str {
    match state {
        SmsState::Waiting => "waiting",
        SmsState::Queued => "queued",
        SmsState::Uncertain => "uncertain",
        SmsState::Accepted => "accepted",
        SmsState::Scheduled => "scheduled",
        SmsState::Sending => "sending",
        SmsState::Sent => "sent",
        SmsState::Undelivered => "undelivered",
        SmsState::Failed => "failed",
        SmsState::Canceled => "canceled",
        SmsState::Delivered => "delivered",
        SmsState::Read => "read",
    }
}

/// The reverse of [`word`].
pub(crate) fn parse(text: &str) -> anyhow::Result<SmsState> {
    let found = ORDER.into_iter().find(|state| word(*state) == text);
    found.ok_or_else(|| anyhow::anyhow!("the row says {text}, which is no status"))
}

fn place(state: SmsState) -> usize {
    ORDER.iter().position(|other| *other == state).expect("the order has every state")
}

/// Is `next` further than `now`?
pub(crate) fn is_further(next: SmsState, now: SmsState) -> bool {
    place(next) > place(now)
}

/// Nothing more than a reading will be heard of it.
pub(crate) fn is_final(state: SmsState) -> bool {
    place(state) >= place(SmsState::Undelivered)
}

/// It ended without reaching anybody.
pub(crate) fn has_failed(state: SmsState) -> bool {
    matches!(state, SmsState::Undelivered | SmsState::Failed | SmsState::Canceled)
}

/// What a day's counts have it under while it stands there, beside having been sent.
pub(crate) fn counts_as(state: SmsState) -> Option<&'static str> {
    match state {
        SmsState::Uncertain => Some("uncertain"),
        SmsState::Undelivered | SmsState::Failed => Some("failed"),
        SmsState::Delivered | SmsState::Read => Some("delivered"),
        SmsState::Waiting
        | SmsState::Queued
        | SmsState::Accepted
        | SmsState::Scheduled
        | SmsState::Sending
        | SmsState::Sent
        | SmsState::Canceled => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_has_a_word_and_a_place_of_its_own() {
        for (n, state) in ORDER.into_iter().enumerate() {
            assert_eq!((parse(word(state)).unwrap(), place(state)), (state, n));
        }
        assert!(parse("lost").is_err());
    }

    #[test]
    fn whatever_comes_in_whatever_order_the_furthest_stands_at_the_end() {
        let mut told = [SmsState::Delivered, SmsState::Sent, SmsState::Sending, SmsState::Sent, SmsState::Accepted];
        for _ in 0..told.len() {
            told.rotate_left(1);
            let end = told.iter().fold(SmsState::Queued, |now, next| if is_further(*next, now) { *next } else { now });
            assert_eq!(end, SmsState::Delivered);
        }
    }
}
