#![doc = include_str!("../README.md")]

mod greet;
mod greetings;

use omnibus_runtime::Worker;
use omnibus_schemas::greeter::{Greet, Greetings};

/// Settings of its own: here none. Each field would be a flag and an environment variable.
#[derive(Debug, Clone, clap::Args)]
#[group(id = "greeter")]
pub struct Settings {}

/// What the handlers share: here nothing. A provider's client would stand here.
#[derive(Debug)]
pub struct Greeter;

/// The worker: its tables, and what it does with each command and query.
pub fn worker(_: Settings) -> anyhow::Result<Worker> {
    Ok(Worker::new("greeter", Greeter)
        .migrations("greeter", &[("0001_greetings", include_str!("../migrations/0001_greetings.sql"))])
        .handles::<Greet>()
        .answers::<Greetings>()
        .build())
}
