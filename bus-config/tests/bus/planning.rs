//! Plan, apply and check.

use omnibus_bus::{Action, BusError, Settings, Topology, apply, check, plan};
use omnibus_schemas::{Catalogue, mailer};
use serde_json::json;
use std::time::Duration;

use crate::server::{Bus, User, catalogue};

#[tokio::test]
async fn an_empty_bus_is_made_whole_and_a_second_apply_does_nothing() {
    let bus = Bus::bare().await;
    let operator = bus.user("operator").await;
    let expected = bus.topology.streams.len() + bus.topology.buckets.len() + bus.topology.consumers.len();

    let done = apply(&operator.js, &bus.topology).await.unwrap();
    assert_eq!(done.counts(), (expected, 0, 0), "{done}");

    let next = plan(&operator.js, &bus.topology).await.unwrap();
    assert!(next.is_empty() && next.unmanaged.is_empty(), "{next}");
    assert_eq!(next.to_string(), "No changes: the bus is as it should be.");
    assert!(apply(&operator.js, &bus.topology).await.unwrap().is_empty());
    assert_eq!(check(&operator.js, &bus.topology).await.unwrap(), vec![]);
}

async fn update_stream(operator: &User, name: &str, field: &str, value: serde_json::Value) {
    let mut config = operator.api(&format!("STREAM.INFO.{name}"), json!({})).await["config"].take();
    config[field] = value;
    operator.api(&format!("STREAM.UPDATE.{name}"), config).await;
}

#[tokio::test]
async fn drift_is_told_field_by_field_and_taken_back() {
    let bus = Bus::provisioned().await;
    let operator = bus.user("operator").await;
    update_stream(&operator, "CMD_MAILER", "max_age", json!(604_800_000_000_000_u64)).await;
    update_stream(&operator, "EVT", "max_bytes", json!(1 << 20)).await;
    update_stream(&operator, "CMD_MAILER", "sources", json!(null)).await;
    update_stream(&operator, "KV_keys", "max_msgs_per_subject", json!(5)).await;
    let mut lane = operator.api("CONSUMER.INFO.CMD_MAILER.mailer_default", json!({})).await["config"].take();
    lane["ack_wait"] = json!(5_000_000_000_u64);
    lane["filter_subjects"] = json!(["cmd.mailer.other.>"]);
    let body = json!({ "stream_name": "CMD_MAILER", "config": lane, "action": "update" });
    operator.api("CONSUMER.CREATE.CMD_MAILER.mailer_default", body).await;

    let told: Vec<_> = check(&operator.js, &bus.topology).await.unwrap().iter().map(ToString::to_string).collect();
    for line in [
        "stream CMD_MAILER: max_age: 604800000000000 ns (7 d) -> 0 (no limit)",
        "stream EVT: max_bytes: 1048576 (1 MiB) -> 2147483648 (2 GiB)",
        "bucket keys: max_msgs_per_subject: 5 -> 1",
        "consumer CMD_MAILER > mailer_default: ack_wait: 5000000000 ns (5 s) -> 30000000000 ns (30 s)",
        "consumer CMD_MAILER > mailer_default: filter_subjects: cmd.mailer.other.> -> cmd.mailer.default.>",
    ] {
        assert!(told.iter().any(|told| told == line), "{line}\nis not in {told:#?}");
    }
    assert!(told.iter().any(|told| told.starts_with("stream CMD_MAILER: sources: nothing -> ")), "{told:#?}");
    assert_eq!(told.len(), 6, "{told:#?}");
    let json = serde_json::to_value(plan(&operator.js, &bus.topology).await.unwrap()).unwrap();
    assert_eq!(json["changes"][0]["kind"], "stream");
    assert_eq!(json["changes"][0]["name"], "EVT");
    assert_eq!(json["changes"][0]["action"], "update");
    assert_eq!(json["changes"][0]["differences"][0]["wanted"], 2_147_483_648_u64);

    let done = apply(&operator.js, &bus.topology).await.unwrap();
    assert_eq!(done.counts(), (0, 4, 0), "{done}");
    assert!(plan(&operator.js, &bus.topology).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_update_keeps_what_the_operator_set_beside_ours() {
    let bus = Bus::provisioned().await;
    let operator = bus.user("operator").await;
    update_stream(&operator, "EVT", "compression", json!("s2")).await;
    update_stream(&operator, "EVT", "max_bytes", json!(1 << 20)).await;

    apply(&operator.js, &bus.topology).await.unwrap();
    let config = operator.api("STREAM.INFO.EVT", json!({})).await["config"].take();
    assert_eq!((&config["compression"], &config["max_bytes"]), (&json!("s2"), &json!(2_147_483_648_u64)));
}

#[tokio::test]
async fn a_changed_setting_changes_every_stream_and_consumer_it_names() {
    let bus = Bus::provisioned().await;
    let operator = bus.user("operator").await;
    let settings = Settings {
        keep_done: Duration::from_secs(3_600),
        evt_max_age: Duration::from_secs(86_400),
        cmd_max_msgs: Some(10),
        max_deliver: 50,
        ..Settings::default()
    };
    let topology = Topology::of(&catalogue(), &settings);
    let done = apply(&operator.js, &topology).await.unwrap();
    // Six command streams and EVT; every lane and every reaction. Sweepers and records never give up, whatever is set.
    let consumers = topology.consumers.iter().filter(|consumer| consumer.max_deliver != -1).count();
    assert_eq!(done.counts(), (0, 7 + consumers, 0), "{done}");
    assert!(plan(&operator.js, &topology).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_the_server_cannot_change_is_refused_and_nothing_is_touched() {
    let bus = Bus::bare().await;
    let operator = bus.user("operator").await;
    let base = json!({ "num_replicas": 1, "discard": "old", "max_bytes": 1 << 20 });
    let with = |more: serde_json::Value| {
        let mut config = base.clone();
        for (field, value) in more.as_object().unwrap() {
            config[field] = value.clone();
        }
        config
    };
    let streams = [
        ("SCHEDULE", json!({ "subjects": ["sched.>"], "retention": "limits", "storage": "file" })),
        ("EVT", json!({ "subjects": ["evt.>"], "retention": "limits", "storage": "memory" })),
        ("CMD_MAILER", json!({ "subjects": ["cmd.mailer.>"], "retention": "workqueue", "storage": "file" })),
        ("DLQ", json!({ "subjects": ["dlq.>"], "retention": "limits", "storage": "file", "deny_delete": true })),
    ];
    for (name, more) in streams {
        let mut config = with(more);
        config["name"] = json!(name);
        operator.api(&format!("STREAM.CREATE.{name}"), config).await;
    }

    let refused = plan(&operator.js, &bus.topology).await.unwrap();
    assert_eq!(refused.counts().2, 4, "{refused}");
    let text = refused.to_string();
    assert!(text.contains("! stream SCHEDULE: retention can't be changed in place"), "{text}");
    assert!(text.contains("storage: memory -> file"), "{text}");

    let error = apply(&operator.js, &bus.topology).await.unwrap_err();
    assert!(matches!(&error, BusError::Refused(list) if list.contains("CMD_MAILER")), "{error}");
    assert_eq!(operator.api("STREAM.NAMES", json!({})).await["total"], 4, "something was made all the same");

    // The server agrees that each of these can't be done.
    for change in refused.refused() {
        let Action::Refuse { differences, .. } = &change.action else { unreachable!("refused") };
        let name = differences[0].of.trim_start_matches("stream ");
        for stuck in differences.iter().filter(|difference| difference.stuck.is_some()) {
            let mut config = operator.api(&format!("STREAM.INFO.{name}"), json!({})).await["config"].take();
            config[&stuck.field] = stuck.wanted.clone();
            let answer: serde_json::Value =
                operator.js.request(format!("STREAM.UPDATE.{name}"), &config).await.unwrap();
            assert!(answer.get("error").is_some(), "the server can: {stuck}");
        }
    }
}

#[tokio::test]
async fn a_consumer_with_another_deliver_policy_is_refused() {
    let bus = Bus::provisioned().await;
    let operator = bus.user("operator").await;
    operator.api("CONSUMER.DELETE.CMD_MAILER.mailer_default", json!({})).await;
    let config = json!({ "durable_name": "mailer_default", "ack_policy": "explicit", "deliver_policy": "new" });
    let body = json!({ "stream_name": "CMD_MAILER", "config": config, "action": "create" });
    operator.api("CONSUMER.CREATE.CMD_MAILER.mailer_default", body).await;

    let plan = plan(&operator.js, &bus.topology).await.unwrap();
    assert_eq!(plan.counts(), (0, 0, 1), "{plan}");
    assert!(plan.to_string().contains("deliver_policy: new -> all"), "{plan}");
}

#[tokio::test]
async fn what_nobody_declared_is_listed_and_left_alone() {
    let bus = Bus::provisioned().await;
    let operator = bus.user("operator").await;
    let stream = json!({ "name": "CMD_OLD", "subjects": ["cmd.old.>"], "storage": "file", "retention": "limits" });
    operator.api("STREAM.CREATE.CMD_OLD", stream).await;
    operator.publish("cmd.old.default.x.acme").await;
    let config = json!({ "durable_name": "spy", "ack_policy": "explicit", "filter_subject": "evt.mailer.>" });
    operator.api("CONSUMER.CREATE.EVT.spy", json!({ "stream_name": "EVT", "config": config })).await;

    let plan = apply(&operator.js, &bus.topology).await.unwrap();
    assert!(plan.is_empty(), "{plan}");
    let text = plan.to_string();
    assert!(text.contains("? stream CMD_OLD (cmd.old.>): messages held: 1"), "{text}");
    assert!(text.contains("? consumer EVT > spy (evt.mailer.>): messages unread: 0"), "{text}");
    operator.api("STREAM.INFO.CMD_OLD", json!({})).await;
    operator.api("CONSUMER.INFO.EVT.spy", json!({})).await;
}

#[tokio::test]
async fn a_stream_in_the_way_is_named() {
    let bus = Bus::bare().await;
    let operator = bus.user("operator").await;
    let stream =
        json!({ "name": "EVERYTHING", "subjects": ["evt.mailer.*.*"], "storage": "file", "retention": "limits" });
    operator.api("STREAM.CREATE.EVERYTHING", stream).await;
    let error = apply(&operator.js, &bus.topology).await.unwrap_err().to_string();
    assert!(error.contains("! stream EVT: stream EVERYTHING already captures evt.mailer.*.*"), "{error}");
}

#[tokio::test]
async fn a_new_domain_adds_only_its_own() {
    let bus = Bus::bare().await;
    let operator = bus.user("operator").await;
    let small = Topology::of(&Catalogue::new(vec![mailer::domain()]), &Settings::default());
    apply(&operator.js, &small).await.unwrap();
    let done = apply(&operator.js, &bus.topology).await.unwrap();
    let names: Vec<_> = done.changes.iter().map(|change| change.item.to_string()).collect();
    assert_eq!(
        names,
        [
            "stream CMD_TEXTER",
            "stream CMD_GREETER",
            "stream CMD_KEEPER",
            "stream CMD_ECHO",
            "stream CMD_RECORDER",
            "bucket shelf",
            "bucket attic",
            "consumer EVT > echo_reacts",
            "consumer EVT > recorder_log",
            "consumer ADVISORY > texter_sweeper",
            "consumer ADVISORY > greeter_sweeper",
            "consumer ADVISORY > keeper_sweeper",
            "consumer ADVISORY > echo_sweeper",
            "consumer ADVISORY > recorder_sweeper",
            "consumer CMD_MAILER > recorder_log",
            "consumer CMD_TEXTER > texter_bulk",
            "consumer CMD_TEXTER > texter_checks",
            "consumer CMD_TEXTER > texter_codes",
            "consumer CMD_TEXTER > texter_default",
            "consumer CMD_TEXTER > texter_fate",
            "consumer CMD_TEXTER > texter_lookups",
            "consumer CMD_TEXTER > recorder_log",
            "consumer CMD_GREETER > greeter_default",
            "consumer CMD_GREETER > recorder_log",
            "consumer CMD_KEEPER > keeper_default",
            "consumer CMD_KEEPER > recorder_log",
            "consumer CMD_ECHO > echo_default",
            "consumer CMD_ECHO > recorder_log",
            "consumer CMD_RECORDER > recorder_default",
            "consumer CMD_RECORDER > recorder_log",
        ]
    );
}
