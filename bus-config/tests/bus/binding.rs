//! What a worker finds when it binds.

use omnibus_bus::{BindError, Bound, verify_consumer};
use serde_json::json;
use std::time::Duration;

use crate::server::Bus;

#[tokio::test]
async fn a_worker_verifies_its_consumers_and_learns_which_field_differs() {
    let bus = Bus::provisioned().await;
    let worker = bus.user("echo").await;
    let topology = &bus.topology;
    for spec in [topology.lane("echo", "default"), topology.reacts("echo"), topology.sweeper("echo")] {
        verify_consumer(&worker.js, spec.unwrap()).await.unwrap();
    }
    assert_eq!(topology.reacts("greeter"), None);

    let mut elsewhere = topology.lane("echo", "default").unwrap().clone();
    elsewhere.filter_subjects = vec!["cmd.echo.other.>".to_owned()];
    let error = verify_consumer(&worker.js, &elsewhere).await.unwrap_err();
    assert!(matches!(error, BindError::Different(_)));
    assert_eq!(
        error.to_string(),
        "consumer CMD_ECHO > echo_default: filter_subjects: cmd.echo.default.> -> cmd.echo.other.>; \
         run `omnibus bus plan`"
    );
}

#[tokio::test]
async fn a_different_filter_is_named_and_a_longer_ack_wait_is_an_operators_choice() {
    let bus = Bus::provisioned().await;
    let (operator, worker) = (bus.user("operator").await, bus.user("echo").await);
    let spec = bus.topology.lane("echo", "default").unwrap();
    let chosen = |ack_wait: u64, max_deliver: i64| {
        let mut config = serde_json::to_value(spec).unwrap();
        config["ack_wait"] = json!(Duration::from_millis(ack_wait).as_nanos() as u64);
        config["max_deliver"] = json!(max_deliver);
        config["max_ack_pending"] = json!(77);
        json!({ "stream_name": "CMD_ECHO", "config": config, "action": "update" })
    };

    operator.api("CONSUMER.CREATE.CMD_ECHO.echo_default", chosen(60_000, -1)).await;
    let bound = verify_consumer(&worker.js, spec).await.unwrap();
    assert_eq!(bound, Bound { ack_wait: Duration::from_secs(60), max_deliver: None });

    operator.api("CONSUMER.CREATE.CMD_ECHO.echo_default", chosen(500, 20)).await;
    let error = verify_consumer(&worker.js, spec).await.unwrap_err().to_string();
    assert!(error.contains("echo_default: ack_wait: 500000000 ns (0.5 s) -> 30000000000 ns (30 s)"), "{error}");
    assert!(error.contains("echo_default: max_deliver: 20 -> 1000"), "{error}");
}

#[tokio::test]
async fn a_worker_whose_consumer_is_gone_is_told_so() {
    let bus = Bus::provisioned().await;
    let operator = bus.user("operator").await;
    operator.api("CONSUMER.DELETE.CMD_ECHO.echo_default", json!({})).await;
    let worker = bus.user("echo").await;
    let error = verify_consumer(&worker.js, bus.topology.lane("echo", "default").unwrap()).await.unwrap_err();
    assert_eq!(error.to_string(), "consumer CMD_ECHO > echo_default is missing; run `omnibus bus apply`");
}
