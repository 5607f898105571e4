//! Whether a consumer's deliveries have a gap. The server numbers them, repetitions too: where a number is missing, or
//! another than the next comes, somebody else was given a message, one was lost with a connection, or the server forgot what
//! it had given. Whoever was given it may be gone; it comes again when `ack_wait` is over. What was delivered behind the gap has
//! to wait for it, and so comes again as well: only then a stream's order is kept.

/// The number of the next delivery; `None` if nobody has looked yet, or there was a gap.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Deliveries(Option<u64>);

impl Deliveries {
    /// Nothing is out, and this number was the last.
    pub(crate) fn after(last: u64) -> Self {
        Deliveries(Some(last + 1))
    }

    /// Is there nothing to hold a number against?
    pub(crate) fn is_unknown(self) -> bool {
        self.0.is_none()
    }

    /// How many of these, from the first on, have no gap before them.
    pub(crate) fn take(&mut self, numbers: impl IntoIterator<Item = u64>) -> usize {
        let mut taken = 0;
        for number in numbers {
            if self.0 != Some(number) {
                self.0 = None;
                return taken;
            }
            self.0 = Some(number + 1);
            taken += 1;
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_behind_a_gap_is_not_taken() {
        let mut deliveries = Deliveries::after(6);
        assert_eq!(deliveries.take([7, 8]), 2);
        assert_eq!(deliveries, Deliveries::after(8));
        assert_eq!(deliveries.take([9, 11, 12]), 1);
        assert!(deliveries.is_unknown());
        assert_eq!(deliveries.take([13]), 0, "before somebody has looked");
    }

    #[test]
    fn numbers_that_a_killed_server_gives_again_are_looked_into() {
        let mut deliveries = Deliveries::after(6);
        assert_eq!(deliveries.take([4, 5]), 0);
        assert!(deliveries.is_unknown());
    }
}
