//! What a campaign came to, as Markdown.

use std::collections::BTreeMap;
use std::fmt;

use crate::house::Size;
use crate::plan::Plan;
use crate::round::Outcome;

#[derive(Debug, Default)]
pub(crate) struct Report {
    rounds: usize,
    commands: usize,
    again: usize,
    poison: usize,
    colliding: usize,
    deadlocks: i64,
    repeated: usize,
    calls: u64,
    by_design: usize,
    size: Size,
    ended: BTreeMap<&'static str, usize>,
    faults: BTreeMap<String, usize>,
    grounds: BTreeMap<String, usize>,
    pub(crate) failed: BTreeMap<u64, Vec<String>>,
}

impl Report {
    pub(crate) fn add(&mut self, plan: &Plan, outcome: &Outcome) {
        use omnibus_tests::referee::Order;
        self.rounds += 1;
        self.commands += plan.sayings.len();
        self.again += plan.sayings.iter().filter(|saying| saying.again.is_some()).count();
        self.poison += plan.sayings.iter().filter(|saying| matches!(saying.order, Order::Poison(_))).count();
        self.colliding += plan.sayings.iter().filter(|saying| saying.order.collides()).count();
        self.deadlocks += outcome.deadlocks;
        self.repeated += outcome.verdict.repeated;
        self.calls += outcome.verdict.calls;
        self.by_design += outcome.by_design.len();
        self.size = self.size.most(outcome.size);
        for (how, count) in &outcome.verdict.ended {
            *self.ended.entry(how).or_default() += count;
        }
        for fault in &plan.faults {
            *self.faults.entry(format!("{:?}", fault.kind)).or_default() += 1;
        }
        *self.grounds.entry(format!("{:?}", plan.ground)).or_default() += 1;
        if !outcome.faults.is_empty() {
            self.failed.insert(plan.seed, outcome.faults.clone());
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |map: &BTreeMap<String, usize>| {
            map.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
        };
        let ended = self.ended.iter().map(|(how, count)| format!("{how} {count}")).collect::<Vec<_>>().join(", ");
        writeln!(f, "| | |\n| --- | --- |")?;
        writeln!(f, "| rounds | {} ({}) |", self.rounds, list(&self.grounds))?;
        let Report { commands, again, poison, colliding, .. } = self;
        writeln!(f, "| commands said | {commands}, of them {again} twice, {poison} poison, {colliding} colliding |")?;
        writeln!(f, "| ended | {ended} |")?;
        writeln!(f, "| calls to the provider | {} |", self.calls)?;
        writeln!(f, "| messages that stand twice under one id, dropped by readers | {} |", self.repeated)?;
        writeln!(f, "| transactions that PostgreSQL ended because they waited for each other | {} |", self.deadlocks)?;
        writeln!(f, "| ends of workers that a fault of their round asks for | {} |", self.by_design)?;
        let Size { files, memory } = self.size;
        writeln!(f, "| the most that a worker held at the end | {files} open files, {memory} MiB |")?;
        writeln!(f, "| rounds with a violation | {} |", self.failed.len())?;
        writeln!(f, "\n| fault | times |\n| --- | --- |")?;
        for (kind, count) in &self.faults {
            writeln!(f, "| {kind} | {count} |")?;
        }
        Ok(())
    }
}
