//! The texter against a stand-in for Twilio that is a program of its own.
#![expect(clippy::unwrap_used, reason = "a test that can not go on has failed")]

mod codes;
mod contract;
mod door;
mod killed;
mod money;
mod scene;
mod sending;
mod waiting;
mod webhooks;
