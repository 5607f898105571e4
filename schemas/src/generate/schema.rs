//! JSON Schema 2020-12 documents, one file per payload.
//!
//! Commands and requests are closed (`additionalProperties: false`), as the door is: it refuses a field it doesn't know.
//! Events and answers stay open, as their readers must be: a new field is no new version.

use std::path::PathBuf;

use schemars::Schema;
use serde_json::{Map, Value, json};

use crate::Catalogue;

/// What a document describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A command's payload of this version.
    Command(u16),
    /// An event's payload of this version.
    Event(u16),
    /// A query's request.
    Request,
    /// What a query answers.
    Answer,
}

impl Kind {
    /// `urn:omnibus:mailer:command:send_email:v1`
    pub fn id(self, domain: &str, name: &str) -> String {
        match self {
            Kind::Command(version) => format!("urn:omnibus:{domain}:command:{name}:v{version}"),
            Kind::Event(version) => format!("urn:omnibus:{domain}:event:{name}:v{version}"),
            Kind::Request => format!("urn:omnibus:{domain}:query:{name}:request"),
            Kind::Answer => format!("urn:omnibus:{domain}:query:{name}:answer"),
        }
    }

    /// `json/mailer/send_email.v1.json`; requests and answers carry their kind where the others carry a version,
    /// since request and reply are always of one moment.
    pub fn path(self, domain: &str, name: &str) -> PathBuf {
        let end = match self {
            Kind::Command(version) | Kind::Event(version) => format!("v{version}"),
            Kind::Request => "request".to_owned(),
            Kind::Answer => "answer".to_owned(),
        };
        ["json", domain, &format!("{name}.{end}.json")].iter().collect()
    }

    const fn is_closed(self) -> bool {
        matches!(self, Kind::Command(_) | Kind::Request)
    }
}

/// One document: the type's schema with its identity and, if there is one, its example.
pub fn document(kind: Kind, domain: &str, name: &str, schema: &Schema, example: Option<Value>) -> Value {
    let mut body = if kind.is_closed() { closed(schema) } else { object(schema) };
    let mut document = Map::new();
    for key in ["$schema", "title", "description"] {
        document.extend(body.remove_entry(key));
    }
    document.insert("$id".into(), kind.id(domain, name).into());
    document.append(&mut body);
    document.extend(example.map(|example| ("examples".to_owned(), json!([example]))));
    Value::Object(document)
}

/// All documents, with their paths below `schemas/`.
pub(super) fn documents(catalogue: &Catalogue) -> Vec<(PathBuf, Value)> {
    let of = |kind: Kind, domain, name, schema: &Schema, example| {
        (kind.path(domain, name), document(kind, domain, name, schema, example))
    };
    let commands = catalogue
        .commands()
        .map(|c| of(Kind::Command(c.version), c.domain, c.name, &(c.schema)(), Some((c.example)())));
    let events =
        catalogue.events().map(|e| of(Kind::Event(e.version), e.domain, e.name, &(e.schema)(), Some((e.example)())));
    let queries = catalogue.queries().flat_map(|q| {
        [
            of(Kind::Request, q.domain, q.name, &(q.schema)(), Some((q.example)())),
            of(Kind::Answer, q.domain, q.name, &(q.answer)(), None),
        ]
    });
    commands.chain(events).chain(queries).collect()
}

/// The schema as the door reads it: every object whose fields are named has no others.
pub fn closed(schema: &Schema) -> Map<String, Value> {
    let mut body = Value::Object(object(schema));
    close(&mut body);
    match body {
        Value::Object(body) => body,
        _ => unreachable!("closing keeps an object an object"),
    }
}

/// The schema as it stands, its keys sorted (see `order`).
pub(super) fn object(schema: &Schema) -> Map<String, Value> {
    let mut schema = schema.as_value().clone();
    schema.sort_all_objects();
    match schema {
        Value::Object(schema) => schema,
        _ => Map::new(),
    }
}

fn close(value: &mut Value) {
    let Value::Object(schema) = value else { return };
    // A map has `additionalProperties` already; an object without any named field is a struct without fields.
    if schema.get("type").is_some_and(is_object) {
        schema.entry("additionalProperties").or_insert(Value::Bool(false));
    }
    for (keyword, below) in schema.iter_mut() {
        match (keyword.as_str(), below) {
            ("properties" | "$defs" | "patternProperties", Value::Object(named)) => named.values_mut().for_each(close),
            ("oneOf" | "anyOf" | "allOf" | "prefixItems", Value::Array(several)) => several.iter_mut().for_each(close),
            ("items" | "additionalProperties", one @ Value::Object(_)) => close(one),
            _ => {}
        }
    }
}

fn is_object(kind: &Value) -> bool {
    match kind {
        Value::String(kind) => kind == "object",
        Value::Array(kinds) => kinds.iter().any(is_object),
        _ => false,
    }
}
