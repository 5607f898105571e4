//! Before the first attempts of many texts at once. Most of them leave now, and nothing speaks against them: of those, what
//! holds is read by one statement and their rows are written by another. Every other goes by [`plan`](Texter::plan) alone,
//! which comes to the same.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::Context;
use omnibus_runtime::{Cx, Each, Fail, Meta, Prepared, clock};
use sqlx::PgConnection;

use crate::Texter;
use crate::dispatch::Weighed;
use crate::draft::{Draft, Plan};
use crate::gate::{self, Gate, Like};
use crate::queue::{self, Row};

/// How one of many goes on.
enum Going<'a> {
    Together(Box<Ready<'a>>),
    Alone(&'a Meta, Box<Draft>),
}

/// One against which nothing speaks.
struct Ready<'a> {
    meta: &'a Meta,
    plan: Plan,
    likeness: Vec<u8>,
}

/// What those spend that go together, by tenant and country; an empty country is all of them.
type Spent<'a> = HashMap<(&'a str, String), i64>;

impl Texter {
    /// As [`plan`](Texter::plan), for texts of any tenants. One answer for each, in their order.
    pub(crate) async fn plan_all(&self, db: &mut PgConnection, texts: Vec<(&Meta, Draft)>) -> Each<Prepared<Plan>> {
        let since = clock::now();
        let weighed = texts.iter().map(|(meta, draft)| self.weigh(meta, draft, since));
        let weighed = weighed.collect::<Result<Vec<_>, Fail>>()?;
        let gates = {
            let asked: Vec<_> = texts.iter().map(|(meta, draft)| Weighed::question(meta, draft)).collect();
            gate::read_all(db, &self.caps, since.date_naive(), &asked).await?
        };
        let (mut all, mut spent) = (Vec::with_capacity(texts.len()), Spent::new());
        for (((meta, draft), weighed), gate) in texts.into_iter().zip(weighed).zip(gates) {
            all.push(self.going(db, meta, draft, weighed, gate, &mut spent).await?);
        }
        write(db, &mut all).await?;
        let mut answers = Vec::with_capacity(all.len());
        for going in all {
            answers.push(Ok(match going {
                Going::Together(ready) => {
                    let Ready { meta, plan, .. } = *ready;
                    let booked = plan.account.booked(meta.id, "estimate", plan.estimate);
                    Prepared::Go(plan, booked)
                }
                Going::Alone(meta, draft) => self.plan(&mut Cx::new(meta, &mut *db), *draft).await?.prepared(meta.id),
            }));
        }
        Ok(answers)
    }

    /// Does nothing speak against it, and does it fit into its budgets with room to spare, beside those before it? If not,
    /// that is said, or done, where each goes alone.
    async fn going<'a>(
        &self,
        db: &mut PgConnection,
        meta: &'a Meta,
        draft: Draft,
        weighed: Weighed,
        mut gate: Gate,
        spent: &mut Spent<'a>,
    ) -> Result<Going<'a>, Fail> {
        let tenant = meta.tenant.as_str();
        let (all, country) = ((tenant, String::new()), (tenant, draft.number.country.clone()));
        gate.all.spent += spent.get(&all).copied().unwrap_or_default();
        gate.country.spent += spent.get(&country).copied().unwrap_or_default();
        let leaving = match gate.is_open() {
            true => self.leaves(&mut Cx::new(meta, db), &gate, &draft, &weighed).await.ok(),
            false => None,
        };
        let fits = |cost: i64| [gate.all, gate.country].into_iter().all(|purse| purse.spent + cost < purse.cap);
        let Some(leaving) = leaving.filter(|leaving| fits(leaving.estimate(&weighed))) else {
            return Ok(Going::Alone(meta, Box::new(draft)));
        };
        let plan = self.planned(draft, &gate, &weighed, leaving)?;
        *spent.entry(all).or_default() += plan.estimate;
        *spent.entry(country).or_default() += plan.estimate;
        Ok(Going::Together(Box::new(Ready { meta, plan, likeness: weighed.likeness })))
    }
}

/// Writes the rows of those that go together, and looks for texts like them.
async fn write(db: &mut PgConnection, all: &mut [Going<'_>]) -> Result<(), Fail> {
    let mut ready: Vec<&mut Ready<'_>> = all
        .iter_mut()
        .filter_map(|going| match going {
            Going::Together(ready) => Some(&mut **ready),
            Going::Alone(..) => None,
        })
        .collect();
    if ready.is_empty() {
        return Ok(());
    }
    let others = {
        let rows: Vec<_> = ready.iter().map(|ready| ready.row()).collect();
        if !queue::write(db, &rows).await? {
            // Somebody's words are on their way to the same recipient already: whose, is seen when each goes alone.
            return Err(Fail::Snooze(Duration::from_secs(1)));
        }
        let likes: Vec<_> = ready.iter().map(|ready| ready.like()).collect();
        gate::others_all(db, &likes).await?
    };
    let mut others = others.into_iter();
    for ready in &mut ready {
        let others = others.next().context("the tables say nothing about texts like one").map_err(Fail::Retry)?;
        (ready.plan.others, ready.plan.other_uncertain) = others;
    }
    Ok(())
}

impl Ready<'_> {
    fn row(&self) -> Row<'_> {
        let Ready { meta, plan, likeness } = self;
        Row { tenant: &meta.tenant, message_id: meta.id, queued_at: meta.time, plan, likeness }
    }

    fn like(&self) -> Like<'_> {
        let Ready { meta, plan, likeness } = self;
        Like { tenant: &meta.tenant, message_id: meta.id, recipient: &plan.to, likeness }
    }
}
