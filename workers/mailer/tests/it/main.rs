//! The mailer against a real SMTP server that isn't ours.
#![expect(clippy::unwrap_used, reason = "a test that can not go on has failed")]

mod batch;
mod brands;
mod domains;
mod fake_sendgrid;
mod feedback;
mod files;
mod killed;
mod login;
mod look_ups;
mod pipelining;
mod providers;
mod quiet;
mod raw;
mod recipients;
mod scene;
mod senders;
mod server;
mod signed;
mod stages;
mod stats;
mod templates;
mod timing;
mod together;
mod unread;
mod verdicts;
mod worker;
