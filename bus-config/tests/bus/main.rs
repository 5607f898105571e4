//! The bus as data against a real nats-server (>= 2.14): `OMNIBUS_NATS_SERVER`, or `nats-server` on the `PATH`.

#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod binding;
mod config;
mod permissions;
mod planning;
mod schedules;
mod server;
