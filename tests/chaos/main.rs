//! The chaos campaign: real processes, real faults, all choices from a seed, and a referee.
//!
//! `just chaos` (or `cargo run -p omnibus-tests --bin chaos`). Each round has a number, and all that is chosen in it comes
//! from that: `just chaos --seed 1234` plays round 1234 again. What the processes make of it in time is not repeated, and
//! is the point.

mod disk;
mod ends;
mod house;
mod plan;
mod report;
mod round;
mod routes;
mod say;
mod strike;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use plan::{Ground, Kind, Plan};
use report::Report;
use tokio::sync::{Mutex, Semaphore};

/// What to play.
#[derive(Debug, Parser)]
#[command(about = "Breaks things while commands run, and judges what came of them")]
struct Chaos {
    /// Plays this round alone, and says what it consists of.
    #[arg(long)]
    seed: Option<u64>,
    /// Number of the first round.
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// Rounds to play.
    #[arg(long, default_value_t = 60)]
    rounds: u64,
    /// No round begins later than this many seconds after the first.
    #[arg(long)]
    seconds: Option<u64>,
    /// Rounds at once; they wait most of the time.
    #[arg(long, default_value_t = 4)]
    at_once: usize,
    /// Faults of these kinds only.
    #[arg(long = "only", value_delimiter = ',')]
    only: Vec<Kind>,
    /// Only on these grounds.
    #[arg(long, value_delimiter = ',')]
    grounds: Vec<Ground>,
    /// The shop's worker; built beside this program if absent.
    #[arg(long)]
    worker: Option<PathBuf>,
    /// Where to leave the logs of rounds that failed.
    #[arg(long, default_value = "target/chaos")]
    logs: PathBuf,
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "the report is what this program is for")]
async fn main() -> anyhow::Result<std::process::ExitCode> {
    let chaos = Chaos::parse();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let program = match &chaos.worker {
        Some(program) => program.clone(),
        None => std::env::current_exe()?.with_file_name("shop"),
    };
    anyhow::ensure!(program.is_file(), "{} is not there: cargo build -p omnibus-tests --bins", program.display());
    let mut grounds = match chaos.grounds.is_empty() {
        true => vec![Ground::Single, Ground::SmallDisk, Ground::Cluster],
        false => chaos.grounds.clone(),
    };
    if grounds.contains(&Ground::SmallDisk) && !disk::Disk::permitted() {
        println!("no rounds with a full disk: this user may not mount a tmpfs");
        grounds.retain(|ground| *ground != Ground::SmallDisk);
    }
    anyhow::ensure!(!grounds.is_empty(), "nothing left to play");
    let mut conditions = flag("only", &chaos.only);
    if grounds.len() < 3 {
        conditions += &flag("grounds", &grounds);
    }
    let numbers = match chaos.seed {
        Some(seed) => seed..seed + 1,
        None => chaos.first..chaos.first + chaos.rounds,
    };
    let began = Instant::now();
    let (room, report) = (Arc::new(Semaphore::new(chaos.at_once)), Arc::new(Mutex::new(Report::default())));
    let mut rounds = Vec::new();
    for seed in numbers {
        let permit = room.clone().acquire_owned().await?;
        if chaos.seconds.is_some_and(|most| began.elapsed() > Duration::from_secs(most)) {
            break;
        }
        let plan = Plan::of(seed, &grounds, &chaos.only);
        if chaos.seed.is_some() {
            println!("{plan:#?}");
        }
        let (program, report, logs) = (program.clone(), report.clone(), chaos.logs.clone());
        let conditions = conditions.clone();
        rounds.push(tokio::spawn(async move {
            let outcome = round::run(&plan, &program).await;
            drop(permit);
            let kinds: Vec<_> = plan.faults.iter().map(|fault| format!("{:?}", fault.kind)).collect();
            let (commands, took) = (plan.sayings.len(), outcome.took.as_secs_f64());
            println!("round {seed}: {:?} {} commands, {took:.1} s, {}", plan.ground, commands, kinds.join(" "));
            for end in &outcome.by_design {
                println!("  by design in round {seed}: {end}");
            }
            for fault in &outcome.faults {
                println!("  VIOLATION in round {seed}: {fault}");
            }
            if !outcome.faults.is_empty() {
                let file = logs.join(format!("{seed}.log"));
                let kept = std::fs::create_dir_all(&logs).and_then(|()| std::fs::write(&file, &outcome.logs));
                println!("  replay: just chaos --seed {seed}{conditions}; logs: {} ({kept:?})", file.display());
            }
            report.lock().await.add(&plan, &outcome);
        }));
    }
    let mut broken = 0;
    for round in rounds {
        // A round that panics is the harness's own fault, and no round that was won.
        broken += usize::from(round.await.is_err());
    }
    let report = report.lock().await;
    println!("\n{report}");
    if broken > 0 {
        println!("{broken} rounds could not be played to their end");
    }
    Ok(match report.failed.is_empty() && broken == 0 {
        true => std::process::ExitCode::SUCCESS,
        false => std::process::ExitCode::FAILURE,
    })
}

/// What a round's choices depend on besides its number, as it is typed; nothing if nothing was said.
fn flag<T: ValueEnum>(name: &str, values: &[T]) -> String {
    let values: Vec<_> = values.iter().filter_map(T::to_possible_value).collect();
    match values.is_empty() {
        true => String::new(),
        false => format!(" --{name} {}", values.iter().map(|value| value.get_name()).collect::<Vec<_>>().join(",")),
    }
}
