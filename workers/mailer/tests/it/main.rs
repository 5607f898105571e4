//! The mailer against a real SMTP server that isn't ours.
#![expect(clippy::unwrap_used, reason = "a test that can not go on has failed")]

mod brands;
mod login;
mod quiet;
mod server;
mod stages;
mod templates;
mod verdicts;
mod worker;
