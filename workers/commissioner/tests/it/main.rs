//! The commissioner on a real bus and a real database.
#![expect(clippy::unwrap_used, reason = "a test that can not go on has failed")]

mod attribution;
mod checks;
mod double_entry;
mod history;
mod model;
mod nightly;
mod orders;
mod partners;
mod payouts;
mod provider;
mod races;
mod reading;
mod refunds;
mod reviews;
mod scene;
mod sheets;
mod tenants;
mod web;
