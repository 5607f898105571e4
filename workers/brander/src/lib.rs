//! x
pub mod look;
