//! Pages in a tenant's look: found by the host they are asked at, made from the brand that everyone follows.

mod brand_of_version;
pub(crate) mod brands;
mod html;
mod link;
mod preview;
mod preview_page;
mod serve;
mod shelf;
mod theme;

pub(crate) use html::origin;
pub use html::{Dressed, page};
pub use shelf::Shelf;
pub(crate) use theme::GENERIC;
