//! The one rounding rule: halves go up, once, at the end of an exact calculation.

/// `amount * part / whole`, rounded to the nearest minor unit, halves up. For amounts that are not below nothing.
///
/// `None` if the result is more than a ledger takes ([`MOST`]).
///
/// Cumulative by nature: what `part` of `whole` comes to is rounded as one number, so that a hundred parts taken one
/// after another, each as the difference to the one before, come to exactly what the whole does.
pub(crate) fn share(amount: i64, part: i64, whole: i64) -> Option<i64> {
    debug_assert!(amount >= 0 && part >= 0 && whole > 0);
    let (amount, part, whole) = (i128::from(amount), i128::from(part), i128::from(whole));
    i64::try_from((amount * part + whole / 2) / whole).ok().filter(|share| *share <= MOST)
}

/// `amount` at a rate in basis points.
pub(crate) fn at_rate(amount: i64, rate_bp: u32) -> Option<i64> {
    share(amount, i64::from(rate_bp), 10_000)
}

/// No amount is above this, in minor units: sums of millions of them stay far within 64 bits.
pub(crate) const MOST: i64 = 1_000_000_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_go_up() {
        assert_eq!(at_rate(10, 500), Some(1));
        assert_eq!(at_rate(9, 500), Some(0));
        assert_eq!(at_rate(11_900, 1500), Some(1785));
        assert_eq!(share(3, 1, 3), Some(1));
        assert_eq!(share(5, 1, 3), Some(2));
    }

    #[test]
    fn a_hundred_parts_come_to_the_whole() {
        for earned in [1, 7, 99, 1234, 100_003] {
            let mut sum = 0;
            for part in 1..=100 {
                sum += share(earned, part, 100).unwrap() - share(earned, part - 1, 100).unwrap();
            }
            assert_eq!(sum, earned);
        }
    }

    #[test]
    fn what_a_ledger_does_not_take_is_no_amount() {
        assert_eq!(share(MOST, 2, 1), None);
        assert_eq!(share(i64::MAX, i64::MAX, 1), None);
    }
}
