//! The generated files: up to date, complete and without loose ends.

use std::collections::BTreeSet;
use std::fs;

use omnibus_schemas::Catalogue;
use omnibus_schemas::generate::{self, Difference};
use serde_json::Value;

use crate::{catalogue, root};

#[test]
fn the_checked_in_files_are_what_the_catalogue_generates() {
    let differences = generate::differences(root(), &generate::files(&catalogue())).unwrap();
    assert!(differences.is_empty(), "run `cargo run -p omnibus-schemas --bin gen`: {differences:?}");
}

#[test]
fn a_missing_a_changed_and_a_left_file_are_each_told() {
    let folder = root_of_a_copy("differences");
    let files = generate::files(&catalogue());
    assert_eq!(generate::differences(&folder, &files).unwrap(), [].into());
    fs::remove_file(folder.join("openapi.json")).unwrap();
    fs::write(folder.join("asyncapi.yaml"), "asyncapi: 3.0.0\n").unwrap();
    fs::write(folder.join("json/mailer/gone.v1.json"), "{}\n").unwrap();
    let differences = generate::differences(&folder, &files).unwrap();
    assert_eq!(
        differences,
        [
            ("openapi.json".into(), Difference::Missing),
            ("asyncapi.yaml".into(), Difference::Stale),
            ("json/mailer/gone.v1.json".into(), Difference::Left),
        ]
        .into()
    );
}

fn root_of_a_copy(name: &str) -> std::path::PathBuf {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if folder.exists() {
        fs::remove_dir_all(&folder).unwrap();
    }
    for (path, text) in generate::files(&catalogue()) {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

/// Every `$ref` in a document, wherever it stands.
fn refs<'a>(value: &'a Value, into: &mut Vec<&'a str>) {
    match value {
        Value::Object(map) => {
            into.extend(map.get("$ref").and_then(Value::as_str));
            map.values().for_each(|below| refs(below, into));
        }
        Value::Array(list) => list.iter().for_each(|below| refs(below, into)),
        _ => {}
    }
}

#[test]
fn every_reference_leads_somewhere() {
    for document in [generate::openapi(&catalogue()), generate::asyncapi_value(&catalogue())] {
        let mut all = Vec::new();
        refs(&document, &mut all);
        assert!(!all.is_empty());
        for to in all {
            let pointer = to.strip_prefix('#').unwrap_or_else(|| panic!("{to} leaves the document"));
            assert!(document.pointer(pointer).is_some(), "{to}");
        }
    }
}

#[test]
fn every_route_is_documented_with_its_parameters_and_scope() {
    let catalogue = catalogue();
    let openapi = generate::openapi(&catalogue);
    let commands = catalogue.commands().filter_map(|c| Some((c.http.as_ref()?, &c.scope, "202")));
    let queries = catalogue.queries().filter_map(|q| Some((q.http.as_ref()?, &q.scope, "200")));
    let mut ids = BTreeSet::new();
    for (route, scope, answered) in commands.chain(queries) {
        let method = route.method.as_str().to_lowercase();
        let operation = &openapi["paths"][route.path.as_str()][method.as_str()];
        assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()), "{}", operation["operationId"]);
        assert_eq!(operation["x-scope"], **scope, "{} {}", method, route.path);
        assert_eq!(operation["security"][0]["apiKey"][0], **scope);
        let mut in_path: Vec<&str> = operation["parameters"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|parameter| parameter["in"] == "path")
            .map(|parameter| {
                assert_eq!(parameter["required"], true);
                parameter["name"].as_str().unwrap()
            })
            .collect();
        let mut named: Vec<&str> = route.params().collect();
        in_path.sort_unstable();
        named.sort_unstable();
        assert_eq!(in_path, named, "{}", route.path);
        for status in [answered, "400", "401", "403", "404", "422", "429", "503"] {
            assert!(operation["responses"][status].is_object(), "{} lacks {status}", route.path);
        }
    }
    assert!(!ids.is_empty());
}

#[test]
fn a_field_in_the_path_is_not_asked_for_again_in_the_body() {
    let openapi = generate::openapi(&catalogue());
    let operation = &openapi["paths"]["/api/v1/mailer/held/{command_id}"]["post"];
    let to = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].as_str().unwrap();
    let body = openapi.pointer(to.strip_prefix('#').unwrap()).unwrap();
    let fields: Vec<&String> = body["properties"].as_object().unwrap().keys().collect();
    assert_eq!(fields, ["note", "resolution"]);
    assert_eq!(body["required"], serde_json::json!(["resolution", "note"]));
    let example = &operation["requestBody"]["content"]["application/json"]["examples"]["example"]["value"];
    assert!(example.get("command_id").is_none() && example.get("note").is_some(), "{example}");
}

#[test]
fn the_doors_refuse_unknown_fields_and_the_bus_does_not() {
    let catalogue = catalogue();
    let files = generate::files(&catalogue);
    let document = |path: &str| -> Value { serde_json::from_str(&files[std::path::Path::new(path)]).unwrap() };
    assert_eq!(document("json/mailer/send_email.v1.json")["additionalProperties"], false);
    assert_eq!(document("json/mailer/accounts.request.json")["additionalProperties"], false);
    for open in ["json/mailer/email_sent.v1.json", "json/mailer/email_status.answer.json"] {
        assert_eq!(document(open).get("additionalProperties"), None, "{open}");
    }
    let openapi = generate::openapi(&catalogue);
    assert_eq!(openapi["components"]["schemas"]["SendEmail"]["additionalProperties"], false);
    let asyncapi = generate::asyncapi_value(&catalogue);
    assert!(asyncapi["components"]["schemas"]["SendEmail"].is_object());
    assert_eq!(asyncapi["components"]["schemas"]["SendEmail"].get("additionalProperties"), None);
}

#[test]
fn every_subject_stands_in_the_asyncapi_with_its_stream() {
    let catalogue = catalogue();
    let document = generate::asyncapi_value(&catalogue);
    let channels = document["channels"].as_object().unwrap();
    let stream_of = |address: &str| {
        let found: Vec<_> = channels.values().filter(|channel| channel["address"] == address).collect();
        assert_eq!(found.len(), 1, "{address}");
        found[0]["x-stream"].as_str().map(str::to_owned)
    };
    assert_eq!(stream_of("cmd.mailer.default.send_email.{tenant}").as_deref(), Some("CMD_MAILER"));
    assert_eq!(stream_of("dlq.mailer.send_email.{tenant}").as_deref(), Some("DLQ"));
    assert_eq!(stream_of("evt.mailer.email_sent.{tenant}").as_deref(), Some("EVT"));
    assert_eq!(stream_of("qry.mailer.email_status"), None);
    let expected = 2 * catalogue.commands().count() + catalogue.events().count() + 2 * catalogue.queries().count();
    assert_eq!(channels.len(), expected);
}

#[test]
#[should_panic(expected = "names a field that its contract has not: nobody")]
fn a_route_that_names_no_field_is_refused() {
    let mut catalogue = Catalogue::omnibus().domains().to_vec();
    let command = catalogue[0].commands.iter_mut().find(|command| command.http.is_some()).unwrap();
    command.http.as_mut().unwrap().path = "/api/v1/{nobody}".into();
    generate::openapi(&Catalogue::new(catalogue));
}
