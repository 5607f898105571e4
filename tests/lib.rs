//! What the tests of the whole house share: a domain made for breaking.

pub mod shop;
