//! Golden payloads: whatever was once written is understood for ever.

use omnibus_schemas::catalogue::Catalogue;
use omnibus_schemas::generate::{self, Golden, GoldenName};
use omnibus_schemas::{Encoding, Fault};
use serde_json::Value;

use crate::{catalogue, root};

type Understand = fn(u16, Encoding, &[u8]) -> Result<Value, Vec<Fault>>;

/// Domain, name (or a name it had before), today's version, and the reader.
fn readers(catalogue: &Catalogue) -> Vec<(&'static str, &'static str, u16, Understand)> {
    let commands = catalogue.commands().flat_map(|c| {
        let names = std::iter::once(c.name).chain(c.aliases.iter().copied());
        names.map(|name| (c.domain, name, c.version, c.understand))
    });
    let events = catalogue.events().map(|e| (e.domain, e.name, e.version, e.understand));
    commands.chain(events).collect()
}

fn golden() -> std::collections::BTreeMap<GoldenName, Golden> {
    let found = generate::golden_of_folder(&root().join("golden")).unwrap();
    assert!(!found.is_empty());
    found
}

/// Where `read` lost or changed what `written` says. Fields may be added: defaults are.
fn lost(written: &Value, read: &Value, at: &str, found: &mut Vec<String>) {
    match (written, read) {
        (Value::Object(written), Value::Object(read)) => {
            for (name, value) in written {
                lost(value, read.get(name).unwrap_or(&Value::Null), &format!("{at}/{name}"), found);
            }
        }
        (Value::Array(written), Value::Array(read)) if written.len() == read.len() => {
            for (n, (written, read)) in written.iter().zip(read).enumerate() {
                lost(written, read, &format!("{at}/{n}"), found);
            }
        }
        _ if written == read => {}
        _ => found.push(at.to_owned()),
    }
}

#[test]
fn every_command_and_event_of_every_version_has_a_golden_payload() {
    let present = golden();
    let catalogue = catalogue();
    let commands = catalogue.commands().map(|c| (c.domain, c.name, c.version));
    let events = catalogue.events().map(|e| (e.domain, e.name, e.version));
    let missing: Vec<String> = commands
        .chain(events)
        .flat_map(|(domain, name, version)| (1..=version).map(move |version| (domain, name, version)))
        .filter(|&(domain, name, version)| {
            !present.keys().any(|g| (g.domain.as_str(), g.name.as_str(), g.version) == (domain, name, version))
        })
        .map(|(domain, name, version)| format!("{domain}/{name}.v{version}"))
        .collect();
    assert_eq!(missing, [""; 0], "run `cargo run -p omnibus-schemas --bin gen -- --golden`");
}

#[test]
fn every_golden_payload_is_still_understood_in_both_encodings() {
    let catalogue = catalogue();
    let readers = readers(&catalogue);
    for (name, golden) in golden() {
        let file = name.path(Encoding::Json).display().to_string();
        let &(.., today, understand) = readers
            .iter()
            .find(|(domain, called, ..)| *domain == name.domain && *called == name.name)
            .unwrap_or_else(|| panic!("{file} belongs to nothing; a renamed command keeps its old name in ALIASES"));
        let json = golden.json.unwrap_or_else(|| panic!("{file} is missing beside its MessagePack"));
        let msgpack = golden.msgpack.unwrap_or_else(|| panic!("{file} has no MessagePack: run `gen --golden`"));
        let read = understand(name.version, Encoding::Json, &json).unwrap_or_else(|f| panic!("{file}: {f:?}"));
        let same = understand(name.version, Encoding::MessagePack, &msgpack)
            .unwrap_or_else(|f| panic!("{file}, packed: {f:?}"));
        assert_eq!(read, same, "{file}: the encodings say different things");
        if name.version == today {
            let mut found = Vec::new();
            lost(&serde_json::from_slice(&json).unwrap(), &read, "", &mut found);
            assert_eq!(found, [""; 0], "{file}: a field was renamed or dropped without a new version");
        }
    }
}

#[test]
fn a_field_that_is_lost_on_reading_is_noticed() {
    let mut found = Vec::new();
    let written = serde_json::json!({ "a": 1, "list": [{ "b": 2 }] });
    lost(&written, &serde_json::json!({ "a": 1, "list": [{ "c": 2 }], "new": 0 }), "", &mut found);
    assert_eq!(found, ["/list/0/b"]);
}

#[test]
fn a_folder_that_lacks_one_gets_it_and_what_stands_is_left_alone() {
    let catalogue = catalogue();
    assert_eq!(generate::missing_golden(&catalogue, &golden()).unwrap(), [].into());
    let mut present = golden();
    let name = GoldenName { domain: "mailer".into(), name: "send_email".into(), version: 1, case: "example".into() };
    present.get_mut(&name).unwrap().msgpack = None;
    present.get_mut(&name).unwrap().json = Some(br#"{"to":["old@example.com"],"subject":"Old","body":"Old"}"#.to_vec());
    let missing = generate::missing_golden(&catalogue, &present).unwrap();
    assert_eq!(missing.keys().collect::<Vec<_>>(), [&name.path(Encoding::MessagePack)]);
    let packed = &missing[&name.path(Encoding::MessagePack)];
    assert_eq!(omnibus_schemas::body::to_json(Encoding::MessagePack, packed).unwrap()["subject"], "Old");
}

#[test]
fn a_new_field_in_an_old_readers_payload_is_ignored() {
    let catalogue = catalogue();
    let readers = readers(&catalogue);
    for (name, golden) in golden() {
        let &(domain, called, _, understand) =
            readers.iter().find(|(domain, called, ..)| *domain == name.domain && *called == name.name).unwrap();
        let mut payload: Value = serde_json::from_slice(&golden.json.unwrap()).unwrap();
        payload["a_field_of_next_year"] = true.into();
        for encoding in [Encoding::Json, Encoding::MessagePack] {
            let read = understand(name.version, encoding, &omnibus_schemas::body::encode(encoding, &payload));
            assert_eq!(read.unwrap().get("a_field_of_next_year"), None, "{domain}.{called}");
        }
    }
}
