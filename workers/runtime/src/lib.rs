#![doc = include_str!("../README.md")]

mod answers;
mod attempts;
mod batch;
mod broken;
pub mod bus;
mod calls;
mod calls_many;
pub mod clock;
mod cx;
mod decide;
mod deliveries;
mod delivery;
mod desk;
mod ear;
mod ending;
mod engine;
pub mod envelope;
mod events;
mod failpoint;
mod fault;
mod follow;
mod gather;
mod gauges;
mod handler;
pub mod health;
mod inbox;
mod lane;
mod limits;
mod line;
#[cfg(feature = "local")]
pub mod local;
mod many;
pub mod metrics;
pub mod migrate;
mod pace;
mod pages;
pub mod process;
mod publish;
mod reader;
mod record;
mod registry;
mod resolve;
pub mod seal;
pub mod settings;
pub mod signed;
mod sweep;
pub mod telemetry;
#[cfg(feature = "testing")]
pub mod testing;
pub mod trace;
mod trim;
mod turns;
mod unpublished;
mod unsealed;
mod visit;
pub mod worker;

/// A message's headers are some thirty small allocations, read and written: with the system's allocator a command costs the
/// worker a fifth more.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

pub use bus::{Bus, BusSettings};
pub use calls_many::{Each, EffectMany, Returned};
pub use cx::Cx;
pub use desk::{Alone, Desk};
pub use envelope::Meta;
pub use events::Events;
pub use follow::{Followed, follow};
pub use handler::{
    Answer, Ask, AskError, CallError, Effect, Fail, Found, Handle, Policy, Prepared, React, Settled, WhenUncertain,
};
pub use health::Health;
pub use lane::LaneError;
pub use many::{HandleMany, One};
pub use process::main;
pub use reader::{Reader, acknowledge};
pub use settings::Settings;
pub use visit::{At, Receive, Reply, Visit};
pub use worker::{Parts, RunError, Worker};
