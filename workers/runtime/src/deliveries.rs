//! Whether a consumer's deliveries have a gap. The server numbers them, repetitions too: a number that is missing went to
//! somebody else, or was lost with a connection, and its message comes again when `ack_wait` is over. What was delivered
//! behind a gap has to wait for it, and so comes again as well: only then a stream's order is kept.

/// What is known of the deliveries to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deliveries {
    /// Nobody has looked yet, or there was a gap.
    Unknown,
    /// So many messages that somebody was given, none of them behind `through` in the stream, are due again. The server sends
    /// them before all others.
    Due {
        /// How many.
        left: u64,
        /// The last that was ever delivered.
        through: u64,
    },
    /// Nothing is out, and the next has this number. A server that was killed may have forgotten its last numbers, and
    /// gives them again, to messages that were delivered before.
    Whole {
        /// The number.
        next: u64,
    },
}

/// Where a message stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    /// Among the consumer's deliveries.
    pub(crate) delivery: u64,
    /// In the stream.
    pub(crate) stream: u64,
}

impl Deliveries {
    /// How many of these, from the first on, have no gap before them.
    pub(crate) fn take(&mut self, places: impl IntoIterator<Item = Place>) -> usize {
        let mut taken = 0;
        for place in places {
            match self {
                Deliveries::Whole { next } if place.delivery <= *next => *next = place.delivery + 1,
                Deliveries::Due { left, through } if *left > 0 && place.stream <= *through => *left -= 1,
                _ => {
                    *self = Deliveries::Unknown;
                    return taken;
                }
            }
            taken += 1;
        }
        if matches!(self, Deliveries::Due { left: 0, .. }) {
            *self = Deliveries::Unknown;
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(places: impl IntoIterator<Item = (u64, u64)>) -> Vec<Place> {
        places.into_iter().map(|(delivery, stream)| Place { delivery, stream }).collect()
    }

    #[test]
    fn what_comes_behind_a_gap_is_not_taken() {
        let mut deliveries = Deliveries::Whole { next: 7 };
        assert_eq!(deliveries.take(places([(7, 70), (8, 71)])), 2);
        assert_eq!(deliveries, Deliveries::Whole { next: 9 });
        assert_eq!(deliveries.take(places([(9, 72), (11, 80), (12, 81)])), 1);
        assert_eq!(deliveries, Deliveries::Unknown);
        assert_eq!(deliveries.take(places([(13, 82)])), 0, "before somebody has looked");
    }

    #[test]
    fn numbers_that_a_killed_server_gives_again_are_no_gap() {
        let mut deliveries = Deliveries::Whole { next: 7 };
        assert_eq!(deliveries.take(places([(4, 40), (5, 41)])), 2);
        assert_eq!(deliveries, Deliveries::Whole { next: 6 });
    }

    #[test]
    fn what_is_due_again_comes_before_what_was_never_delivered() {
        let mut deliveries = Deliveries::Due { left: 3, through: 60 };
        assert_eq!(deliveries.take(places([(100, 50), (101, 60)])), 2);
        assert_eq!(deliveries, Deliveries::Due { left: 1, through: 60 });
        assert_eq!(deliveries.take(places([(102, 61)])), 0, "one is not there yet");
        assert_eq!(deliveries, Deliveries::Unknown);

        let mut deliveries = Deliveries::Due { left: 1, through: 60 };
        assert_eq!(deliveries.take(places([(100, 50)])), 1);
        assert_eq!(deliveries, Deliveries::Unknown, "what was just taken is out; who looks sees when it no longer is");
    }
}
