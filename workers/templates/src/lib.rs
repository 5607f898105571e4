#![doc = include_str!("../README.md")]

pub mod html;
pub mod limits;
mod shape;
mod show;
pub mod tags;
mod template;
#[cfg(test)]
mod tests;
mod values;

pub use omnibus_schemas::Fault;
pub use omnibus_schemas::template::{Field, FieldKind, Kind, Variable};
pub use shape::{Given, Shape};
pub use template::{Parts, Source, Template};
pub use values::{Checked, NOT_KEPT};
