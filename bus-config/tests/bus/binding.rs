//! What a worker finds when it binds.

use omnibus_bus::{BindError, Settings, Topology, verify_consumer};
use serde_json::json;
use std::time::Duration;

use crate::server::{Bus, catalogue};

#[tokio::test]
async fn a_worker_verifies_its_consumers_and_learns_which_field_differs() {
    let bus = Bus::provisioned().await;
    let worker = bus.user("echo").await;
    let topology = &bus.topology;
    for spec in [topology.lane("echo", "default"), topology.reacts("echo"), topology.sweeper("echo")] {
        verify_consumer(&worker.js, spec.unwrap()).await.unwrap();
    }
    assert_eq!(topology.reacts("mailer"), None);

    let slower = Settings { ack_wait: Duration::from_secs(60), ..Settings::default() };
    let newer = Topology::of(&catalogue(), &slower);
    let error = verify_consumer(&worker.js, newer.lane("echo", "default").unwrap()).await.unwrap_err();
    assert!(matches!(error, BindError::Different(_)));
    assert_eq!(
        error.to_string(),
        "consumer CMD_ECHO > echo_default: ack_wait: 30000000000 ns (30 s) -> 60000000000 ns (1 min); \
         run `omnibus bus plan`"
    );
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
