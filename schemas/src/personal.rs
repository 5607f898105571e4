//! Which fields of a contract are about a person. A field says so itself, with `x-personal` in its JSON Schema:
//! `#[schemars(extend("x-personal" = "subject"))]` on what the person is known by (an address, a number), `"data"` on what
//! else is said of the people whom the same message names.
//!
//! ```
//! # use omnibus_schemas::{JsonSchema, personal};
//! #[derive(JsonSchema)]
//! struct Invite {
//!     #[schemars(extend("x-personal" = "subject"))]
//!     to: Vec<String>,
//!     #[schemars(extend("x-personal" = "data"))]
//!     name: String,
//!     seats: u32,
//! }
//!
//! let marks = personal::marks(&schemars::schema_for!(Invite));
//! let found = personal::find(&marks, &serde_json::json!({ "to": ["a@b.c"], "name": "Ada", "seats": 2 }));
//! let fields: Vec<_> = found.iter().map(|found| (found.pointer.as_str(), found.text.as_str())).collect();
//! assert_eq!(fields, [("/name", "Ada"), ("/to/0", "a@b.c")]);
//! ```

use schemars::Schema;
use serde_json::Value;

/// The key in a field's JSON Schema.
pub const MARK: &str = "x-personal";
/// Deeper than this no contract goes; a recursive type ends here.
const DEPTH: usize = 8;

/// What a personal field is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// What a person is known by.
    Subject,
    /// What is said of the people in the same message.
    Data,
}

/// A marked place: names of fields, `*` for every item of a list or value of a map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    path: Vec<String>,
    /// What stands there.
    pub role: Role,
}

/// A personal value in a payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Where: a JSON pointer.
    pub pointer: String,
    /// What it is.
    pub role: Role,
    /// The text, or the JSON of what is none.
    pub text: String,
}

/// The marked places of a contract.
pub fn marks(schema: &Schema) -> Vec<Mark> {
    let root = schema.as_value();
    let mut found = Vec::new();
    walk(root, root, &mut Vec::new(), &mut found);
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found.dedup();
    found
}

fn walk(root: &Value, schema: &Value, path: &mut Vec<String>, found: &mut Vec<Mark>) {
    if path.len() > DEPTH {
        return;
    }
    match schema.get(MARK).and_then(Value::as_str) {
        Some("subject") => return found.push(Mark { path: path.clone(), role: Role::Subject }),
        Some("data") => return found.push(Mark { path: path.clone(), role: Role::Data }),
        _ => {}
    }
    if let Some(target) = schema.get("$ref").and_then(Value::as_str).and_then(|r| root.pointer(r.strip_prefix('#')?)) {
        walk(root, target, path, found);
    }
    for (name, field) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        path.push(name.clone());
        walk(root, field, path, found);
        path.pop();
    }
    for every in ["items", "additionalProperties"] {
        if let Some(item) = schema.get(every) {
            path.push("*".to_owned());
            walk(root, item, path, found);
            path.pop();
        }
    }
    for choice in ["anyOf", "oneOf", "allOf"] {
        for one in schema.get(choice).and_then(Value::as_array).into_iter().flatten() {
            walk(root, one, path, found);
        }
    }
}

/// What stands at the marked places of a payload.
pub fn find(marks: &[Mark], payload: &Value) -> Vec<Found> {
    let mut found = Vec::new();
    for mark in marks {
        follow(&mark.path, payload, String::new(), mark.role, &mut found);
    }
    found
}

fn follow(path: &[String], value: &Value, pointer: String, role: Role, found: &mut Vec<Found>) {
    let deeper = |name: &str| format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"));
    match (path.split_first(), value) {
        (_, Value::Null) => {}
        (None, Value::String(text)) => found.push(Found { pointer, role, text: text.clone() }),
        (None, Value::Array(items)) => {
            for (n, item) in items.iter().enumerate() {
                follow(&[], item, deeper(&n.to_string()), role, found);
            }
        }
        (None, other) => found.push(Found { pointer, role, text: other.to_string() }),
        (Some((step, rest)), Value::Array(items)) if step == "*" => {
            for (n, item) in items.iter().enumerate() {
                follow(rest, item, deeper(&n.to_string()), role, found);
            }
        }
        (Some((step, rest)), Value::Object(fields)) if step == "*" => {
            for (name, field) in fields {
                follow(rest, field, deeper(name), role, found);
            }
        }
        (Some((step, rest)), Value::Object(fields)) => {
            if let Some(field) = fields.get(step) {
                follow(rest, field, deeper(step), role, found);
            }
        }
        _ => {}
    }
}
