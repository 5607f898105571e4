#![doc = include_str!("../README.md")]

mod catch_up;
mod channel;
mod codes;
pub mod command;
mod commands;
pub mod demo;
mod door;
mod feed;
mod hub;
mod link;
mod log;
mod people;
mod protocol;
mod rates;
mod reads;
mod session;
mod settings;
mod slots;
mod socket;
mod speak;
mod topic;

pub use door::{Fanout, FanoutParts};
pub use settings::Settings;
