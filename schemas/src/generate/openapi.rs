//! OpenAPI 3.1: every route of the catalogue, and the door's own.

use schemars::schema_for;
use serde_json::{Map, Value, json};

use super::answers::{Accepted, Problem, Waited};
use super::components::{Components, reference, take_defs};
use super::{door, schema};
use crate::catalogue::{Catalogue, CommandEntry, Domain, HookEntry, QueryEntry, Route};
use crate::contract::Method;
use crate::upload::{self, Upload};

/// The whole document.
pub fn openapi(catalogue: &Catalogue) -> Value {
    let mut components = Components::default();
    for shared in [schema_for!(Accepted), schema_for!(Waited), schema_for!(Problem)] {
        components.add("door", schema::object(&shared));
    }
    let mut paths: Map<String, Value> = door::paths();
    let mut put = |route: &Route, operation: Value| {
        let item = paths.entry(route.path.clone()).or_insert_with(|| json!({}));
        item[route.method.as_str().to_lowercase()] = operation;
    };
    for domain in catalogue.domains() {
        for command in &domain.commands {
            if let Some(route) = &command.http {
                put(route, command_operation(command, route, &mut components));
            }
        }
        for query in &domain.queries {
            if let Some(route) = &query.http {
                put(route, query_operation(query, route, &mut components));
            }
        }
        for hook in &domain.hooks {
            put(&hook.http, hook_operation(hook));
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Omnibus",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "A multi-tenant back office on a NATS JetStream bus.",
            "description": door::DESCRIPTION,
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/", "description": "The door that served this document." }],
        "security": [{ "apiKey": [] }, { "token": [] }],
        "tags": tags(catalogue.domains()),
        "paths": paths,
        "components": {
            "schemas": components.into_map(),
            "parameters": door::parameters(),
            "headers": door::headers(),
            "responses": door::responses(),
            "securitySchemes": door::security_schemes(),
        },
    })
}

fn tags(domains: &[Domain]) -> Vec<Value> {
    let domains = domains.iter().map(|domain| json!({ "name": domain.name, "description": domain.title }));
    domains
        .chain([json!({ "name": door::TAG, "description": "The door itself: health, metrics, documentation." })])
        .collect()
}

fn command_operation(command: &CommandEntry, route: &Route, components: &mut Components) -> Value {
    let mut root = schema::closed(&(command.schema)());
    let example = (command.example)();
    let mut parts = Parts::of(command.domain, &mut root, &example, route, components);
    let mut parameters = parts.parameters_in_path();
    if command.upload.is_some() {
        parts.take_upload(&mut root);
        parameters.extend(parts.parameters_in_query(&root, components));
    }
    parameters
        .extend(["idempotencyKey", "prefer"].map(|name| json!({ "$ref": format!("#/components/parameters/{name}") })));
    if parts.taken() {
        let title = format!("{}Body", root["title"].as_str().unwrap_or_default());
        root.insert("title".into(), title.into());
    }
    let description = root.get("description").cloned();
    let mut operation = json!({
        "operationId": format!("{}_{}", command.domain, command.name),
        "tags": [command.domain],
        "summary": summary(description.as_ref()),
        "description": with_scope(description.as_ref(), &command.scope, &format!(
            "Published to `{}`, version {}.", command.subject("{tenant}"), command.version
        )),
        "security": security(&command.scope),
        "x-scope": command.scope,
        "x-command": command.ce_type(),
        "parameters": parameters,
        "responses": door::command_responses(&parts.accepted_example(&command.status)),
    });
    if let Some(upload) = command.upload {
        operation["requestBody"] = file(upload);
        return operation;
    }
    if let Some(body) = document(&mut parts, root, command.domain, components) {
        operation["requestBody"] = body;
    }
    operation
}

fn query_operation(query: &QueryEntry, route: &Route, components: &mut Components) -> Value {
    let mut root = schema::closed(&(query.schema)());
    let example = (query.example)();
    let mut parts = Parts::of(query.domain, &mut root, &example, route, components);
    let mut parameters = parts.parameters_in_path();
    let in_body = route.method != Method::Get;
    if !in_body {
        parameters.extend(parts.parameters_in_query(&root, components));
    }
    let answer_schema = schema::object(&(query.answer)());
    let says = answer_schema.get("description").cloned().unwrap_or_else(|| "The answer.".into());
    let responses = match query.sheet {
        true => door::sheet_responses(&says),
        false => {
            let answer = reference(&components.add(query.domain, answer_schema));
            door::query_responses(&says, &answer, in_body)
        }
    };
    let description = root.get("description").cloned();
    let mut operation = json!({
        "operationId": format!("{}_{}", query.domain, query.name),
        "tags": [query.domain],
        "summary": summary(description.as_ref()),
        "description": with_scope(description.as_ref(), &query.scope, &format!("Asked over `{}`.", query.subject())),
        "security": security(&query.scope),
        "x-scope": query.scope,
        "x-query": query.subject(),
        "parameters": parameters,
        "responses": responses,
    });
    if in_body {
        let title = format!("{}Body", root["title"].as_str().unwrap_or_default());
        root.insert("title".into(), title.into());
        if let Some(body) = document(&mut parts, root, query.domain, components) {
            operation["requestBody"] = body;
        }
    }
    operation
}

/// A body with all fields that stand nowhere else; `None` if there are none.
fn document(
    parts: &mut Parts<'_>,
    mut root: Map<String, Value>,
    domain: &str,
    components: &mut Components,
) -> Option<Value> {
    if root.get("properties").and_then(Value::as_object).is_none_or(Map::is_empty) {
        return None;
    }
    let required = root.get("required").and_then(Value::as_array).is_some_and(|names| !names.is_empty());
    root.insert("$defs".into(), Value::Object(std::mem::take(&mut parts.defs)));
    let body = reference(&components.add(domain, root));
    Some(json!({
        "required": required,
        "content": {
            "application/json": {
                "schema": body,
                "examples": { "example": { "summary": "Works as it stands", "value": parts.rest } },
            },
            "application/msgpack": { "schema": body },
        },
    }))
}

/// The bytes of a file.
fn file(upload: Upload) -> Value {
    let types = if upload.types.is_empty() { &["application/octet-stream"] } else { upload.types };
    let content: Map<String, Value> = types.iter().map(|media| ((*media).to_owned(), json!({}))).collect();
    json!({
        "required": true,
        "description": format!("The file itself, {} bytes at most.", upload.max_bytes),
        "content": content,
    })
}

fn hook_operation(hook: &HookEntry) -> Value {
    let text = || json!({ "type": "string" });
    let parameters: Vec<_> = hook.http.params().map(|name| parameter("path", name, text(), true, None)).collect();
    let mut operation = json!({
        "operationId": format!("{}_{}", hook.domain, hook.name),
        "tags": [hook.domain],
        "summary": summary(Some(&hook.summary.into())),
        "description": format!("{}\n\nTakes no credential of the door. Answered over `{}`.", hook.summary, hook.subject()),
        "security": [],
        "x-hook": hook.subject(),
        "parameters": parameters,
        "responses": door::hook_responses(),
    });
    if matches!(hook.http.method, Method::Post | Method::Put) {
        operation["requestBody"] = json!({
            "description": format!("As the caller shapes it, {} bytes at most.", hook.max_body),
            "content": { "*/*": {} },
        });
    }
    operation
}

/// A contract's fields, by the part of the request that they travel in.
struct Parts<'a> {
    domain: &'a str,
    /// Parameters in the path: name, schema, example.
    path: Vec<(String, Value, Option<Value>)>,
    defs: Map<String, Value>,
    /// The example without what stands in the path.
    rest: Value,
}

impl<'a> Parts<'a> {
    /// Takes the path's fields out of `root`.
    ///
    /// # Panics
    /// If the route names a field that the type has not.
    fn of(
        domain: &'a str,
        root: &mut Map<String, Value>,
        example: &Value,
        route: &Route,
        components: &mut Components,
    ) -> Self {
        let defs = take_defs(root);
        let mut rest = example.clone();
        let mut path = Vec::new();
        for name in route.params() {
            let field = root.get_mut("properties").and_then(|p| p.as_object_mut()?.remove(name));
            let field =
                field.unwrap_or_else(|| panic!("{} names a field that its contract has not: {name}", route.path));
            if let Some(required) = root.get_mut("required").and_then(Value::as_array_mut) {
                required.retain(|field| field != name);
            }
            let value = rest.as_object_mut().and_then(|fields| fields.remove(name));
            path.push((name.to_owned(), components.adopt(domain, field, &defs), value));
        }
        Parts { domain, path, defs, rest }
    }

    /// Takes the file's field out of `root`: the door fills it.
    fn take_upload(&mut self, root: &mut Map<String, Value>) {
        if let Some(fields) = root.get_mut("properties").and_then(Value::as_object_mut) {
            fields.remove(upload::FIELD);
        }
        if let Some(required) = root.get_mut("required").and_then(Value::as_array_mut) {
            required.retain(|field| field != upload::FIELD);
        }
    }

    /// Whether the path holds any field.
    fn taken(&self) -> bool {
        !self.path.is_empty()
    }

    fn parameters_in_path(&self) -> Vec<Value> {
        let in_path = |(name, schema, example): &(String, Value, Option<Value>)| {
            parameter("path", name, schema.clone(), true, example.clone())
        };
        self.path.iter().map(in_path).collect()
    }

    /// What remains of a request after the path.
    fn parameters_in_query(&mut self, root: &Map<String, Value>, components: &mut Components) -> Vec<Value> {
        let required = |name: &str| {
            root.get("required").and_then(Value::as_array).is_some_and(|names| names.iter().any(|n| n == name))
        };
        let Some(fields) = root.get("properties").and_then(Value::as_object) else { return vec![] };
        let in_query = |(name, schema): (&String, &Value)| {
            let schema = components.adopt(self.domain, schema.clone(), &self.defs);
            parameter("query", name, schema, required(name), self.rest.get(name).cloned())
        };
        fields.iter().map(in_query).collect()
    }

    /// What the door answers to a command, with an id as an example.
    fn accepted_example(&self, status: &str) -> Value {
        let id = "01979f6e-5a00-7000-8000-000000000001";
        json!({ "id": id, "status_url": status.replace("{id}", id) })
    }
}

fn parameter(place: &str, name: &str, mut schema: Value, required: bool, example: Option<Value>) -> Value {
    let description = schema.as_object_mut().and_then(|schema| schema.remove("description"));
    let mut parameter = json!({ "name": name, "in": place, "required": required, "schema": schema });
    if let Some(description) = description {
        parameter["description"] = description;
    }
    if let Some(example) = example {
        parameter["example"] = example;
    }
    parameter
}

/// The first sentence, without its full stop.
fn summary(description: Option<&Value>) -> &str {
    let text = description.and_then(Value::as_str).unwrap_or_default();
    let line = text.lines().next().unwrap_or_default();
    line.split_once(". ").map_or(line, |(first, _)| first).trim_end_matches('.')
}

fn with_scope(description: Option<&Value>, scope: &str, bus: &str) -> String {
    let text = description.and_then(Value::as_str).unwrap_or_default();
    format!("{text}\n\nNeeds the scope `{scope}`. {bus}")
}

fn security(scope: &str) -> Value {
    json!([{ "apiKey": [scope] }, { "token": [scope] }])
}
