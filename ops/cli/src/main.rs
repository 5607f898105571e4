#![doc = include_str!("../README.md")]

mod act;
mod audit;
mod bus;
mod connect;
mod dlq;
mod held;
mod home;
mod key;
mod listing;
mod migrate;
mod order;
mod outcome;
mod parts;
mod query;
mod reading;
mod send;
mod show;
mod status;
mod tail;
mod token;
mod trace;
mod up;

use std::process::ExitCode;

use anyhow::Context;
use clap::{CommandFactory, Parser, Subcommand};
use omnibus_runtime::telemetry::{self, LogFormat, LogSettings};

use crate::home::Home;
use crate::show::Output;

/// What `up` leaves out unless it is asked: what is missing while things start and stop.
const QUIET: &str = "warn,omnibus_runtime::health=error,omnibus_runtime::bus=error";
/// The other commands say themselves what is wrong with the bus.
const QUIETER: &str = "warn,omnibus_runtime::bus=off";

/// Omnibus on one machine, and the operator's tools. Every setting is a flag and an environment variable; .env is read.
#[derive(Debug, Parser)]
#[command(name = "omnibus", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Where `up` keeps data, keys and mails, and where the other commands look for them.
    #[arg(long, global = true, env = "OMNIBUS_HOME", default_value = ".omnibus")]
    home: Home,
    /// Tables for people, or JSON for programs.
    #[arg(long, short, global = true, value_enum, default_value = "table")]
    output: Output,
    /// Which logs go to standard error: a level, or `target=level` pairs. Warnings by default.
    #[arg(long, global = true, env = "LOG")]
    log: Option<String>,
    /// How logs are written: as text at a terminal, as JSON elsewhere, unless this says otherwise.
    #[arg(long, global = true, env = "LOG_FORMAT", default_value = "auto")]
    log_format: LogFormat,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Starts everything on this machine: NATS, PostgreSQL, every worker, the HTTP door. Ctrl-C ends it.
    Up(Box<up::Up>),
    /// The bus as data: streams, consumers, buckets, users.
    #[command(subcommand)]
    Bus(bus::BusCommand),
    /// Brings the tables of every worker up to this version.
    Migrate(migrate::Migrate),
    /// API keys of the HTTP door.
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Signs a short-lived token for a browser.
    Token(token::Token),
    /// Publishes a command.
    Send(send::Send),
    /// Follows what happens on a subject, in either encoding.
    Tail(tail::Tail),
    /// Everything about one command, in order: its message, attempts, retries and events.
    Trace(trace::Trace),
    /// Dead letters: commands that could not be done.
    #[command(subcommand)]
    Dlq(dlq::DlqCommand),
    /// Held commands: calls of which nobody knows whether they happened. A person decides.
    #[command(subcommand)]
    Held(held::HeldCommand),
    /// The log: its head, exporting it with proofs, checking an export, watching it.
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Lanes, streams, workers, dead letters and held commands at a glance.
    Status(status::Status),
    /// Prints the completions for a shell: `omnibus completions bash > /etc/bash_completion.d/omnibus`.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(code) => code,
        Err(error) => {
            show::error(&error);
            ExitCode::FAILURE
        }
    }
}

async fn run() -> anyhow::Result<ExitCode> {
    // No file is fine; a broken one is not.
    match dotenvy::dotenv() {
        Err(error) if !error.not_found() => return Err(error).context("can't read .env"),
        _ => {}
    }
    let Cli { command, home, output, log, log_format } = Cli::parse();
    let quiet = if matches!(command, Command::Up(_)) { QUIET } else { QUIETER };
    let log = log.unwrap_or_else(|| quiet.to_owned());
    telemetry::start(&LogSettings { log, log_format }).context("--log")?;
    match command {
        Command::Up(up) => return up.run(home).await,
        Command::Bus(bus) => return bus.run(&home, output).await,
        Command::Migrate(migrate) => return migrate.run(&home, output).await,
        Command::Key(key) => key.run(&home, output).await?,
        Command::Token(token) => token.run(&home, output)?,
        Command::Send(send) => return send.run(&home, output).await,
        Command::Tail(tail) => tail.run(&home, output).await?,
        Command::Trace(trace) => trace.run(&home, output).await?,
        Command::Dlq(dlq) => dlq.run(&home, output).await?,
        Command::Held(held) => return held.run(&home, output).await,
        Command::Audit(audit) => return audit.run(&home, output).await,
        Command::Status(status) => status.run(&home, output).await?,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "omnibus", &mut script);
            show::text(&String::from_utf8_lossy(&script));
        }
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_consistent() {
        Cli::command().debug_assert();
    }
}
