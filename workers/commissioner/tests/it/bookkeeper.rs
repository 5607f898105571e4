//! A book-keeper who works everything out from the beginning, and knows nothing of how the worker does it.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use omnibus_schemas::commissioner::{OverrideBase, Tier};
use uuid::Uuid;

/// How long commissions wait before they may be paid.
pub(crate) const HOLD_DAYS: u32 = 1;

/// In which currency an order is paid, and what for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Paid {
    /// The program's own currency.
    Euro,
    /// Another one, in which the partners then earn.
    Dollar,
    /// Another one, whose minor unit is the whole yen, brought into the program's by this rate times 10^9.
    Yen(i64),
}

impl Paid {
    pub(crate) fn currency(self) -> &'static str {
        match self {
            Paid::Euro => "EUR",
            Paid::Dollar => "USD",
            Paid::Yen(_) => "JPY",
        }
    }

    /// In what the partners earn.
    pub(crate) fn earned_in(self) -> &'static str {
        match self {
            Paid::Euro | Paid::Yen(_) => "EUR",
            Paid::Dollar => "USD",
        }
    }

    fn base(self, amount: i64) -> i64 {
        match self {
            Paid::Euro | Paid::Dollar => amount,
            // A yen is a hundred of its hundredths.
            Paid::Yen(rate_e9) => nearest(i128::from(amount) * i128::from(rate_e9) * 100, 1_000_000_000),
        }
    }
}

/// The largest r with (2 r - 1) whole <= 2 part is the nearest, halves up.
fn nearest(part: i128, whole: i128) -> i64 {
    let mut r = part / whole;
    while (2 * (r + 1) - 1) * whole <= 2 * part {
        r += 1;
    }
    i64::try_from(r).unwrap()
}

/// The same for a rate in basis points.
fn at(base: i64, rate_bp: i64) -> i64 {
    let rest = base * rate_bp % 10_000;
    base * rate_bp / 10_000 + i64::from(rest >= 5_000)
}

/// A program's rules from some time on.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    pub(crate) bronze_bp: i64,
    pub(crate) overrides_bp: Vec<i64>,
    pub(crate) override_base: OverrideBase,
}

impl Rules {
    fn rate_bp(&self, tier: Tier) -> i64 {
        match tier {
            Tier::Bronze => self.bronze_bp,
            Tier::Silver => 1_000,
            Tier::Gold => 1_500,
            Tier::Platinum => 2_000,
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) paid: i64,
    pub(crate) back: i64,
    /// Whose, and how much.
    earned: Vec<(usize, i64)>,
}

#[derive(Debug, Clone)]
pub(crate) struct Sale {
    pub(crate) lines: Vec<Line>,
    earned_in: &'static str,
    at: DateTime<Utc>,
    pub(crate) held: bool,
    pub(crate) refused: bool,
    pub(crate) whole: bool,
}

impl Sale {
    /// What a commission is worth after refunds: by fractions, not by the worker's formula.
    fn worth(&self, earned: i64, line: &Line) -> i64 {
        match (self.refused || self.whole, line.paid) {
            (true, _) => 0,
            (false, 0) => earned,
            (false, paid) => earned - nearest(i128::from(earned) * i128::from(line.back), i128::from(paid)),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// On its way.
    Out,
    Arrived,
    Failed,
    Returned,
}

#[derive(Debug, Clone)]
pub(crate) struct Payout {
    pub(crate) id: Uuid,
    pub(crate) partner: usize,
    pub(crate) currency: &'static str,
    pub(crate) amount: i64,
    pub(crate) fate: Fate,
}

impl Payout {
    fn live(&self) -> bool {
        matches!(self.fate, Fate::Out | Fate::Arrived)
    }
}

/// Everything that happened. Rules, tiers and the tree are kept with the time since when they hold.
#[derive(Debug, Default)]
pub(crate) struct Books {
    pub(crate) sales: Vec<Sale>,
    pub(crate) bound: BTreeMap<u8, usize>,
    pub(crate) rules: Vec<(DateTime<Utc>, Rules)>,
    pub(crate) tiers: Vec<(DateTime<Utc>, usize, Tier)>,
    pub(crate) parents: Vec<(DateTime<Utc>, usize, Option<usize>)>,
    pub(crate) payouts: Vec<Payout>,
}

impl Books {
    fn rules_at(&self, time: DateTime<Utc>) -> &Rules {
        let then = self.rules.iter().rev().find(|(from, _)| *from <= time);
        &then.or(self.rules.first()).unwrap().1
    }

    fn tier_at(&self, partner: usize, time: DateTime<Utc>) -> Tier {
        let then = self.tiers.iter().rev().find(|(from, whose, _)| *whose == partner && *from <= time);
        then.map(|(_, _, tier)| *tier).unwrap_or_default()
    }

    /// Those above, nearest first.
    pub(crate) fn above(&self, partner: usize, time: DateTime<Utc>) -> Vec<usize> {
        let parent = |of: &usize| {
            let then = self.parents.iter().rev().find(|(from, whose, _)| whose == of && *from <= time);
            then.and_then(|(_, _, parent)| *parent)
        };
        std::iter::successors(parent(&partner), parent).collect()
    }

    /// An order of that time, whenever it is told.
    pub(crate) fn order(
        &mut self,
        seller: usize,
        customer: u8,
        amounts: [i64; 2],
        paid: Paid,
        own: bool,
        time: DateTime<Utc>,
    ) {
        let seller = *self.bound.entry(customer).or_insert(seller);
        let (rules, above) = (self.rules_at(time), self.above(seller, time));
        let rate = rules.rate_bp(self.tier_at(seller, time));
        let line = |amount| {
            let base = paid.base(amount);
            let mut earned = vec![(seller, at(base, rate))];
            let mut below = at(base, rate);
            for (above, rate) in above.iter().zip(&rules.overrides_bp) {
                below = match rules.override_base {
                    OverrideBase::Sale => at(base, *rate),
                    OverrideBase::ChildCommission => at(below, *rate),
                };
                earned.push((*above, below));
            }
            Line { paid: amount, back: 0, earned }
        };
        let lines = amounts.map(line).to_vec();
        let (earned_in, held) = (paid.earned_in(), own);
        self.sales.push(Sale { lines, earned_in, at: time, held, refused: false, whole: false });
    }

    fn sum<'a>(sales: impl Iterator<Item = &'a Sale>, partner: usize, currency: &str) -> i64 {
        let of = |sale: &Sale, line: &Line| -> i64 {
            let mine = line.earned.iter().filter(|(whose, _)| *whose == partner);
            mine.map(|(_, earned)| sale.worth(*earned, line)).sum()
        };
        let sales = sales.filter(|sale| sale.earned_in == currency);
        sales.map(|sale| sale.lines.iter().map(|line| of(sale, line)).sum::<i64>()).sum()
    }

    /// What orders owe a partner, held ones and fresh ones included.
    pub(crate) fn owed(&self, partner: usize, currency: &str) -> i64 {
        Books::sum(self.sales.iter(), partner, currency)
    }

    /// What may be paid to a partner now.
    pub(crate) fn due(&self, partner: usize, currency: &str, now: DateTime<Utc>) -> i64 {
        let free = |sale: &&Sale| !sale.held && sale.at + TimeDelta::days(HOLD_DAYS.into()) <= now;
        Books::sum(self.sales.iter().filter(free), partner, currency) - self.paid(partner, currency)
    }

    /// Paid out for good or on its way.
    pub(crate) fn paid(&self, partner: usize, currency: &str) -> i64 {
        let theirs = self.payouts.iter().filter(|payout| payout.partner == partner && payout.currency == currency);
        theirs.filter(|payout| payout.live()).map(|payout| payout.amount).sum()
    }

    /// Has a later payout paid what this one was to pay?
    pub(crate) fn paid_again(&self, n: usize) -> bool {
        let this = &self.payouts[n];
        let later = self.payouts[n + 1..].iter();
        later.filter(|p| p.partner == this.partner && p.currency == this.currency).any(Payout::live)
    }
}
