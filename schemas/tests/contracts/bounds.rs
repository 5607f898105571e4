//! A bound that the documentation states is a bound that the door holds, and the other way round where it can be said.
//!
//! Every command and request is pushed to each bound in turn, where the door and a JSON Schema validator must both take
//! it, and over it, where both must refuse. A keyword that is not known here fails the test, so none goes untried.

use jsonschema::Validator;
use omnibus_schemas::generate::{Kind, document};
use omnibus_schemas::{Encoding, Fault, body};
use serde_json::{Map, Value, json};

use crate::catalogue;

type Accept = fn(Encoding, &[u8]) -> Result<Vec<u8>, Vec<Fault>>;

/// What the door reads: a name, its schema as published, an example, the reader.
fn read_by_the_door() -> Vec<(String, Value, Value, Accept)> {
    let catalogue = catalogue();
    let commands = catalogue.commands().map(|c| {
        let schema = document(Kind::Command(c.version), c.domain, c.name, &(c.schema)(), None);
        (format!("{}.{}", c.domain, c.name), schema, (c.example)(), c.accept)
    });
    let queries = catalogue.queries().map(|q| {
        let schema = document(Kind::Request, q.domain, q.name, &(q.schema)(), None);
        (format!("{}.{}", q.domain, q.name), schema, (q.example)(), q.accept)
    });
    commands.chain(queries).collect()
}

fn validator(schema: &Value) -> Validator {
    jsonschema::options().should_validate_formats(true).build(schema).unwrap()
}

/// A schema with its reference followed.
fn resolved(schema: &Value, root: &Value) -> Map<String, Value> {
    let mut all = schema.as_object().cloned().unwrap_or_default();
    if let Some(to) = all.remove("$ref") {
        let target = root.pointer(to.as_str().unwrap().strip_prefix('#').unwrap()).unwrap();
        let mut target = resolved(target, root);
        target.append(&mut all);
        return target;
    }
    // What may be left out: the thing itself, or null.
    let is_null = |one: &Value| one["type"] == "null";
    if let Some(Value::Array(any)) = all.get("anyOf")
        && let (Some(thing), true) = (any.iter().find(|one| !is_null(one)).cloned(), any.iter().any(is_null))
    {
        all.remove("anyOf");
        let mut target = resolved(&thing, root);
        target.append(&mut all);
        return target;
    }
    all
}

fn kind(schema: &Map<String, Value>) -> &str {
    match &schema.get("type") {
        Some(Value::String(kind)) => kind,
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null").unwrap(),
        _ if schema.contains_key("oneOf") => "enum",
        _ => "any",
    }
}

/// A value that keeps to the schema.
fn sample(schema: &Value, root: &Value) -> Value {
    let schema = resolved(schema, root);
    // Where a pattern or a rule written by hand wants more than any text.
    if let Some(example) = schema.get("examples").and_then(|examples| examples.get(0)) {
        return example.clone();
    }
    let at_least = |key: &str| schema.get(key).and_then(Value::as_u64).unwrap_or(0).max(1) as usize;
    match (kind(&schema), schema.get("format").and_then(Value::as_str)) {
        ("string", Some("email")) => "ada@example.com".into(),
        ("string", Some("uuid")) => "01979f6e-5a00-7000-8000-000000000001".into(),
        ("string", Some("date-time")) => "2026-01-01T00:00:00Z".into(),
        ("string", _) => "a".repeat(at_least("minLength")).into(),
        ("integer" | "number", _) => schema.get("minimum").cloned().unwrap_or_else(|| 1.into()),
        ("boolean", _) => true.into(),
        // Anything at all.
        ("any", _) => "a".into(),
        ("array", _) => vec![sample(&schema["items"], root); at_least("minItems")].into(),
        ("enum", _) => schema["oneOf"][0]["const"].clone(),
        ("object", _) if schema.contains_key("properties") => {
            let fields = schema["properties"].as_object().unwrap();
            fields.iter().map(|(name, field)| (name.clone(), sample(field, root))).collect()
        }
        ("object", _) => match schema.get("additionalProperties") {
            Some(of @ Value::Object(_)) => json!({ "a": sample(of, root) }),
            _ => json!({}),
        },
        (other, format) => panic!("no sample for {other} {format:?}: teach this test"),
    }
}

/// A bound, a value beyond it, and where there is one the last value within it.
struct Bound {
    path: String,
    beyond: Value,
    last: Option<Value>,
}

impl Bound {
    /// The same bound, seen from a schema that holds this one.
    fn under(self, path: &str, put: impl Fn(Value) -> Value) -> Self {
        Bound { path: format!("{path}/{}", self.path), beyond: put(self.beyond), last: self.last.map(put) }
    }
}

/// Every bound of the schema.
fn bounds(schema: &Value, root: &Value) -> Vec<Bound> {
    let schema = resolved(schema, root);
    let good = sample(&Value::Object(schema.clone()), root);
    let with = |name: &str, value: Value| {
        let mut changed = good.clone();
        changed[name] = value;
        changed
    };
    let mut found = Vec::new();
    for (keyword, bound) in &schema {
        let mut add = |beyond: Value, last: Option<Value>| found.push(Bound { path: keyword.clone(), beyond, last });
        let n = bound.as_u64().unwrap_or_default() as usize;
        let text = |n: usize| Some(text_of(n, &good));
        let list = |n: usize| Value::from(vec![good[0].clone(); n]);
        let map = |n: usize| (0..n).map(|i| (format!("k{i}"), good["a"].clone())).collect::<Value>();
        match keyword.as_str() {
            "$schema" | "$id" | "title" | "description" | "default" | "$defs" | "examples" => {}
            "type" => {
                add(if kind(&schema) == "array" { json!({ "not": "this" }) } else { json!([["not this"]]) }, None)
            }
            "minLength" => add("a".repeat(n - 1).into(), text(n)),
            "maxLength" => add(text_of(n + 1, &good), text(n)),
            "pattern" => add(unlike(bound.as_str().unwrap()).into(), None),
            // `uint32` and the like are for code generators; the bounds stand in minimum and maximum.
            "format" if kind(&schema) == "integer" => {}
            "format" => add("not of this format".into(), None),
            "minimum" => add((bound.as_i64().unwrap() - 1).into(), Some(bound.clone())),
            "maximum" => add((bound.as_i64().unwrap() + 1).into(), Some(bound.clone())),
            "minItems" => add(list(n - 1), Some(list(n))),
            "maxItems" => add(list(n + 1), Some(list(n))),
            "items" => {
                let in_list = |item: Value| Value::from(vec![item; good.as_array().unwrap().len()]);
                found.extend(bounds(bound, root).into_iter().map(|of| of.under("items", in_list)));
            }
            // It says what a field is about, and bounds nothing.
            "x-personal" => {}
            "oneOf" => add("none_of_these".into(), None),
            "maxProperties" => add(map(n + 1), Some(map(n))),
            "propertyNames" => {
                add(json!({ unlike(bound["pattern"].as_str().unwrap()): good["a"] }), None);
                if let Some(never) = bound["not"]["pattern"].as_str() {
                    let name = ["subject", "content-type"].into_iter().find(|name| like(never, name));
                    add(json!({ name.expect("teach this test a name that is refused"): good["a"] }), None);
                }
            }
            "additionalProperties" if *bound == Value::Bool(true) => {}
            "additionalProperties" if *bound == Value::Bool(false) => add(with("unknown_field", 1.into()), None),
            "additionalProperties" => {
                let in_map = |value: Value| json!({ "a": value });
                found.extend(bounds(bound, root).into_iter().map(|of| of.under("additionalProperties", in_map)));
            }
            "required" => bound.as_array().unwrap().iter().for_each(|name| {
                let name = name.as_str().unwrap();
                let mut beyond = good.clone();
                beyond.as_object_mut().unwrap().remove(name);
                found.push(Bound { path: format!("required/{name}"), beyond, last: None });
            }),
            "properties" => bound.as_object().unwrap().iter().for_each(|(name, field)| {
                let path = format!("properties/{name}");
                found.extend(bounds(field, root).into_iter().map(|of| of.under(&path, |value| with(name, value))));
            }),
            other => panic!("nothing here breaks {other}: teach this test"),
        }
    }
    found
}

/// Text of `n` characters; an address of a person or a page if the good one is.
fn text_of(n: usize, good: &Value) -> Value {
    let good = good.as_str().unwrap();
    if good.starts_with("https://") {
        return format!("{good}/{}", "a".repeat(n - good.len() - 1)).into();
    }
    if !good.contains('@') {
        return "a".repeat(n).into();
    }
    // Labels of a host name have at most 63 characters.
    let mut address = "ada@".to_owned();
    while n - address.len() > 40 {
        address += &"a".repeat(30);
        address.push('.');
    }
    let rest = n - address.len() - ".com".len();
    Value::from(address + &"a".repeat(rest) + ".com")
}

fn like(pattern: &str, text: &str) -> bool {
    validator(&json!({ "pattern": pattern })).is_valid(&json!(text))
}

fn unlike(pattern: &str) -> &'static str {
    let candidates = ["a\r\nb", "a.b c"];
    candidates.into_iter().find(|text| !like(pattern, text)).expect("teach this test a text that the pattern refuses")
}

fn accepts(accept: Accept, value: &Value) -> Result<(), Vec<Fault>> {
    let [json, packed] = [Encoding::Json, Encoding::MessagePack]
        .map(|encoding| accept(encoding, &body::encode(encoding, value)).map(drop));
    assert_eq!(json.is_ok(), packed.is_ok(), "the encodings disagree on {value}");
    json
}

#[test]
fn every_example_is_accepted_by_the_door_and_by_its_schema() {
    for (name, schema, example, accept) in read_by_the_door() {
        assert_eq!(accepts(accept, &example), Ok(()), "{name}");
        assert!(validator(&schema).is_valid(&example), "{name}");
        let every_field = sample(&schema, &schema);
        assert_eq!(accepts(accept, &every_field), Ok(()), "{name}");
        assert!(validator(&schema).is_valid(&every_field), "{name}: {every_field}");
    }
}

#[test]
fn a_stated_bound_is_where_the_door_and_the_schema_begin_to_refuse() {
    for (name, schema, _, accept) in read_by_the_door() {
        let validator = validator(&schema);
        let bounds = bounds(&schema, &schema);
        assert!(!bounds.is_empty(), "{name} has no bound at all, not even on unknown fields");
        for Bound { path, beyond, last } in bounds {
            assert!(!validator.is_valid(&beyond), "{name}: the schema lets {path} pass");
            let faults = accepts(accept, &beyond).err().unwrap_or_else(|| panic!("{name}: the door lets {path} pass"));
            assert!(!faults.is_empty());
            if let Some(field) = path.strip_prefix("properties/").and_then(|path| path.split('/').next()) {
                let at = format!("/{field}");
                assert!(faults.iter().any(|fault| fault.pointer.starts_with(&at)), "{name}, {path}: {faults:?}");
            }
            if path == "additionalProperties" {
                assert_eq!(faults, [Fault::new("/unknown_field", "unknown field")], "{name}");
            }
            if let Some(last) = last {
                assert!(validator.is_valid(&last), "{name}: the schema refuses the last value within {path}");
                assert_eq!(accepts(accept, &last), Ok(()), "{name}: the door refuses the last value within {path}");
            }
        }
    }
}

#[test]
fn rules_written_by_hand_stand_in_the_schema_too() {
    let all = read_by_the_door();
    let (_, schema, example, accept) = all.iter().find(|(name, ..)| name == "mailer.send_email").unwrap();
    let validator = validator(schema);
    let wrong = [
        ("/subject", json!("Hi\r\nBcc: x@example.com")),
        ("/from_name", json!("A\nB")),
        ("/from_name", json!("")),
        ("/from", json!("nobody")),
        ("/reply_to", json!("nobody")),
        ("/html", json!("a".repeat(524_289))),
        ("/headers", json!({ "X-A": "1\r\nBcc: b@example.com" })),
        ("/headers", json!({ "X A": "1" })),
        ("/headers", json!({ "": "1" })),
        ("/headers", json!({ "DKIM-Signature": "1" })),
        ("/headers", json!({ "return-path": "1" })),
        ("/headers", json!({ "X-A": "a".repeat(999) })),
    ];
    for (pointer, value) in wrong {
        let mut email = example.clone();
        email[&pointer[1..]] = value;
        assert!(!validator.is_valid(&email), "the schema lets {pointer} pass: {email:.100}");
        let faults = accepts(*accept, &email).unwrap_err();
        assert_eq!(faults.iter().map(|fault| fault.pointer.as_str()).collect::<Vec<_>>(), [pointer]);
    }
}
