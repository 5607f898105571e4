//! Schemas gathered under one heading (`#/components/schemas/`), as OpenAPI and AsyncAPI want them.
//!
//! Types shared between contracts, such as the platform's, stand there once. Two types of one Rust name and different
//! content get different names: the first keeps it, the next carries its domain.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

/// Where both formats keep them.
const AT: &str = "#/components/schemas/";

/// Schemas by name.
#[derive(Default)]
pub(super) struct Components {
    /// What a name stands for: the schema as written, and everything it refers to.
    origins: BTreeMap<String, Origin>,
    written: Map<String, Value>,
}

type Origin = (Value, BTreeMap<String, Value>);

impl Components {
    /// Adds a root schema with its `$defs`; gives back the name it stands under.
    pub(super) fn add(&mut self, domain: &str, mut root: Map<String, Value>) -> String {
        let defs = take_defs(&mut root);
        let title = root.get("title").and_then(Value::as_str).unwrap_or("Payload").to_owned();
        self.place(domain, &title, Value::Object(root), &defs)
    }

    /// Adds only what `schema` refers to and turns its references here.
    pub(super) fn adopt(&mut self, domain: &str, mut schema: Value, defs: &Map<String, Value>) -> Value {
        self.link(domain, &mut schema, defs);
        schema
    }

    pub(super) fn into_map(self) -> Map<String, Value> {
        self.written
    }

    fn place(&mut self, domain: &str, title: &str, schema: Value, defs: &Map<String, Value>) -> String {
        let mut reached = BTreeMap::new();
        reach(&schema, defs, &mut reached);
        let origin = (schema.clone(), reached);
        let names = [title.to_owned(), format!("{domain}.{title}")];
        let numbered = (2..).map(|n| format!("{domain}.{title}.{n}"));
        let name = names
            .into_iter()
            .chain(numbered)
            .find(|name| self.origins.get(name).is_none_or(|there| *there == origin))
            .expect("there is always a next number");
        if self.origins.insert(name.clone(), origin).is_none() {
            let mut schema = schema;
            for only_in_documents in ["$schema", "$id"] {
                if let Value::Object(map) = &mut schema {
                    map.remove(only_in_documents);
                }
            }
            self.link(domain, &mut schema, defs);
            self.written.insert(name.clone(), schema);
        }
        name
    }

    fn link(&mut self, domain: &str, value: &mut Value, defs: &Map<String, Value>) {
        match value {
            Value::Object(map) => {
                let to = map.get("$ref").and_then(Value::as_str).and_then(|to| to.strip_prefix("#/$defs/"));
                if let Some(def) = to.map(str::to_owned) {
                    let schema = defs.get(&def).expect("schemars defines what it refers to").clone();
                    let name = self.place(domain, &def, schema, defs);
                    map.insert("$ref".into(), format!("{AT}{name}").into());
                }
                map.values_mut().for_each(|below| self.link(domain, below, defs));
            }
            Value::Array(list) => list.iter_mut().for_each(|below| self.link(domain, below, defs)),
            _ => {}
        }
    }
}

/// A reference to what [`Components::add`] named.
pub(super) fn reference(name: &str) -> Value {
    json!({ "$ref": format!("{AT}{name}") })
}

/// Takes the `$defs` out of a root schema.
pub(super) fn take_defs(root: &mut Map<String, Value>) -> Map<String, Value> {
    match root.remove("$defs") {
        Some(Value::Object(defs)) => defs,
        _ => Map::new(),
    }
}

fn reach(value: &Value, defs: &Map<String, Value>, reached: &mut BTreeMap<String, Value>) {
    let mut to_visit = refs(value);
    while let Some(name) = to_visit.pop_first() {
        if let Some(schema) = defs.get(&name)
            && reached.insert(name, schema.clone()).is_none()
        {
            to_visit.append(&mut refs(schema));
        }
    }
}

fn refs(value: &Value) -> BTreeSet<String> {
    match value {
        Value::Object(map) => {
            let own = map.get("$ref").and_then(Value::as_str).and_then(|to| to.strip_prefix("#/$defs/"));
            own.map(str::to_owned).into_iter().chain(map.values().flat_map(refs)).collect()
        }
        Value::Array(list) => list.iter().flat_map(refs).collect(),
        _ => BTreeSet::new(),
    }
}
