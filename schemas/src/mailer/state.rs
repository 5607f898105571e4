//! How far a mail, or one recipient's copy of it, can be.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How far a mail has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EmailState {
    /// Accepted; not yet with the next server.
    Queued,
    /// The next server said "later" (4xx); it is tried again.
    Deferred,
    /// Whether it left is not known.
    Uncertain,
    /// Taken back before it left.
    Cancelled,
    /// Not sent: the address stands on the suppression list.
    Suppressed,
    /// Given up, let go, or refused by the provider.
    Failed,
    /// The next server has it.
    Sent,
    /// The recipient's server has it.
    Delivered,
    /// The recipient's server does not want it (5xx), at once or later.
    Bounced,
    /// The recipient called it spam.
    Complained,
}

impl EmailState {
    /// All, in the order of the lattice.
    pub const ALL: [EmailState; 10] = [
        EmailState::Queued,
        EmailState::Deferred,
        EmailState::Uncertain,
        EmailState::Cancelled,
        EmailState::Suppressed,
        EmailState::Failed,
        EmailState::Sent,
        EmailState::Delivered,
        EmailState::Bounced,
        EmailState::Complained,
    ];

    /// As it stands in rows and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            EmailState::Queued => "queued",
            EmailState::Deferred => "deferred",
            EmailState::Uncertain => "uncertain",
            EmailState::Cancelled => "cancelled",
            EmailState::Suppressed => "suppressed",
            EmailState::Failed => "failed",
            EmailState::Sent => "sent",
            EmailState::Delivered => "delivered",
            EmailState::Bounced => "bounced",
            EmailState::Complained => "complained",
        }
    }

    /// The reverse of [`EmailState::as_str`].
    pub fn parse(word: &str) -> Option<Self> {
        EmailState::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// The lattice's height. What is known better stands above what was believed before: `sent` above `failed`, because
    /// a worker that was overtaken may report late, but it was there; `bounced` above `delivered`, because a server may
    /// accept first and return later.
    const fn height(self) -> u8 {
        match self {
            EmailState::Queued => 0,
            EmailState::Deferred => 1,
            EmailState::Uncertain => 2,
            EmailState::Cancelled | EmailState::Suppressed | EmailState::Failed => 3,
            EmailState::Sent => 4,
            EmailState::Delivered => 5,
            EmailState::Bounced => 6,
            EmailState::Complained => 7,
        }
    }

    /// May a recipient's state become `next`? Only upwards: in whatever order the news arrive, the end is the same.
    pub const fn may_become(self, next: EmailState) -> bool {
        next.height() > self.height()
    }

    /// The states from which one may become this.
    pub fn reached_from(self) -> impl Iterator<Item = EmailState> {
        EmailState::ALL.into_iter().filter(move |from| from.may_become(self))
    }

    /// How far a mail has come whose recipients are at these states. `left`: has the next server ever taken it?
    ///
    /// What needs somebody's eye comes first (uncertain), then what is best known to have happened for anybody.
    pub fn of_all(states: &[EmailState], left: bool) -> EmailState {
        let has = |state: EmailState| states.contains(&state);
        let all = |wanted: &[EmailState]| states.iter().all(|state| wanted.contains(state));
        if states.is_empty() {
            return EmailState::Failed;
        }
        if let [only] = states {
            return match only {
                EmailState::Bounced if !left => EmailState::Failed,
                only => *only,
            };
        }
        match () {
            () if has(EmailState::Uncertain) => EmailState::Uncertain,
            () if all(&[EmailState::Delivered, EmailState::Complained]) => EmailState::Delivered,
            () if has(EmailState::Sent) || has(EmailState::Delivered) || has(EmailState::Complained) => {
                EmailState::Sent
            }
            () if has(EmailState::Deferred) => EmailState::Deferred,
            () if has(EmailState::Queued) => EmailState::Queued,
            () if has(EmailState::Bounced) && left => EmailState::Bounced,
            () if has(EmailState::Bounced) || has(EmailState::Failed) => EmailState::Failed,
            () if has(EmailState::Cancelled) => EmailState::Cancelled,
            () => EmailState::Suppressed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::EmailState as S;

    /// Rows: from; columns: to, both in the order of [`EmailState::ALL`].
    const MAY: [&str; 10] = [
        //        Q D U C S F S D B C
        /* queued     */ "- x x x x x x x x x",
        /* deferred   */ "- - x x x x x x x x",
        /* uncertain  */ "- - - x x x x x x x",
        /* cancelled  */ "- - - - - - x x x x",
        /* suppressed */ "- - - - - - x x x x",
        /* failed     */ "- - - - - - x x x x",
        /* sent       */ "- - - - - - - x x x",
        /* delivered  */ "- - - - - - - - x x",
        /* bounced    */ "- - - - - - - - - x",
        /* complained */ "- - - - - - - - - -",
    ];

    #[test]
    fn statuses_form_a_lattice_a_bounce_may_follow_delivered_and_sent_never_does() {
        for (from, row) in S::ALL.into_iter().zip(MAY) {
            for (to, may) in S::ALL.into_iter().zip(row.split(' ')) {
                assert_eq!(from.may_become(to), may == "x", "{from:?} to {to:?}");
            }
        }
        assert!(S::Delivered.may_become(S::Bounced) && !S::Delivered.may_become(S::Sent));
    }

    #[test]
    fn news_in_any_order_end_in_the_same_state() {
        let news = [S::Sent, S::Delivered, S::Bounced, S::Complained];
        let end =
            |order: &[S]| order.iter().fold(S::Queued, |now, next| if now.may_become(*next) { *next } else { now });
        for first in news {
            for second in news {
                assert_eq!(end(&[first, second]), end(&[second, first]));
            }
        }
    }

    /// Every course of four pieces of news, from wherever it begins.
    #[test]
    fn whatever_is_heard_in_whatever_order_nothing_goes_backwards_and_the_best_known_wins() {
        let all = || S::ALL.into_iter();
        for begin in all() {
            for (one, two) in all().flat_map(|one| all().map(move |two| (one, two))) {
                for (three, four) in all().flat_map(|three| all().map(move |four| (three, four))) {
                    let mut now = begin;
                    for next in [one, two, three, four] {
                        let before = now;
                        if now.may_become(next) {
                            now = next;
                        }
                        assert!(now.height() >= before.height(), "{before:?} became {now:?}");
                    }
                    let best = [begin, one, two, three, four].map(S::height).into_iter().max();
                    assert_eq!(Some(now.height()), best, "{begin:?}, {one:?}, {two:?}, {three:?}, {four:?}");
                }
            }
        }
    }

    #[test]
    fn a_mail_is_as_far_as_its_recipients_let_one_say() {
        for (states, left, whole) in [
            (&[][..], false, S::Failed),
            (&[S::Sent, S::Bounced], true, S::Sent),
            (&[S::Delivered, S::Delivered], true, S::Delivered),
            (&[S::Sent, S::Uncertain], true, S::Uncertain),
            (&[S::Bounced], false, S::Failed),
            (&[S::Bounced], true, S::Bounced),
            (&[S::Bounced, S::Deferred], false, S::Deferred),
            (&[S::Suppressed, S::Suppressed], false, S::Suppressed),
            (&[S::Cancelled, S::Suppressed], false, S::Cancelled),
        ] {
            assert_eq!(S::of_all(states, left), whole, "{states:?}");
        }
    }

    #[test]
    fn words_are_read_back() {
        assert!(S::ALL.iter().all(|state| S::parse(state.as_str()) == Some(*state)));
        assert_eq!(S::parse("opened"), None);
    }
}
