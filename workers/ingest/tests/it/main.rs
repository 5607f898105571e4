//! The door, driven over HTTP against a real nats-server with the real users and permissions.

#![expect(clippy::unwrap_used, reason = "what a test can't set up, it has failed at")]

mod commands;
mod credentials;
mod documents;
mod hosts;
mod idempotency;
mod limits;
mod queries;
mod shed;
mod stage;
mod tickets;
mod transport;
mod trouble;
mod waiting;
