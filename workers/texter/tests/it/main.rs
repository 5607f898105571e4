//! The texter against a stand-in for Twilio that is a program of its own.
#![expect(clippy::unwrap_used, reason = "a test that can not go on has failed")]

mod checks;
mod codes;
mod consent;
mod contract;
mod door;
mod gateway;
mod killed;
mod limits;
mod look_up;
mod money;
mod quiet;
mod scene;
mod sending;
mod together;
mod upkeep;
mod waiting;
mod webhooks;
mod written_back;
