//! A state change, from the bus to the event.

use omnibus_runtime::testing::Stage;
use omnibus_schemas::platform::Outcome;
use omnibus_tests::shop::{self, Charge, Count, Put};

fn put(how: &str) -> Put {
    Put { thing: "apple".into(), how: how.into() }
}

fn charge(how: &str) -> Charge {
    Charge { how: how.into(), ..omnibus_schemas::Command::example() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_carried_out_once_and_told() {
    let (stage, provider) = (Stage::new(shop::catalogue()).await, tempfile::tempdir().unwrap());
    let running = stage.run(shop::worker(provider.path())).await;
    let id = stage.publish("acme", &put("")).await;
    let told = stage.outcome(id).await;
    assert_eq!((told.name.as_str(), told.outcome), ("put_done", Some(Outcome::Succeeded)));
    let id = stage.publish("acme", &charge("")).await;
    let told = stage.outcome(id).await;
    assert_eq!((told.name.as_str(), told.outcome), ("charged", Some(Outcome::Succeeded)));
    let counted = stage.ask("shop", "acme", &Count { thing: "apple".into() }).await.unwrap();
    assert_eq!((counted.put, counted.charged), (1, 1));
    running.stop().await;
}
