//! The auditor on a real bus and a real database.
#![expect(clippy::unwrap_used, reason = "a test that can not go on has failed")]

mod bucket;
mod controls;
mod duties;
mod erasure;
mod fake_s3;
mod files;
mod killed;
mod log;
mod look_ups;
mod policies;
mod proofs;
mod quiet;
mod report;
mod retention;
mod scene;
mod tenants;
