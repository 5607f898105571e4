//! The `omnibus` program as its users have it: as a process, against servers that it started itself.
#![expect(clippy::unwrap_used, reason = "clippy knows #[test] functions as tests, but not what they call")]

mod audit;
mod bus;
mod commands;
mod keys;
mod letters;
mod lifecycle;
mod smtp;
mod stack;
