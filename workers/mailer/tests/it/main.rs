//! The mailer against a real SMTP server that isn't ours.

mod login;
mod server;
mod stages;
mod verdicts;
