//! The bench: what the house costs, beside the least that the same work can cost, in one run on one machine.
//!
//! `cargo run --release -p omnibus-tests --bin bench` (or `just bench`). It starts its own nats-server and PostgreSQL,
//! alternates the contestants, and prints medians with minimum and maximum over the rounds. Absolute figures drift from
//! machine to machine and from hour to hour; the ratios are what to compare.

mod bare;
mod brander;
mod door;
mod figures;
mod outcome;
mod work;

use clap::Parser;
use figures::Table;
use omnibus_runtime::local::{Postgres, PostgresOptions};

/// What to measure.
#[derive(Debug, Parser)]
#[command(about = "Measures Omnibus beside bare loops that do the same work")]
struct Bench {
    /// Cases to run: door, outcome, work, brander. All of them if absent.
    cases: Vec<Case>,
    /// Counted rounds of each contestant, after one that is not counted.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds of load in each round of `door` and `outcome`.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Commands in each round of `work`.
    #[arg(long, default_value_t = 20_000)]
    commands: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Case {
    /// The HTTP door alone: parse, publish, PubAck, at 64 connections.
    Door,
    /// From an accepted request to its outcome event, at light load.
    Outcome,
    /// Commands a second through a worker.
    Work,
    /// An activation until every reader has it; a host's page in memory.
    Brander,
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "the figures are what this program is for")]
async fn main() -> anyhow::Result<()> {
    let bench = Bench::parse();
    // The client insists on one, though nothing here is encrypted.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let wanted = |case| bench.cases.is_empty() || bench.cases.contains(&case);
    let postgres = Postgres::start(PostgresOptions { durable: true, ..PostgresOptions::default() }).await?;
    let mut tables: Vec<Table> = Vec::new();
    println!("{}", figures::machine());
    if wanted(Case::Door) {
        tables.push(door::run(&postgres, bench.rounds, bench.seconds).await?);
        println!("{}", tables.last().expect("just pushed"));
    }
    if wanted(Case::Outcome) {
        tables.push(outcome::run(&postgres, bench.rounds, bench.seconds).await?);
        println!("{}", tables.last().expect("just pushed"));
    }
    if wanted(Case::Work) {
        tables.push(work::run(&postgres, bench.rounds, bench.commands).await?);
        println!("{}", tables.last().expect("just pushed"));
    }
    if wanted(Case::Brander) {
        tables.push(brander::run(&postgres, bench.rounds, 100).await?);
        println!("{}", tables.last().expect("just pushed"));
    }
    Ok(())
}
