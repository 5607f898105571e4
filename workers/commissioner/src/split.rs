//! Who earns what on one line: the selling partner by tier, the partners above by the program's overrides.

use omnibus_schemas::commissioner::{Currency, OrderLine, OverrideBase, Rates, SetProgram, Tier};
use uuid::Uuid;

use crate::cents::{at_rate, share};

/// The part of a program's rules that decides how much is earned.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms<'a> {
    pub(crate) rates: &'a Rates,
    pub(crate) overrides_bp: &'a [u32],
    pub(crate) override_base: OverrideBase,
}

impl<'a> Terms<'a> {
    pub(crate) fn of(rules: &'a SetProgram) -> Self {
        Terms { rates: &rules.rates, overrides_bp: &rules.overrides_bp, override_base: rules.override_base }
    }
}

/// What one partner earns on one line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share {
    /// 0 sold it, 1 stands right above, and so on.
    pub(crate) level: i16,
    pub(crate) partner_id: Uuid,
    pub(crate) rate_bp: u32,
    /// Of what.
    pub(crate) base: i64,
    pub(crate) amount: i64,
}

/// `parents` are the seller's ancestors, nearest first; `None` for one who earns nothing now. `None` if an amount is more
/// than a ledger takes.
pub(crate) fn shares(
    terms: Terms<'_>,
    tier: Tier,
    seller: Uuid,
    parents: &[Option<Uuid>],
    base: i64,
) -> Option<Vec<Share>> {
    let rate_bp = rate(terms.rates, tier);
    let own = Share { level: 0, partner_id: seller, rate_bp, base, amount: at_rate(base, rate_bp)? };
    let mut all = Vec::with_capacity(1 + parents.len());
    all.push(own);
    // Below one who earns nothing stands what they would have earned: a suspension costs nobody else.
    let mut below = own.amount;
    for ((level, rate_bp), parent) in (1..).zip(terms.overrides_bp.iter().copied()).zip(parents) {
        let of = match terms.override_base {
            OverrideBase::Sale => base,
            OverrideBase::ChildCommission => below,
        };
        below = at_rate(of, rate_bp)?;
        if let Some(partner_id) = *parent {
            all.push(Share { level, partner_id, rate_bp, base: of, amount: below });
        }
    }
    Some(all)
}

pub(crate) fn rate(rates: &Rates, tier: Tier) -> u32 {
    match tier {
        Tier::Bronze => rates.bronze_bp,
        Tier::Silver => rates.silver_bp,
        Tier::Gold => rates.gold_bp,
        Tier::Platinum => rates.platinum_bp,
    }
}

/// What commissions on a line are taken of, in the order's currency.
pub(crate) fn base(rules: &SetProgram, line: &OrderLine) -> i64 {
    let out = |left_out: bool, part: i64| if left_out { part } else { 0 };
    let discount = if rules.without_discount { 0 } else { line.discount };
    line.amount - out(rules.without_tax, line.tax) - out(rules.without_shipping, line.shipping) + discount
}

/// An amount in another currency. The rate is in whole units of `to` for one of `from`, times 10^9.
pub(crate) fn exchanged(amount: i64, from: Currency, to: Currency, rate_e9: i64) -> Option<i64> {
    let unit = |currency: Currency| 10_i64.pow(u32::from(currency.digits()));
    share(amount, rate_e9.checked_mul(unit(to))?, 1_000_000_000_i64.checked_mul(unit(from))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids() -> [Uuid; 3] {
        [1, 2, 3].map(Uuid::from_u128)
    }

    fn amounts(overrides_bp: &[u32], override_base: OverrideBase, parents: &[Option<Uuid>], base: i64) -> Vec<i64> {
        let terms = Terms { rates: &Rates::default(), overrides_bp, override_base };
        let all = shares(terms, Tier::Gold, ids()[0], parents, base).unwrap();
        all.iter().map(|share| share.amount).collect()
    }

    #[test]
    fn each_tier_earns_its_rate_and_the_parent_two_percent_of_the_sale() {
        let earned = [Tier::Bronze, Tier::Silver, Tier::Gold, Tier::Platinum].map(|tier| {
            let (rates, overrides_bp) = (Rates::default(), [200]);
            let terms = Terms { rates: &rates, overrides_bp: &overrides_bp, override_base: OverrideBase::Sale };
            let all = shares(terms, tier, ids()[0], &[Some(ids()[1])], 10_000).unwrap();
            all.iter().map(|share| share.amount).collect::<Vec<_>>()
        });
        assert_eq!(earned, [[500, 200], [1000, 200], [1500, 200], [2000, 200]]);
    }

    #[test]
    fn an_override_of_the_childs_commission_is_taken_of_it() {
        let [_, b, c] = ids();
        let above = [Some(b), Some(c)];
        assert_eq!(amounts(&[1000, 1000], OverrideBase::ChildCommission, &above, 10_000), [1500, 150, 15]);
    }

    #[test]
    fn who_earns_nothing_costs_nobody_else() {
        let [_, _, c] = ids();
        assert_eq!(amounts(&[1000, 1000], OverrideBase::ChildCommission, &[None, Some(c)], 10_000), [1500, 15]);
    }

    #[test]
    fn there_are_no_more_levels_than_rates() {
        let [_, b, c] = ids();
        assert_eq!(amounts(&[200], OverrideBase::Sale, &[Some(b), Some(c)], 10_000), [1500, 200]);
        assert_eq!(amounts(&[], OverrideBase::Sale, &[Some(b)], 10_000), [1500]);
    }

    #[test]
    fn an_exchange_knows_the_digits_of_both_currencies() {
        let [eur, usd, jpy, kwd] = ["EUR", "USD", "JPY", "KWD"].map(|code| code.parse::<Currency>().unwrap());
        assert_eq!(exchanged(10_000, usd, eur, 920_000_000), Some(9_200));
        assert_eq!(exchanged(10_000, jpy, eur, 6_100_000), Some(6_100));
        assert_eq!(exchanged(1_000, eur, jpy, 163_000_000_000), Some(1_630));
        assert_eq!(exchanged(1_000, kwd, eur, 3_000_000_000), Some(300));
    }
}
