//! What generates documentation must say something.

use omnibus_schemas::schemars::Schema;
use serde_json::Value;

use crate::catalogue;

/// Pointers to what should have a description and has none.
fn silent(schema: &Value, at: &str, found: &mut Vec<String>) {
    for (keyword, named) in [("properties", true), ("$defs", true), ("oneOf", false)] {
        let below: Vec<(String, &Value)> = match (&schema[keyword], named) {
            (Value::Object(map), true) => map.iter().map(|(name, schema)| (name.clone(), schema)).collect(),
            (Value::Array(list), false) => list.iter().enumerate().map(|(n, schema)| (n.to_string(), schema)).collect(),
            _ => vec![],
        };
        for (name, schema) in below {
            let at = format!("{at}/{keyword}/{name}");
            if schema["description"].as_str().is_none_or(|text| text.trim().is_empty()) {
                found.push(at.clone());
            }
            silent(schema, &at, found);
        }
    }
    for keyword in ["items", "additionalProperties"] {
        silent_below(&schema[keyword], &format!("{at}/{keyword}"), found);
    }
}

fn silent_below(schema: &Value, at: &str, found: &mut Vec<String>) {
    if schema.is_object() {
        silent(schema, at, found);
    }
}

fn all_schemas() -> Vec<(String, Schema)> {
    let catalogue = catalogue();
    let commands = catalogue.commands().map(|c| (format!("command {}.{}", c.domain, c.name), (c.schema)()));
    let events = catalogue.events().map(|e| (format!("event {}.{}", e.domain, e.name), (e.schema)()));
    let queries = catalogue.queries().flat_map(|q| {
        let name = format!("query {}.{}", q.domain, q.name);
        [(name.clone(), (q.schema)()), (format!("{name}, answer"), (q.answer)())]
    });
    commands.chain(events).chain(queries).collect()
}

#[test]
fn every_contract_and_every_field_of_it_says_what_it_is() {
    let mut found = Vec::new();
    for (name, schema) in all_schemas() {
        let schema = schema.to_value();
        for word in ["title", "description"] {
            if schema[word].as_str().is_none_or(|text| text.trim().is_empty()) {
                found.push(format!("{name} has no {word}"));
            }
        }
        silent(&schema, &name, &mut found);
    }
    assert_eq!(found, [""; 0], "doc comments are the documentation");
}

#[test]
fn a_field_without_a_description_is_found() {
    let schema =
        serde_json::json!({ "properties": { "list": { "description": "x", "items": { "properties": { "a": {} } } } } });
    let mut found = Vec::new();
    silent(&schema, "", &mut found);
    assert_eq!(found, ["/properties/list/items/properties/a"]);
}

#[test]
fn a_route_takes_a_name_and_a_scope_has_two_parts() {
    let catalogue = catalogue();
    for scope in catalogue.scopes() {
        let parts: Vec<_> = scope.split(':').collect();
        assert!(parts.len() == 2 && parts.iter().all(|part| !part.is_empty()), "{scope}");
        assert!(!scope.contains('{'), "{scope}");
    }
    for command in catalogue.commands() {
        assert!(command.status.starts_with("/api/v1/") && command.status.contains("{id}"), "{}", command.status);
    }
}
