//! What the tests of the whole house share: a domain made for breaking, its worker as a process,
//! and a referee who says whether the promise was kept.

pub mod chance;
pub mod gallery;
pub mod life;
pub mod proxy;
pub mod referee;
pub mod shop;
