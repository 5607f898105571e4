//! AsyncAPI 3.0: every subject of the bus, who sends on it, who receives, and in which stream it lies.
//!
//! Seen from Omnibus: it receives commands and queries, it sends events and dead letters. Payloads are open here, also
//! those of commands, since workers ignore fields they don't know; only the HTTP door refuses them.
//! The NATS binding knows queues alone, so streams, consumers and lanes stand in `x-` fields.

use serde_json::{Map, Value, json};

use super::components::{Components, reference};
use super::{order, schema};
use crate::catalogue::{Catalogue, CommandEntry, EventEntry, QueryEntry};
use crate::{headers, subject};

/// The document as YAML.
pub fn asyncapi(catalogue: &Catalogue) -> String {
    serde_saphyr::to_string(&order::Ordered(&asyncapi_value(catalogue))).expect("a JSON value is always written")
}

/// The document.
pub fn asyncapi_value(catalogue: &Catalogue) -> Value {
    let mut document = Document::default();
    catalogue.commands().for_each(|command| document.command(command));
    catalogue.events().for_each(|event| document.event(event, &readers(catalogue, event)));
    catalogue.queries().for_each(|query| document.query(query));
    let mut schemas = document.schemas.into_map();
    schemas.values_mut().for_each(as_draft_07);
    schemas.insert("Envelope".into(), envelope());
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Omnibus bus",
            "version": env!("CARGO_PKG_VERSION"),
            "description": DESCRIPTION,
            "license": { "name": "Apache-2.0" },
        },
        "defaultContentType": "application/json",
        "servers": {
            "local": { "host": "127.0.0.1:4222", "protocol": "nats", "description": "As `ops/up` starts it." },
        },
        "channels": document.channels,
        "operations": document.operations,
        "components": {
            "schemas": schemas,
            "messages": document.messages,
            "parameters": {
                "tenant": {
                    "description": "The tenant's id: `[a-z0-9_-]{1,64}`. The last token, so one wildcard is one tenant.",
                    "examples": ["acme"],
                },
            },
        },
    })
}

const DESCRIPTION: &str = "\
Commands ask (`cmd.`), events tell (`evt.`), queries read (`qry.`, request and reply), and what could not be done lies in \
`dlq.`. The envelope is CloudEvents 1.0 in binary mode: attributes are NATS headers, the body is the payload alone, JSON \
or MessagePack by `Content-Type`. A command without any header is understood: tenant from the subject, id from stream \
and sequence, JSON assumed. Readers ignore fields they don't know.";

#[derive(Default)]
struct Document {
    channels: Map<String, Value>,
    operations: Map<String, Value>,
    messages: Map<String, Value>,
    schemas: Components,
}

impl Document {
    fn command(&mut self, command: &CommandEntry) {
        let (domain, name) = (command.domain, command.name);
        let message =
            self.message(domain, name, &command.ce_type(), (command.schema)(), Some((command.example)()), false);
        let stream = subject::command_stream(domain);
        let consumer = subject::lane_consumer(domain, command.lane);
        let queue = format!("cmd_{domain}_{name}");
        self.channel(
            &queue,
            &command.subject("{tenant}"),
            &message,
            json!({
                "x-stream": stream, "x-consumer": consumer, "x-lane": command.lane, "x-scope": command.scope,
            }),
        );
        self.operation("receive", &queue, &message, json!({}));
        let dead = format!("dlq_{domain}_{name}");
        self.channel(
            &dead,
            &subject::dead_letter(domain, name, "{tenant}"),
            &message,
            json!({
                "x-stream": "DLQ",
                "description": "Commands that could not be done, as they came.",
            }),
        );
        self.operation("send", &dead, &message, json!({}));
    }

    fn event(&mut self, event: &EventEntry, readers: &[String]) {
        let (domain, name) = (event.domain, event.name);
        let message = self.message(domain, name, &event.ce_type(), (event.schema)(), Some((event.example)()), true);
        let channel = format!("evt_{domain}_{name}");
        let subject = subject::event(domain, name, "{tenant}");
        self.channel(&channel, &subject, &message, json!({ "x-stream": "EVT", "x-consumers": readers }));
        self.operation("send", &channel, &message, json!({}));
    }

    fn query(&mut self, query: &QueryEntry) {
        let (domain, name) = (query.domain, query.name);
        let request_name = format!("{name}_request");
        let answer_name = format!("{name}_answer");
        let ask = query.subject();
        let request = self.message(domain, &request_name, &ask, (query.schema)(), Some((query.example)()), false);
        let answer = self.message(domain, &answer_name, &ask, (query.answer)(), None, false);
        let (channel, reply) = (format!("qry_{domain}_{name}"), format!("qry_{domain}_{name}_reply"));
        self.channel(&channel, &ask, &request, json!({
            "description": format!("A NATS service; the tenant travels in `{}`, which only the doors may write.", headers::TENANT),
            "x-service": domain, "x-scope": query.scope,
        }));
        self.channels.insert(
            reply.clone(),
            json!({
                "address": null,
                "description": "The requester's reply subject.",
                "messages": { answer.as_str(): { "$ref": format!("#/components/messages/{answer}") } },
            }),
        );
        self.operation(
            "receive",
            &channel,
            &request,
            json!({ "reply": {
                "channel": { "$ref": format!("#/channels/{reply}") },
                "messages": [{ "$ref": format!("#/channels/{reply}/messages/{answer}") }],
            }}),
        );
    }

    /// Adds a message; gives back its key.
    fn message(
        &mut self,
        domain: &str,
        name: &str,
        ce_type: &str,
        schema: schemars::Schema,
        example: Option<Value>,
        sent: bool,
    ) -> String {
        let root = schema::object(&schema);
        let summary = root.get("description").cloned();
        let payload = reference(&self.schemas.add(domain, root));
        let key = format!("{domain}_{name}");
        let mut message = json!({
            "name": ce_type,
            "summary": summary,
            "contentType": "application/json",
            "x-content-types": ["application/json", "application/msgpack"],
            "headers": if sent { said_by_omnibus(ce_type) } else { reference("Envelope") },
            "payload": payload,
        });
        if let Some(example) = example {
            message["examples"] = json!([{ "name": "example", "payload": example }]);
        }
        let before = self.messages.insert(key.clone(), message);
        assert!(before.is_none(), "two contracts are called {key} on the bus");
        key
    }

    fn channel(&mut self, key: &str, address: &str, message: &str, extra: Value) {
        let mut channel = json!({
            "address": address,
            "messages": { message: { "$ref": format!("#/components/messages/{message}") } },
        });
        if address.contains("{tenant}") {
            channel["parameters"] = json!({ "tenant": { "$ref": "#/components/parameters/tenant" } });
        }
        merge(&mut channel, extra);
        self.channels.insert(key.to_owned(), channel);
    }

    fn operation(&mut self, action: &str, channel: &str, message: &str, extra: Value) {
        let mut operation = json!({
            "action": action,
            "channel": { "$ref": format!("#/channels/{channel}") },
            "messages": [{ "$ref": format!("#/channels/{channel}/messages/{message}") }],
        });
        merge(&mut operation, extra);
        self.operations.insert(format!("{action}_{channel}"), operation);
    }
}

fn merge(into: &mut Value, extra: Value) {
    if let (Value::Object(into), Value::Object(extra)) = (into, extra) {
        into.extend(extra);
    }
}

/// The durable consumers of those who act upon an event.
fn readers(catalogue: &Catalogue, event: &EventEntry) -> Vec<String> {
    let acts = |domain: &&crate::Domain| domain.reacts.contains(&(event.domain, event.name));
    catalogue.domains().iter().filter(acts).map(|domain| subject::reacts_consumer(domain.name)).collect()
}

/// Everything the platform sends carries the whole envelope.
fn said_by_omnibus(ce_type: &str) -> Value {
    json!({
        "allOf": [reference("Envelope")],
        "required": [headers::SPEC_VERSION, headers::ID, headers::TYPE, headers::SOURCE, headers::TIME, headers::TENANT],
        "properties": { headers::TYPE: { "const": ce_type } },
    })
}

fn envelope() -> Value {
    let text = |description: &str| json!({ "type": "string", "description": description });
    let mut spec = text("Version of CloudEvents.");
    spec["const"] = "1.0".into();
    let mut time = text("When it was written.");
    time["format"] = "date-time".into();
    let mut outcome = text("On the one terminal event of a command: how it ended.");
    outcome["enum"] = json!(["succeeded", "rejected", "dead_lettered", "held"]);
    let mut content = text("How the body is written; JSON if absent.");
    content["examples"] = json!(["application/json", "application/msgpack"]);
    let mut tenant = text("The tenant. Must equal the subject's last token.");
    tenant["pattern"] = "^[a-z0-9_-]{1,64}$".into();
    json!({
        "type": "object",
        "description": "CloudEvents 1.0 in binary mode, as NATS headers. Header names are case-sensitive.",
        "properties": {
            headers::SPEC_VERSION: spec,
            headers::ID: text("The message's identity: a UUID for commands, `<command id>/<n>` for what a command causes."),
            headers::TYPE: text("`omnibus.<domain>.<name>.v<version>`."),
            headers::SOURCE: text("Who wrote it: `omnibus/ingest`, `omnibus/mailer`."),
            headers::SUBJECT: text("What it is about, if that is one thing."),
            headers::TIME: time,
            headers::TENANT: tenant,
            headers::ACTOR: text("The key, user or part that asked."),
            headers::CORRELATION: text("The id of the first message of the chain."),
            headers::CAUSATION: text("The id of the message that caused this one."),
            headers::OUTCOME: outcome,
            headers::CONTENT_TYPE: content,
            headers::TRACEPARENT: text("W3C Trace Context."),
            headers::MSG_ID: text("The server's duplicate detection; equals `ce-id`."),
        },
    })
}

/// AsyncAPI's own schemas are those of draft 07, where whatever stands beside a `$ref` is ignored.
fn as_draft_07(value: &mut Value) {
    match value {
        Value::Object(map) => {
            if map.len() > 1
                && map.get("$ref").is_some_and(Value::is_string)
                && let Some(to) = map.remove("$ref")
            {
                map.insert("allOf".into(), json!([{ "$ref": to }]));
            }
            map.values_mut().for_each(as_draft_07);
        }
        Value::Array(list) => list.iter_mut().for_each(as_draft_07),
        _ => {}
    }
}
