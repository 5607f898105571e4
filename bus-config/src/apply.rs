//! Reads the bus, compares, and makes the difference. Nothing is ever deleted.

use std::collections::BTreeMap;

use async_nats::jetstream::Context;
use serde_json::Value;

use crate::api::{self, BusError};
use crate::difference::{Difference, consumer_differences, differences, json_of, stuck_stream_field};
use crate::plan::{Action, Change, Item, Plan, Unmanaged};
use crate::spec::{ConsumerSpec, StreamSpec};
use crate::subjects::overlap;
use crate::topology::{MAX_DELIVERIES, Topology};

/// First tokens of what is ours; a stream that captures any of it and that nobody declared is shown.
const OURS: [&str; 4] = ["cmd.>", "evt.>", "dlq.>", "sched.>"];

/// What would have to be done to make the bus `topology`.
///
/// # Errors
/// If the bus can't be read. The connection must be the operator's.
pub async fn plan(js: &Context, topology: &Topology) -> Result<Plan, BusError> {
    let there: BTreeMap<String, Value> = api::streams(js)
        .await?
        .into_iter()
        .filter_map(|info| Some((info["config"]["name"].as_str()?.to_owned(), info)))
        .collect();
    let mut plan = Plan::default();

    let declared = topology.streams.iter().map(|spec| (Item::Stream { name: spec.name.clone() }, spec.clone()));
    let buckets = topology.buckets.iter().map(|spec| (Item::Bucket { name: spec.name.clone() }, spec.stream()));
    let wanted: Vec<(Item, StreamSpec)> = declared.chain(buckets).collect();
    for (item, spec) in &wanted {
        plan.changes.extend(stream_change(item, spec, &there));
    }
    for (name, info) in &there {
        let known = wanted.iter().any(|(_, spec)| &spec.name == name);
        plan.unmanaged.extend((!known).then(|| unmanaged_stream(name, info)).flatten());
    }

    for spec in &topology.streams {
        let consumers = if there.contains_key(&spec.name) { api::consumers(js, &spec.name).await? } else { Vec::new() };
        let ours: Vec<_> = topology.consumers.iter().filter(|consumer| consumer.stream == spec.name).collect();
        plan.changes.extend(ours.iter().filter_map(|spec| consumer_change(spec, &consumers)));
        plan.unmanaged.extend(consumers.iter().filter_map(|info| unmanaged_consumer(&spec.name, info, &ours)));
    }
    Ok(plan)
}

/// Makes the bus `topology` and says what was done. Done twice, the second does nothing.
///
/// # Errors
/// [`BusError::Refused`] if anything can't be changed in place: then nothing at all is changed. Otherwise the first call
/// that failed; what went before it stays, and applying again goes on from there.
pub async fn apply(js: &Context, topology: &Topology) -> Result<Plan, BusError> {
    let plan = plan(js, topology).await?;
    let refused: Vec<_> = plan.refused().map(Change::to_string).collect();
    if !refused.is_empty() {
        return Err(BusError::Refused(refused.join("\n")));
    }
    for change in &plan.changes {
        let (config, is_new) = match &change.action {
            Action::Create { config } => (config, true),
            Action::Update { config, .. } => (config, false),
            Action::Refuse { .. } => continue,
        };
        let name = config["name"].as_str().unwrap_or_default();
        match &change.item {
            Item::Stream { .. } | Item::Bucket { .. } if is_new => api::create_stream(js, name, config).await?,
            Item::Stream { .. } | Item::Bucket { .. } => api::update_stream(js, name, config).await?,
            Item::Consumer { stream, name } => {
                let action = if is_new { "create" } else { "update" };
                api::put_consumer(js, stream, name, config, action).await?;
            }
        }
    }
    Ok(plan)
}

/// In what the bus differs from `topology`; a missing thing is one difference, of the field `exists`. Empty if nothing.
///
/// # Errors
/// If the bus can't be read.
pub async fn check(js: &Context, topology: &Topology) -> Result<Vec<Difference>, BusError> {
    let missing = |item: &Item| {
        vec![Difference {
            of: item.to_string(),
            field: "exists".to_owned(),
            actual: Value::Bool(false),
            wanted: Value::Bool(true),
            stuck: None,
        }]
    };
    let changes = plan(js, topology).await?.changes;
    Ok(changes
        .into_iter()
        .flat_map(|change| match change.action {
            Action::Update { differences, .. } => differences,
            Action::Refuse { differences, .. } if !differences.is_empty() => differences,
            Action::Create { .. } | Action::Refuse { .. } => missing(&change.item),
        })
        .collect())
}

fn stream_change(item: &Item, spec: &StreamSpec, there: &BTreeMap<String, Value>) -> Option<Change> {
    let wanted = json_of(spec);
    let action = match there.get(&spec.name) {
        Some(info) => difference_action(
            &info["config"],
            &wanted,
            differences(&item.to_string(), &info["config"], &wanted, stuck_stream_field),
        )?,
        None => match there.iter().find(|(_, info)| captures_any(info, &spec.subjects)) {
            Some((other, info)) => Action::Refuse {
                differences: Vec::new(),
                reason: format!(
                    "stream {other} already captures {}; take them from it or delete it, then apply again",
                    subjects_of(info, "subjects").join(", ")
                ),
            },
            None => Action::Create { config: wanted },
        },
    };
    Some(Change { item: item.clone(), action })
}

fn consumer_change(spec: &ConsumerSpec, there: &[Value]) -> Option<Change> {
    let item = Item::Consumer { stream: spec.stream.clone(), name: spec.durable_name.clone() };
    let wanted = json_of(spec);
    let action = match there.iter().find(|info| info["name"] == *spec.durable_name) {
        Some(info) => difference_action(&info["config"], &wanted, consumer_differences(&info["config"], spec))?,
        None => Action::Create { config: wanted },
    };
    Some(Change { item, action })
}

/// `None` if nothing differs. An update sends the server's own configuration back with our fields over it, because what
/// an update leaves out falls back to its default.
fn difference_action(actual: &Value, wanted: &Value, differences: Vec<Difference>) -> Option<Action> {
    if differences.is_empty() {
        return None;
    }
    if differences.iter().any(|difference| difference.stuck.is_some()) {
        let fields: Vec<_> = differences.iter().filter(|d| d.stuck.is_some()).map(|d| d.field.as_str()).collect();
        let reason = format!("{} can't be changed in place", fields.join(", "));
        return Some(Action::Refuse { differences, reason });
    }
    let mut config = actual.clone();
    overlay(&mut config, wanted);
    if let Some(fields) = config.as_object_mut() {
        fields.remove("filter_subject");
    }
    Some(Action::Update { differences, config })
}

fn overlay(onto: &mut Value, from: &Value) {
    match (onto, from) {
        (Value::Object(onto), Value::Object(from)) => {
            for (field, value) in from {
                overlay(onto.entry(field.clone()).or_insert(Value::Null), value);
            }
        }
        (onto, from) => *onto = from.clone(),
    }
}

fn subjects_of(info: &Value, field: &str) -> Vec<String> {
    info["config"][field].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn captures_any<S: AsRef<str>>(info: &Value, subjects: &[S]) -> bool {
    subjects_of(info, "subjects").iter().any(|taken| subjects.iter().any(|ours| overlap(taken, ours.as_ref())))
}

fn unmanaged_stream(name: &str, info: &Value) -> Option<Unmanaged> {
    let item = match name.strip_prefix("KV_").or_else(|| name.strip_prefix("OBJ_")) {
        Some(bucket) => Item::Bucket { name: bucket.to_owned() },
        None => Item::Stream { name: name.to_owned() },
    };
    let ours = captures_any(info, &OURS) || captures_any(info, &[format!("{MAX_DELIVERIES}.>")]);
    (ours || matches!(item, Item::Bucket { .. })).then(|| Unmanaged {
        item,
        subjects: subjects_of(info, "subjects"),
        messages: info["state"]["messages"].as_u64().unwrap_or_default(),
    })
}

/// Only durable ones: those that watches and tails make come and go.
fn unmanaged_consumer(stream: &str, info: &Value, ours: &[&ConsumerSpec]) -> Option<Unmanaged> {
    // The server makes those of sources by itself.
    let name = info["config"]["durable_name"].as_str().filter(|name| !name.starts_with("JS_SRC_"))?;
    if ours.iter().any(|spec| spec.durable_name == name) {
        return None;
    }
    let mut subjects = subjects_of(info, "filter_subjects");
    subjects.extend(info["config"]["filter_subject"].as_str().map(str::to_owned));
    Some(Unmanaged {
        item: Item::Consumer { stream: stream.to_owned(), name: name.to_owned() },
        subjects,
        messages: info["num_pending"].as_u64().unwrap_or_default(),
    })
}
