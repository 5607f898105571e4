//! The `omnibus` program: everything on one machine (`up`), and the operator's tools.

mod bus;
mod connect;
mod home;
mod migrate;
mod outcome;
mod parts;
mod reading;
mod show;
mod status;
mod token;
mod up;

use std::process::ExitCode;

use anyhow::Context;
use clap::{CommandFactory, Parser, Subcommand};
use omnibus_runtime::telemetry::{self, LogFormat, LogSettings};

use crate::home::Home;
use crate::show::Output;

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
    /// Which logs go to standard error: a level, or `target=level` pairs.
    #[arg(long, global = true, env = "LOG", default_value = "warn")]
    log: String,
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
    telemetry::start(&LogSettings { log, log_format }).context("--log")?;
    match command {
        Command::Up(up) => return up.run(home).await,
        Command::Bus(bus) => return bus.run(&home, output).await,
        Command::Migrate(migrate) => return migrate.run(&home, output).await,
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
