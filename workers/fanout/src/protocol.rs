//! Centrifugo's client protocol, its JSON form: what clients send, and what they are answered.

use std::collections::BTreeMap;

use axum::extract::ws::Utf8Bytes;
use omnibus_runtime::trace::TraceParent;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::codes::{Close, Refusal};

/// One command. An object with nothing in it is the answer to a ping.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Command {
    #[serde(default)]
    pub(crate) id: u32,
    #[serde(flatten)]
    pub(crate) what: Map<String, Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Connect {
    pub(crate) token: String,
    /// The client's own; what is understood of it is `away`.
    pub(crate) data: Value,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Subscribe {
    pub(crate) channel: String,
    pub(crate) recover: bool,
    pub(crate) epoch: String,
    pub(crate) offset: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct OnChannel {
    pub(crate) channel: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Publish {
    pub(crate) channel: String,
    pub(crate) data: Value,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct History {
    pub(crate) channel: String,
    pub(crate) limit: i64,
    pub(crate) since: Option<Since>,
    pub(crate) reverse: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Since {
    pub(crate) offset: u64,
    pub(crate) epoch: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Rpc {
    pub(crate) method: String,
    pub(crate) data: Value,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Refresh {
    pub(crate) token: String,
}

/// A publication inside a reply.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Publication {
    pub(crate) data: Box<RawValue>,
    pub(crate) offset: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tags: Option<Tags>,
}

/// What is said of a publication beside its data.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Tags {
    pub(crate) traceparent: String,
}

/// What a subscription begins with.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Subscribed {
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) recoverable: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) positioned: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) epoch: String,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) offset: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) publications: Vec<Publication>,
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) recovered: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) was_recovering: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn is_false(flag: &bool) -> bool {
    !flag
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The ping.
pub(crate) fn ping() -> Utf8Bytes {
    Utf8Bytes::from_static("{}")
}

/// The reply to command `id`, under the command's own name.
pub(crate) fn reply(id: u32, name: &str, result: &impl Serialize) -> Utf8Bytes {
    #[derive(Serialize)]
    struct Reply<'a, T> {
        id: u32,
        #[serde(flatten)]
        result: BTreeMap<&'a str, &'a T>,
    }
    text(&Reply { id, result: BTreeMap::from([(name, result)]) })
}

/// A no to command `id`.
pub(crate) fn refuse(id: u32, refusal: Refusal) -> Utf8Bytes {
    let Refusal { code, message, temporary } = refusal;
    text(&match temporary {
        true => json!({ "id": id, "error": { "code": code, "message": message, "temporary": true } }),
        false => json!({ "id": id, "error": { "code": code, "message": message } }),
    })
}

/// Something was published. `data` is JSON without a line break. Written once for all who listen.
pub(crate) fn publication(channel: &str, data: &str, offset: Option<u64>, trace: Option<&TraceParent>) -> Utf8Bytes {
    let name = Value::from(channel);
    let offset = offset.map(|offset| format!(r#","offset":{offset}"#)).unwrap_or_default();
    // Hex digits and hyphens: nothing in it has to be escaped.
    let tags = trace.map(|trace| format!(r#","tags":{{"traceparent":"{trace}"}}"#)).unwrap_or_default();
    format!(r#"{{"push":{{"channel":{name},"pub":{{"data":{data}{offset}{tags}}}}}}}"#).into()
}

/// A subscription is over.
pub(crate) fn unsubscribed(channel: &str, why: Close) -> Utf8Bytes {
    let unsubscribe = json!({ "code": why.code, "reason": why.reason });
    text(&json!({ "push": { "channel": channel, "unsubscribe": unsubscribe } }))
}

fn text(value: &impl Serialize) -> Utf8Bytes {
    serde_json::to_string(value).expect("replies have string keys and no failing serializers").into()
}

/// JSON as it may stand in a line: checked, and without line breaks between its parts.
pub(crate) fn one_line(json: &[u8]) -> Option<Box<RawValue>> {
    let raw: &RawValue = serde_json::from_slice(json).ok()?;
    match raw.get().contains(['\n', '\r']) {
        false => Some(raw.to_owned()),
        true => serde_json::value::to_raw_value(&serde_json::from_str::<Value>(raw.get()).ok()?).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_commands_and_pongs_are_told_apart() {
        let command: Command = serde_json::from_str(r#"{"id":3,"subscribe":{"channel":"room:a"}}"#).unwrap();
        assert_eq!((command.id, command.what.keys().map(String::as_str).collect::<Vec<_>>()), (3, vec!["subscribe"]));
        let pong: Command = serde_json::from_str("{}").unwrap();
        assert!(pong.id == 0 && pong.what.is_empty());
    }

    #[test]
    fn a_publication_is_one_line_whatever_its_data() {
        let data = one_line(b"{\"text\":\n \"a\\nb\"}").unwrap();
        let push = publication("room:a", data.get(), Some(7), None);
        assert_eq!(push.as_str(), r#"{"push":{"channel":"room:a","pub":{"data":{"text":"a\nb"},"offset":7}}}"#);
        let trace = TraceParent::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap();
        let push: Value = serde_json::from_str(&publication("room:a", "1", None, Some(&trace))).unwrap();
        let told = json!({ "data": 1, "tags": { "traceparent": trace.as_str() } });
        assert_eq!(push, json!({ "push": { "channel": "room:a", "pub": told } }));
        assert!(one_line(b"{} {}").is_none() && one_line(b"\xff").is_none());
    }
}
