#![doc = include_str!("../README.md")]

mod accept;
mod ask;
mod bearer;
pub mod caller;
mod certificates;
pub mod command;
mod connect;
mod docs;
mod door;
mod fields;
#[cfg(test)]
mod fuzz;
mod idempotency;
pub mod jwt;
mod keyring;
pub mod keys;
mod leaf;
mod limits;
mod linger;
mod mirror;
mod observe;
mod outcome;
mod peer;
mod prefer;
mod problem;
mod publish;
mod ready;
mod routes;
mod secure;
mod settings;
mod shed;
mod sheet;
mod tls;
pub mod token;
mod upload;
mod visit;

pub use door::{Door, DoorError, DoorParts, listen};
pub use keyring::KeyRing;
pub use problem::Problem;
pub use settings::Settings;
