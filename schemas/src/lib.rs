#![doc = include_str!("../README.md")]

pub mod auditor;
pub mod body;
pub mod brand;
pub mod brander;
pub mod bucket;
pub mod catalogue;
pub mod commissioner;
pub mod consent;
pub mod contract;
pub mod generate;
pub mod greeter;
pub mod headers;
pub mod hook;
pub mod mailer;
pub mod personal;
pub mod platform;
pub mod presence;
pub mod subject;
pub mod template;
pub mod texter;
pub mod upload;

pub use body::{Encoding, Fault};
pub use bucket::Bucket;
pub use catalogue::{Catalogue, CommandEntry, Domain, EventEntry, HookEntry, QueryEntry};
pub use contract::{Command, Event, Http, Method, Query, Sealed};
pub use hook::Hook;
pub use subject::{Tenant, Token, TokenError};
pub use upload::{Object, Upload};

/// Re-exported for `#[derive]`s on contract types.
pub use garde::{self, Validate};
pub use schemars::{self, JsonSchema};
