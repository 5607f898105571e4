//! What-if: the orders of a span replayed under other rates. Tiers, parents, refunds and reviews stay as they were; rates
//! and overrides are the ones asked about. Nothing is written.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::TimeDelta;
use omnibus_runtime::{Cx, Events, Fail, Handle, Policy};
use omnibus_schemas::commissioner::{Currency, Review, Simulate, SimulatedTotal, SimulationDone};
use uuid::Uuid;

use crate::Commissioner;
use crate::replay::{self, Sold, Span};
use crate::reversal::Refunded;
use crate::rules::Program;
use crate::split::{Share, Terms, shares};

impl Handle<Simulate> for Commissioner {
    const POLICY: Policy = Policy { timeout: Duration::from_secs(600), ..Policy::DEFAULT };

    async fn handle(&self, cx: &mut Cx<'_>, cmd: Simulate) -> Result<Events, Fail> {
        let (tenant, program) = (cx.tenant(), cmd.program.as_str());
        Program::wanted(cx.db(), tenant, program).await?;
        let until = cmd.until.unwrap_or(cx.now());
        let from = cmd.from.unwrap_or(until - TimeDelta::days(90));
        if from >= until {
            return Err(Fail::reject("empty_span", "from: must lie before until"));
        }
        let terms = Terms { rates: &cmd.rates, overrides_bp: &cmd.overrides_bp, override_base: cmd.override_base };
        // What was and what would have been, by partner and currency: as many as there are partners, not orders.
        let mut sums: BTreeMap<(Currency, Uuid), (i64, i64)> = BTreeMap::new();
        let (mut after, mut orders) = (String::new(), 0);
        loop {
            let ids = replay::next(cx.db(), tenant, program, &after, Some(Span { from, until })).await?;
            let Some(last) = ids.last().cloned() else { break };
            orders += i64::try_from(ids.len())?;
            for sold in &replay::sold(cx.db(), tenant, program, &ids).await? {
                let rules = self.rules.version(cx.db(), tenant, program, sold.rules_version).await?;
                for share in split(Terms::of(&rules), sold)? {
                    sums.entry((sold.currency, share.partner_id)).or_default().0 += left(sold, share.amount);
                }
                for share in split(terms, sold)? {
                    sums.entry((sold.currency, share.partner_id)).or_default().1 += left(sold, share.amount);
                }
            }
            after = last;
        }
        let mut totals: BTreeMap<Currency, SimulatedTotal> = BTreeMap::new();
        for ((currency, _), (earned, simulated)) in sums {
            let nothing = SimulatedTotal { currency, earned: 0, simulated: 0, more: 0, less: 0 };
            let total = totals.entry(currency).or_insert(nothing);
            total.earned += earned;
            total.simulated += simulated;
            total.more += i64::from(simulated > earned);
            total.less += i64::from(simulated < earned);
        }
        let about = program.to_owned();
        let totals = totals.into_values().collect();
        Ok(Events::none().about(about, SimulationDone { program: cmd.program, from, until, orders, totals }))
    }
}

fn split(terms: Terms<'_>, sold: &Sold) -> Result<Vec<Share>, Fail> {
    shares(terms, sold.tier, sold.seller, &sold.parents, sold.base)
        .ok_or_else(|| Fail::reject("too_large", "rates: an amount would come to more than the ledger takes"))
}

fn left(sold: &Sold, amount: i64) -> i64 {
    if sold.review == Review::Refused {
        return 0;
    }
    amount - Refunded { paid: sold.paid, back: sold.back, whole: sold.whole }.of(amount)
}
