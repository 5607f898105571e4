//! What a look is made of, and what of it people will see.

pub mod colour;
pub mod contrast;
pub mod stylesheet;
