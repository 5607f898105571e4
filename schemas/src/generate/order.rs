//! The order of keys in what is written: what a reader wants first stands first, the rest by name.
//!
//! `serde_json` sorts keys, or keeps them as inserted if any crate in the build asked for that feature. What is
//! generated must not depend on who else is built, so the order is imposed here.

use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::Value;

const FIRST: &[&str] = &[
    "$schema",
    "$id",
    "asyncapi",
    "openapi",
    "id",
    "operationId",
    "name",
    "in",
    "type",
    "title",
    "version",
    "format",
    "tags",
    "summary",
    "description",
    "action",
    "address",
    "info",
    "required",
    "servers",
    "security",
    "parameters",
    "requestBody",
    "responses",
    "channel",
    "channels",
    "operations",
    "paths",
    "messages",
];

/// A value that is written in order.
pub(super) struct Ordered<'a>(pub(super) &'a Value);

impl Serialize for Ordered<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Object(map) => {
                let mut entries: Vec<_> = map.iter().collect();
                entries.sort_by_key(|(name, _)| (rank(name), name.as_str()));
                let mut to = to.serialize_map(Some(entries.len()))?;
                for (name, value) in entries {
                    to.serialize_entry(name, &Ordered(value))?;
                }
                to.end()
            }
            Value::Array(list) => {
                let mut to = to.serialize_seq(Some(list.len()))?;
                for value in list {
                    to.serialize_element(&Ordered(value))?;
                }
                to.end()
            }
            scalar => scalar.serialize(to),
        }
    }
}

fn rank(name: &str) -> usize {
    FIRST.iter().position(|first| *first == name).unwrap_or(FIRST.len())
}
