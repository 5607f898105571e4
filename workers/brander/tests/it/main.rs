//! The brander on a real bus and a real database.
#![expect(clippy::unwrap_used, reason = "a test that can not go on has failed")]

mod activation;
mod assets;
mod certificates;
mod css_attacks;
mod domains;
mod doors;
mod killed;
mod lists;
mod pages;
mod scene;
mod svg_attacks;
mod tenants;
mod theme;
