//! Contestants in turn, round after round, so that what the machine does to one it does to all.

use omnibus_runtime::local::Postgres;

use crate::bare::Commit;
use crate::figures::{Series, Table, syncing, wanted};
use crate::work::{self, Contestant, Run, in_flight};
use std::time::Duration;

/// One contestant's rounds.
#[derive(Debug, Clone)]
pub(crate) struct Result {
    pub(crate) contestant: Contestant,
    pub(crate) rate: Series,
    /// Ours with the default `sync_interval`, in the same rounds, where what is measured is another.
    lazy: Series,
    pub(crate) cpu: [Series; 3],
}

/// Everybody.
pub(crate) fn all() -> Vec<Contestant> {
    vec![
        Contestant::Publish,
        Contestant::Bare(Commit::Not),
        Contestant::Bare(Commit::Each(64)),
        Contestant::Handle(256),
        Contestant::Bare(Commit::Batch(64)),
        Contestant::Many(64),
        Contestant::Bare(Commit::Batch(256)),
        Contestant::Many(256),
        Contestant::Bare(Commit::Batch(1024)),
        Contestant::Many(1000),
        Contestant::Effect(Duration::ZERO),
        Contestant::Effect(Duration::from_millis(20)),
    ]
}

/// A contest and its results.
#[derive(Debug)]
pub(crate) struct Contest {
    results: Vec<Result>,
    commands: usize,
    sync_always: bool,
}

impl Contest {
    pub(crate) fn of(all: Vec<Contestant>, only: Option<&str>, commands: usize, sync_always: bool) -> Self {
        let wanted = all.into_iter().filter(|c| wanted(&c.name(), only));
        let fresh = |contestant| Result {
            contestant,
            rate: Series::default(),
            lazy: Series::default(),
            cpu: Default::default(),
        };
        Contest { results: wanted.map(fresh).collect(), commands, sync_always }
    }

    /// Everybody once to warm up, then `rounds` times.
    pub(crate) async fn play(mut self, postgres: &Postgres, rounds: usize) -> anyhow::Result<Self> {
        for round in 0..=rounds {
            for result in &mut self.results {
                // A call of 20 ms would make the slowest decide how long all take.
                let commands = match result.contestant {
                    Contestant::Effect(_) => self.commands / 2,
                    _ => self.commands,
                };
                let run = work::once(postgres, commands, self.sync_always, result.contestant).await?;
                progress(round, result.contestant, run);
                if self.sync_always && result.contestant.is_ours() {
                    let lazy = work::once(postgres, commands, false, result.contestant).await?;
                    progress(round, result.contestant, lazy);
                    if round > 0 {
                        result.lazy.push(lazy.rate());
                    }
                }
                if round > 0 {
                    result.rate.push(run.rate());
                    for (series, value) in result.cpu.iter_mut().zip(run.cpu.each(commands)) {
                        series.push(value);
                    }
                }
            }
        }
        Ok(self)
    }

    pub(crate) fn bars(&self) -> Vec<(String, Series)> {
        self.results.iter().map(|result| (result.contestant.name(), result.rate.clone())).collect()
    }

    pub(crate) fn table(&self, rounds: usize) -> Table {
        let sync = syncing(self.sync_always);
        let title = format!(
            "Commands a second, {} waiting, nats-server with {sync}: median (least..most) of {rounds} rounds",
            self.commands
        );
        table(title, &self.results)
    }
}

#[expect(clippy::print_stderr, reason = "whoever waits wants to see that something happens")]
fn progress(round: usize, contestant: Contestant, run: Run) {
    eprintln!("round {round}: {} {:.0}/s {:?}", contestant.name(), run.rate(), run.cpu.each(run.commands));
}

/// What it may lose when the server syncs before it acknowledges is a third.
const DURABLE: f64 = 0.67;

/// What a contestant is held against: the bare loop that commits as it does, and the goal.
fn against(contestant: Contestant) -> Option<(Commit, f64)> {
    match contestant {
        Contestant::Handle(_) => Some((Commit::Each(64), 1.5)),
        Contestant::Many(64) => Some((Commit::Batch(64), 0.7)),
        Contestant::Many(256) => Some((Commit::Batch(256), 0.7)),
        Contestant::Many(_) => Some((Commit::Batch(1024), 0.7)),
        Contestant::Effect(call) if call.is_zero() => Some((Commit::Batch(256), 0.35)),
        _ => None,
    }
}

fn table(title: String, results: &[Result]) -> Table {
    let rows = results.iter().map(|result| {
        let found = against(result.contestant).and_then(|(commit, goal)| {
            let bare = results.iter().find(|other| matches!(other.contestant, Contestant::Bare(c) if c == commit))?;
            Some((bare.rate.median(), goal, bare.contestant.name()))
        });
        let mut ratio = match (found, result.contestant) {
            (Some((bare, goal, name)), _) => {
                format!("{:.2} of \"{name}\" (goal {goal})", result.rate.median() / bare)
            }
            (None, Contestant::Effect(call)) if !call.is_zero() => {
                let (n, ms) = (in_flight(call), call.as_millis());
                let most = f64::from(n) / call.as_secs_f64();
                format!("{:.2} of {n} in flight / {ms} ms (goal 0.9)", result.rate.median() / most)
            }
            _ => String::new(),
        };
        let kept = result.rate.median() / result.lazy.median();
        if !kept.is_nan() {
            let and = if ratio.is_empty() { "" } else { "; " };
            ratio += &format!("{and}{kept:.2} of the default sync_interval (goal {DURABLE})");
        }
        let cpu = result.cpu.each_ref().map(|series| format!("{:.0}", series.median()));
        vec![result.contestant.name(), result.rate.to_string(), ratio, cpu.join(" / ")]
    });
    Table {
        title,
        columns: vec!["", "commands/s", "ratio", "CPU µs a command: broker / database / worker"],
        rows: rows.collect(),
    }
}
