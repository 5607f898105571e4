//! Buckets: what a domain keeps on the bus itself, for others to follow or to fetch.

use std::time::Duration;

/// The bucket into which the door puts uploaded files, as `<tenant>/<id>`. Every domain with a command that takes an
/// upload reads it.
pub const UPLOADS: &str = "uploads";

/// What a bucket holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Small values by key, each of which can be followed.
    Values,
    /// Files of any size.
    Objects,
}

/// A bucket that one domain writes. Others read it if they say so ([`crate::Domain::reads`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Lower case, a token: `brands`.
    pub name: &'static str,
    /// For people who list buckets.
    pub description: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// How long an entry lives; zero for ever.
    pub max_age: Duration,
    /// Whether a value may be written with a time to live of its own. An expiry is then told to those who watch.
    pub expiring: bool,
    /// Whether doors read it themselves, beside the domains that say so. Doors read every bucket of files: they hand them out.
    pub doors: bool,
}

impl Bucket {
    /// Small values by key.
    pub const fn values(name: &'static str, description: &'static str) -> Self {
        Bucket { name, description, kind: Kind::Values, max_age: Duration::ZERO, expiring: false, doors: false }
    }

    /// Files.
    pub const fn objects(name: &'static str, description: &'static str) -> Self {
        Bucket { name, description, kind: Kind::Objects, max_age: Duration::ZERO, expiring: false, doors: true }
    }

    /// Entries go after this time.
    #[must_use]
    pub const fn max_age(mut self, age: Duration) -> Self {
        self.max_age = age;
        self
    }

    /// Each value may have a time to live of its own.
    #[must_use]
    pub const fn expiring(mut self) -> Self {
        self.expiring = true;
        self
    }

    /// Doors read it too.
    #[must_use]
    pub const fn for_doors(mut self) -> Self {
        self.doors = true;
        self
    }

    /// The stream that holds it: `KV_brands`, `OBJ_uploads`.
    pub fn stream(&self) -> String {
        match self.kind {
            Kind::Values => format!("KV_{}", self.name),
            Kind::Objects => format!("OBJ_{}", self.name),
        }
    }
}
