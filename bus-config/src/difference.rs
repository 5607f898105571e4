//! What is there against what should be, field by field, over the fields that a specification states.

use std::fmt;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use crate::spec::ConsumerSpec;

/// One field that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Whose: `stream CMD_MAILER`, `consumer CMD_MAILER > mailer_default`, `bucket keys`.
    pub of: String,
    /// The field's name in the JetStream API.
    pub field: String,
    /// What the server has; null where it has nothing.
    pub actual: Value,
    /// What it should have.
    pub wanted: Value,
    /// Why the server can't change it in place, if it can't.
    pub stuck: Option<&'static str>,
}

impl fmt::Display for Difference {
    /// `stream CMD_MAILER: max_age: 0 (no limit) -> 604800000000000 ns (7 d)`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.of, self.change())
    }
}

impl Difference {
    /// The same without whose it is.
    pub fn change(&self) -> String {
        let (actual, wanted) = (shown(&self.field, &self.actual), shown(&self.field, &self.wanted));
        match self.stuck {
            None => format!("{}: {actual} -> {wanted}", self.field),
            Some(reason) => format!("{}: {actual} -> {wanted} ({reason})", self.field),
        }
    }
}

/// What of `spec` is not so in `actual`, a consumer's `config` as the JetStream API tells it. Empty if nothing.
pub fn consumer_differences(actual: &Value, spec: &ConsumerSpec) -> Vec<Difference> {
    let of = consumer_label(&spec.stream, &spec.durable_name);
    differences(&of, actual, &json_of(spec), stuck_consumer_field)
}

pub(crate) fn consumer_label(stream: &str, name: &str) -> String {
    format!("consumer {stream} > {name}")
}

pub(crate) fn json_of(spec: &impl Serialize) -> Value {
    serde_json::to_value(spec).expect("specifications have string keys and no failing serializers")
}

/// Compares every field of `wanted`, in the order of their names. A field that the server leaves out has its empty value.
pub(crate) fn differences(
    of: &str,
    actual: &Value,
    wanted: &Value,
    stuck: fn(&str, &Value, &Value) -> Option<&'static str>,
) -> Vec<Difference> {
    let nothing = Value::Null;
    let fields = wanted.as_object().into_iter().flatten();
    fields
        .filter_map(|(field, wanted)| {
            let actual = match (field.as_str(), actual.get(field), actual.get("filter_subject")) {
                // Other clients write a single filter into a field of its own.
                ("filter_subjects", None, Some(one)) => Value::Array(vec![one.clone()]),
                (_, there, _) => there.unwrap_or(&nothing).clone(),
            };
            let same = if is_set(field) { sorted(&actual) == sorted(wanted) } else { covers(&actual, wanted) };
            (!same).then(|| Difference {
                of: of.to_owned(),
                field: field.clone(),
                stuck: stuck(field, &actual, wanted),
                actual: stated(actual, wanted),
                wanted: wanted.clone(),
            })
        })
        .collect()
}

/// Of an object, the fields that `wanted` states; anything else as it is.
fn stated(actual: Value, wanted: &Value) -> Value {
    match (actual, wanted) {
        (Value::Object(mut actual), Value::Object(wanted)) => {
            actual.retain(|field, _| wanted.contains_key(field));
            Value::Object(actual)
        }
        (actual, _) => actual,
    }
}

fn is_set(field: &str) -> bool {
    matches!(field, "subjects" | "filter_subjects")
}

fn sorted(list: &Value) -> Vec<&str> {
    let mut words: Vec<_> = list.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    words.sort_unstable();
    words
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(yes) => !yes,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
}

/// Every field stated in `wanted` is so in `actual`; the server may have more (it notes its version in `metadata`).
fn covers(actual: &Value, wanted: &Value) -> bool {
    match (actual, wanted) {
        (Value::Object(actual), Value::Object(wanted)) => {
            wanted.iter().all(|(field, wanted)| covers(actual.get(field).unwrap_or(&Value::Null), wanted))
        }
        (Value::Array(actual), Value::Array(wanted)) => {
            actual.len() == wanted.len() && actual.iter().zip(wanted).all(|(actual, wanted)| covers(actual, wanted))
        }
        _ => actual == wanted || is_empty(actual) && is_empty(wanted),
    }
}

/// What `STREAM.UPDATE` refuses, whatever the rest.
pub(crate) fn stuck_stream_field(field: &str, actual: &Value, wanted: &Value) -> Option<&'static str> {
    let queue = |value: &Value| value == "workqueue";
    match field {
        "retention" if queue(actual) || queue(wanted) => {
            Some("retention can't be changed to or from workqueue; drain the stream, delete it and apply again")
        }
        "storage" => Some("storage can't be changed; back the stream up, delete it, apply and restore"),
        "allow_msg_schedules" if is_empty(wanted) => Some("message schedules can't be switched off"),
        "deny_delete" if is_empty(wanted) => Some("deny_delete can't be taken back"),
        _ => None,
    }
}

/// What a consumer's update refuses, whatever the rest.
pub(crate) fn stuck_consumer_field(field: &str, _: &Value, _: &Value) -> Option<&'static str> {
    matches!(field, "deliver_policy" | "ack_policy" | "replay_policy" | "durable_name").then_some(
        "can't be changed; delete the consumer and apply again: the inbox drops what is then delivered twice",
    )
}

/// For people: the number as the server has it, and what it means.
pub(crate) fn shown(field: &str, value: &Value) -> String {
    let nanoseconds = matches!(field, "max_age" | "duplicate_window" | "ack_wait");
    match value {
        Value::Null if nanoseconds => "0 (no limit)".to_owned(),
        Value::Null => "nothing".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "nothing".to_owned(),
        Value::Array(items) if items.iter().all(Value::is_string) => {
            items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
        }
        Value::Number(number) => match number.as_i64() {
            Some(-1) => "-1 (no limit)".to_owned(),
            Some(0) if field == "max_age" => "0 (no limit)".to_owned(),
            Some(n) if nanoseconds && n > 0 => format!("{n} ns ({})", duration(n.unsigned_abs())),
            Some(n) if field == "max_bytes" && n > 0 => format!("{n} ({})", size(n.unsigned_abs())),
            _ => number.to_string(),
        },
        other => other.to_string(),
    }
}

fn duration(nanoseconds: u64) -> String {
    let seconds = Duration::from_nanos(nanoseconds).as_secs_f64();
    let (unit, name) = [(86_400.0, "d"), (3_600.0, "h"), (60.0, "min")]
        .into_iter()
        .find(|(unit, _)| seconds >= *unit)
        .unwrap_or((1.0, "s"));
    format!("{} {name}", rounded(seconds / unit))
}

fn size(bytes: u64) -> String {
    let (unit, name) = [(1_u64 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")]
        .into_iter()
        .find(|(unit, _)| bytes >= *unit)
        .unwrap_or((1, "bytes"));
    format!("{} {name}", rounded(bytes as f64 / unit as f64))
}

/// At most two decimals, and none that say nothing.
fn rounded(number: f64) -> String {
    let text = format!("{number:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
