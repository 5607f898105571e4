//! One mail to many. The rows stand in a table of their own, come out of it in chunks by a chain of follow-ups, and each
//! is a mail like any other, in the lane `bulk`.

mod close_batch;
mod expand_batch;
mod read_batch;
mod report;
mod rows;
mod send_batch;
mod send_batch_row;
mod specs;

pub use read_batch::{Chunk, ReadPlan};
pub(crate) use rows::reject_row;
pub(crate) use specs::Specs;
