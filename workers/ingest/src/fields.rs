//! A contract's fields where a request carries them: in the path, in the query string, in the body. Text in an address
//! becomes what the schema says the field is; all else is the contract's to judge.

use std::collections::HashMap;

use axum::extract::{Query, RawPathParams};
use axum::http::Uri;
use omnibus_schemas::catalogue::Route;
use omnibus_schemas::schemars::Schema;
use omnibus_schemas::{Encoding, Fault, body};
use serde_json::{Map, Value};

use crate::problem::Problem;

/// How the fields of one contract are read from text.
#[derive(Debug)]
pub(crate) struct Fields {
    /// The names in the path, in order.
    params: Vec<String>,
    kinds: HashMap<String, Kind>,
}

/// What a text in an address stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Text,
    Number,
    Boolean,
    List(Box<Kind>),
}

/// The name that a route's n-th parameter has inside the router: two routes may name the same place differently.
pub(crate) fn param(n: usize) -> String {
    format!("p{n}")
}

impl Fields {
    pub(crate) fn of(schema: &Schema, route: &Route) -> Self {
        let root = schema.as_value();
        let properties = root.get("properties").and_then(Value::as_object);
        let kinds =
            properties.into_iter().flatten().map(|(name, property)| (name.clone(), kind(property, root, 0))).collect();
        Fields { params: route.params().map(str::to_owned).collect(), kinds }
    }

    /// Does the body alone hold everything?
    pub(crate) fn in_body_only(&self) -> bool {
        self.params.is_empty()
    }

    /// The fields in the path.
    pub(crate) fn of_path(&self, path: &RawPathParams) -> Map<String, Value> {
        let values: HashMap<&str, &str> = path.iter().collect();
        let field = |(n, name): (usize, &String)| {
            let text = values.get(param(n).as_str())?;
            Some((name.clone(), self.read(name, text)))
        };
        self.params.iter().enumerate().filter_map(field).collect()
    }

    /// Adds the fields in the query string.
    pub(crate) fn add_query(&self, into: &mut Map<String, Value>, uri: &Uri) -> Result<(), Problem> {
        if uri.query().is_none_or(str::is_empty) {
            return Ok(());
        }
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|_| Problem::malformed("The query string is not UTF-8 in percent encoding."))?;
        let mut given = Map::new();
        let mut faults = Vec::new();
        for (name, text) in pairs {
            if let Some(Kind::List(item)) = self.kinds.get(&name) {
                let list = given.entry(name).or_insert_with(|| Value::Array(vec![]));
                list.as_array_mut().expect("only lists are put under the name of a list").push(read(item, &text));
            } else if given.contains_key(&name) {
                faults.push(Fault::new(pointer(&name), "given twice"));
            } else {
                let value = self.read(&name, &text);
                given.insert(name, value);
            }
        }
        merge(into, given, "the path", &mut faults);
        if faults.is_empty() { Ok(()) } else { Err(Problem::invalid(faults)) }
    }

    /// Adds the fields in the body.
    pub(crate) fn add_body(
        &self,
        into: &mut Map<String, Value>,
        encoding: Encoding,
        bytes: &[u8],
    ) -> Result<(), Problem> {
        if bytes.is_empty() {
            return Ok(());
        }
        match body::to_json(encoding, bytes).map_err(|fault| malformed(encoding, &fault))? {
            Value::Object(given) => {
                let mut faults = Vec::new();
                merge(into, given, "the address", &mut faults);
                if faults.is_empty() { Ok(()) } else { Err(Problem::invalid(faults)) }
            }
            _ => Err(Problem::invalid(vec![Fault::new("", "must be an object")])),
        }
    }

    fn read(&self, name: &str, text: &str) -> Value {
        self.kinds.get(name).map_or_else(|| text.into(), |kind| read(kind, text))
    }
}

/// What the faults of a body mean: it can't be read at all, or it breaks its contract.
pub(crate) fn refusal(encoding: Encoding, bytes: &[u8], faults: Vec<Fault>) -> Problem {
    match body::to_json(encoding, bytes) {
        Ok(_) => Problem::invalid(faults),
        Err(fault) => malformed(encoding, &fault),
    }
}

fn malformed(encoding: Encoding, fault: &Fault) -> Problem {
    let kind = match encoding {
        Encoding::Json => "JSON",
        Encoding::MessagePack => "MessagePack",
    };
    Problem::malformed(format!("The body is not {kind}: {}.", fault.reason))
        .with_faults(vec![Fault::new("", fault.reason.clone())])
}

/// A field that is given twice must be given alike.
fn merge(into: &mut Map<String, Value>, more: Map<String, Value>, place: &str, faults: &mut Vec<Fault>) {
    for (name, value) in more {
        match into.get(&name) {
            Some(there) if *there != value => {
                faults.push(Fault::new(pointer(&name), format!("differs from the value in {place}")));
            }
            Some(_) => {}
            None => drop(into.insert(name, value)),
        }
    }
}

fn pointer(name: &str) -> String {
    format!("/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// What does not read as its kind stays text, and the contract says what is wrong with it.
fn read(kind: &Kind, text: &str) -> Value {
    let number = || text.parse::<serde_json::Number>().ok().map(Value::Number);
    match kind {
        Kind::Number => number().unwrap_or_else(|| text.into()),
        Kind::Boolean => text.parse::<bool>().map_or_else(|_| text.into(), Value::Bool),
        Kind::List(item) => Value::Array(vec![read(item, text)]),
        Kind::Text => text.into(),
    }
}

fn kind(schema: &Value, root: &Value, depth: u8) -> Kind {
    if depth > 8 {
        return Kind::Text;
    }
    if let Some(pointer) = schema.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix('#')) {
        return root.pointer(pointer).map_or(Kind::Text, |there| kind(there, root, depth + 1));
    }
    let named = |name: &str| match name {
        "integer" | "number" => Some(Kind::Number),
        "boolean" => Some(Kind::Boolean),
        "array" => {
            let item = schema.get("items").map_or(Kind::Text, |items| kind(items, root, depth + 1));
            Some(Kind::List(Box::new(item)))
        }
        _ => None,
    };
    match schema.get("type") {
        Some(Value::String(name)) => return named(name).unwrap_or(Kind::Text),
        // `["integer", "null"]`, as an optional field has it.
        Some(Value::Array(names)) => {
            return names.iter().filter_map(Value::as_str).find_map(named).unwrap_or(Kind::Text);
        }
        _ => {}
    }
    ["anyOf", "oneOf", "allOf"]
        .iter()
        .filter_map(|keyword| schema.get(keyword)?.as_array())
        .flatten()
        .map(|one| kind(one, root, depth + 1))
        .find(|kind| *kind != Kind::Text)
        .unwrap_or(Kind::Text)
}

#[cfg(test)]
mod tests {
    use omnibus_schemas::catalogue::Route;
    use omnibus_schemas::schemars::{JsonSchema, schema_for};
    use omnibus_schemas::{Method, schemars};
    use serde_json::json;

    use super::*;

    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "only its schema is looked at")]
    struct Search {
        id: u64,
        limit: Option<u32>,
        ratio: f64,
        all: bool,
        text: String,
        tags: Vec<u8>,
        nested: Option<Vec<bool>>,
    }

    fn fields() -> Fields {
        let route = Route { method: Method::Get, path: "/search/{id}".into() };
        Fields::of(&schema_for!(Search), &route)
    }

    fn query(uri: &str) -> Result<Value, Problem> {
        let mut into = Map::new();
        fields().add_query(&mut into, &uri.parse().unwrap())?;
        Ok(Value::Object(into))
    }

    #[test]
    fn text_becomes_what_the_schema_says() {
        assert_eq!(
            query("/search/1?limit=5&ratio=0.5&all=true&text=7&tags=1&tags=2&nested=false").unwrap(),
            json!({"limit": 5, "ratio": 0.5, "all": true, "text": "7", "tags": [1, 2], "nested": [false]})
        );
    }

    #[test]
    fn what_does_not_fit_is_left_for_the_contract_to_refuse() {
        assert_eq!(query("/search/1?limit=many&all=1").unwrap(), json!({"limit": "many", "all": "1"}));
        assert_eq!(query("/search/1?what=1").unwrap(), json!({"what": "1"}));
        assert_eq!(query("/search/1?text=a%20b+c").unwrap(), json!({"text": "a b c"}));
    }

    #[test]
    fn a_field_given_twice_is_refused() {
        assert_eq!(query("/search/1?limit=1&limit=2").unwrap_err().code(), "invalid");
    }

    #[test]
    fn a_field_in_path_and_body_must_be_the_same() {
        let with = |body: &Value| {
            let mut into = json!({"id": 7}).as_object().unwrap().clone();
            let bytes = body.to_string();
            fields().add_body(&mut into, Encoding::Json, bytes.as_bytes()).map(|()| Value::Object(into))
        };
        assert_eq!(with(&json!({"id": 7, "text": "x"})).unwrap(), json!({"id": 7, "text": "x"}));
        assert_eq!(with(&json!({"id": 8})).unwrap_err().code(), "invalid");
        assert_eq!(with(&json!([1])).unwrap_err().code(), "invalid");
    }
}
