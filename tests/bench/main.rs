//! The bench: what the house costs, beside the least that the same work can cost, in one run on one machine.
//!
//! `just bench` (or `cargo run --release -p omnibus-tests --bin bench`). It starts its own nats-server and PostgreSQL,
//! alternates the contestants, and prints medians with minimum and maximum over the rounds. Absolute figures drift from
//! machine to machine and from hour to hour; the ratios are what to compare.

mod auditor;
mod bare;
mod bare_door;
mod brander;
mod chart;
mod commissioner;
mod contest;
mod cpu;
mod door;
#[path = "../../workers/texter/tests/twilio-fake/fake.rs"]
mod fake;
mod fanout;
mod figures;
mod goods;
mod growth;
mod idle;
mod latency;
#[path = "../load/open_loop.rs"]
mod load;
mod mailer;
#[path = "../../workers/texter/tests/twilio-fake/message.rs"]
mod message;
mod peers;
#[path = "../../workers/texter/tests/twilio-fake/rules.rs"]
mod rules;
mod texter;
mod work;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use contest::Contest;
use figures::{Series, Table};
use omnibus_runtime::local::{Postgres, PostgresOptions};

/// What to measure.
#[derive(Debug, Parser)]
#[command(about = "Measures Omnibus beside bare loops that do the same work")]
struct Bench {
    /// Cases to run; door, latency, work and durable if absent.
    cases: Vec<Case>,
    /// Counted rounds of each contestant, after one that is not counted.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds of load in each round of `door`, `latency`, `fanout`, `fanout-stalled` and `mailer-latency`, and of light
    /// load in `commissioner`.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Commands in each round of `work`, `durable`, `growth` and `peers`, orders in each of `commissioner`; five times
    /// as many events in each of `auditor`, a tenth of them in each of `texter`.
    #[arg(long, default_value_t = 20_000)]
    commands: usize,
    /// Mails in each round of `mailer`, rows of the batch in `mailer-latency`, all mails of `mailer-memory`; 5,000, 10,000 and
    /// 100,000 if absent.
    #[arg(long)]
    mails: Option<usize>,
    /// Sockets in `fanout-memory`.
    #[arg(long, default_value_t = 10_000)]
    sockets: usize,
    /// Of the contestants in `work`, `durable`, `growth`, `fanout` and `peers`, those whose names hold this, or one of `these|words`.
    #[arg(long)]
    only: Option<String>,
    /// How far `growth` goes: 100 is a million waiting commands and ten million rows in the inbox.
    #[arg(long, default_value_t = 1)]
    scale: usize,
    /// nats-server syncs before it acknowledges, in `door`, `latency`, `growth` and `load`; `durable` is `work` so.
    #[arg(long)]
    sync_always: bool,
    /// A folder for `results.md` and the charts.
    #[arg(long)]
    out: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Case {
    /// The HTTP door alone: parse, publish, PubAck, at 64 connections.
    Door,
    /// From an accepted request to its outcome event, at shares of the capacity.
    Latency,
    /// Commands a second through a worker.
    Work,
    /// The same, with a nats-server that syncs before it acknowledges; ours by turns with the default setting.
    Durable,
    /// With more workers, tenants, waiting commands, rows in the inbox.
    Growth,
    /// The door at fixed rates with 64 and 512 connections, at three times what it can take, and shed.
    Load,
    /// Other people's workers on the same work; installs them.
    Peers,
    /// Mails a second to Postfix's smtp-sink, beside lettre's own pool.
    Mailer,
    /// A password reset from accepted to 250, alone and while a batch runs.
    MailerLatency,
    /// What the mailer holds while a hundred thousand mails pass.
    MailerMemory,
    /// Orders a second through the commissioner, with its books checked afterwards.
    Commissioner,
    /// Texts a second through the texter, beside a bare reqwest loop.
    Texter,
    /// Entries a second into the log, beside a bare batched insert; checking a million of them.
    Auditor,
    /// An activation until every reader has it; a host's page in memory.
    Brander,
    /// One message to 1,000 and 5,000 who listen, beside a bare broadcast, `ws` and Socket.IO; a chat message's way.
    Fanout,
    /// What the WebSocket door holds for 10,000 sockets that idle.
    FanoutMemory,
    /// How long messages take to 1,000 in a room while one more takes nothing in, and while that one reads.
    FanoutStalled,
    /// What each program holds that has nothing to do; wants `cargo build --release` before.
    Idle,
}

/// Prints each table when it is there, and keeps all.
struct Results {
    text: String,
    out: Option<PathBuf>,
}

impl Results {
    #[expect(clippy::print_stdout, reason = "the figures are what this program is for")]
    fn add(&mut self, text: &str) -> std::io::Result<()> {
        println!("{text}");
        self.text.push_str(text);
        self.text.push('\n');
        self.keep("results.md", &self.text)
    }

    fn keep(&self, name: &str, text: &str) -> std::io::Result<()> {
        match &self.out {
            Some(folder) => std::fs::create_dir_all(folder).and_then(|()| std::fs::write(folder.join(name), text)),
            None => Ok(()),
        }
    }

    fn chart(&mut self, name: &str, table: Table, bars: Vec<(String, Series)>) -> std::io::Result<()> {
        self.keep(&format!("{name}.svg"), &chart::bars(&table.title, &bars, "Omnibus"))?;
        self.add(&table.to_string())
    }
}

fn main() -> anyhow::Result<ExitCode> {
    if let Some(ended) = fanout::role() {
        return ended.map(|()| ExitCode::SUCCESS);
    }
    if mailer::is_mailer() {
        return Ok(omnibus_runtime::main(omnibus_mailer::worker));
    }
    measure().map(|()| ExitCode::SUCCESS)
}

#[tokio::main]
async fn measure() -> anyhow::Result<()> {
    let bench = Bench::parse();
    // The client insists on one, though nothing here is encrypted.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // Everything is on, as in production.
    omnibus_runtime::metrics::recorder();
    let cases = match bench.cases.is_empty() {
        true => vec![Case::Door, Case::Latency, Case::Work, Case::Durable],
        false => bench.cases.clone(),
    };
    let postgres = Postgres::start(PostgresOptions { durable: true, ..PostgresOptions::default() }).await?;
    let mut results = Results { text: String::new(), out: bench.out.clone() };
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    results.add(&format!("`just bench {}` on: {}", arguments.join(" "), figures::machine()))?;
    let (rounds, sync) = (bench.rounds, bench.sync_always);
    for case in cases {
        match case {
            Case::Mailer => {
                results.add(&mailer::throughput(&postgres, rounds, bench.mails.unwrap_or(5_000)).await?.to_string())?;
            }
            Case::MailerLatency => {
                let rows = bench.mails.unwrap_or(10_000);
                results.add(&mailer::latency(&postgres, rounds, bench.seconds, rows).await?.to_string())?;
            }
            Case::MailerMemory => {
                results.add(&mailer::memory(&postgres, bench.mails.unwrap_or(100_000)).await?.to_string())?;
            }
            Case::Door => results.add(&door::run(&postgres, rounds, bench.seconds, sync).await?.to_string())?,
            Case::Latency => results.add(&latency::run(&postgres, rounds, bench.seconds, sync).await?.to_string())?,
            Case::Growth => {
                let only = bench.only.as_deref();
                let table = growth::run(&postgres, rounds, bench.commands, bench.scale, sync, only).await?;
                results.add(&table.to_string())?;
            }
            Case::Texter => results.add(&texter::run(&postgres, rounds, bench.commands / 10).await?.to_string())?,
            Case::Auditor => results.add(&auditor::run(&postgres, rounds, bench.commands * 5).await?.to_string())?,
            Case::Brander => results.add(&brander::run(&postgres, rounds, 100).await?.to_string())?,
            Case::Load => results.add(&load::run(&postgres, bench.seconds, sync).await?.to_string())?,
            Case::Work | Case::Durable => {
                let (name, sync) = match case {
                    Case::Durable => ("durable", true),
                    _ => ("work", false),
                };
                let contest = Contest::of(contest::all(), bench.only.as_deref(), bench.commands, sync);
                let contest = contest.play(&postgres, rounds).await?;
                results.chart(name, contest.table(rounds), contest.bars())?;
            }
            Case::Commissioner => {
                let table = commissioner::run(&postgres, rounds, bench.seconds, bench.commands).await?;
                results.add(&table.to_string())?;
            }
            Case::Fanout => {
                for table in fanout::run(&postgres, rounds, bench.seconds, bench.only.as_deref()).await? {
                    results.add(&table.to_string())?;
                }
                results.add(&fanout::chat(&postgres, bench.seconds).await?.to_string())?;
            }
            Case::FanoutMemory => {
                results.add(&fanout::memory(&postgres, bench.sockets).await?.to_string())?;
            }
            Case::FanoutStalled => {
                results.add(&fanout::stalled(&postgres, rounds, bench.seconds).await?.to_string())?;
            }
            Case::Idle => results.add(&idle::run(&postgres).await?.to_string())?,
            Case::Peers => {
                let peers = peers::run(&postgres, rounds, bench.commands, bench.only.as_deref()).await?;
                results.chart("peers", peers.table, peers.bars)?;
            }
        }
    }
    Ok(())
}
