//! What is written from the catalogue: JSON Schemas, `openapi.json`, `asyncapi.yaml` and golden payloads.
//!
//! Everything here is a function of the [`Catalogue`], so the same catalogue always gives the same text. The doors call
//! [`openapi`] and [`asyncapi`] at start; the files in this folder are for people, editors and code generators, and a
//! test demands that they are up to date.

mod answers;
mod asyncapi;
mod components;
mod difference;
mod door;
mod golden;
mod openapi;
mod order;
mod schema;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

pub use answers::{Accepted, Happened, Problem, Waited};
pub use asyncapi::{asyncapi, asyncapi_value};
pub use difference::{Difference, differences};
pub use golden::{Golden, GoldenError, GoldenName, missing as missing_golden, of_folder as golden_of_folder};
pub use openapi::openapi;
pub use schema::{Kind, closed, document};

use crate::Catalogue;

/// Every generated file, by its path below `schemas/`, with its text. Golden payloads are not among them: they are
/// written once and then kept, see [`missing_golden`].
///
/// # Panics
/// If two contracts claim the same file.
pub fn files(catalogue: &Catalogue) -> BTreeMap<PathBuf, String> {
    let mut files = BTreeMap::new();
    let mut write = |path: PathBuf, text: String| {
        assert!(!files.contains_key(&path), "two contracts claim {}", path.display());
        files.insert(path, text);
    };
    for (path, document) in schema::documents(catalogue) {
        write(path, pretty(&document));
    }
    write("openapi.json".into(), pretty(&openapi(catalogue)));
    write("asyncapi.yaml".into(), asyncapi(catalogue));
    files
}

fn pretty(value: &Value) -> String {
    let mut text = serde_json::to_string_pretty(&order::Ordered(value)).expect("a JSON value is always written");
    text.push('\n');
    text
}
