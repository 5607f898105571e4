//! The greeter on a real bus and a real database.

use minimal_worker::{Settings, worker};
use omnibus_runtime::testing::Stage;
use omnibus_schemas::Catalogue;
use omnibus_schemas::greeter::{Greet, GreetingCount, Greetings};

#[tokio::test]
async fn each_greeting_counts_once_and_is_told() {
    let stage = Stage::new(Catalogue::omnibus()).await;
    let running = stage.run(worker(Settings {}).unwrap()).await;

    let id = stage.publish("acme", &Greet { name: "Ada".into() }).await;
    let greeted = stage.outcome(id).await;
    assert_eq!(greeted.name, "greeted");
    assert_eq!(greeted.data["greeting_id"], id.to_string());
    assert_eq!(greeted.data["revision"], 1);

    // The same command once more, then another of its kind: one more, not two.
    stage.publish_as(id, "acme", &Greet { name: "Ada".into() }).await;
    let next = stage.publish("acme", &Greet { name: "Ada".into() }).await;
    assert_eq!(stage.outcome(next).await.data["revision"], 2);

    let asked = Greetings { name: "Ada".into() };
    let count = stage.ask("greeter", "acme", &asked).await.unwrap();
    assert_eq!(count, GreetingCount { name: "Ada".into(), count: 2 });
    running.stop().await;
}

#[tokio::test]
async fn a_tenant_counts_by_itself() {
    let stage = Stage::new(Catalogue::omnibus()).await;
    let running = stage.run(worker(Settings {}).unwrap()).await;
    let id = stage.publish("acme", &Greet { name: "Ada".into() }).await;
    stage.outcome(id).await;
    let count = stage.ask("greeter", "globex", &Greetings { name: "Ada".into() }).await.unwrap();
    assert_eq!(count.count, 0);
    running.stop().await;
}

#[tokio::test]
async fn a_name_of_no_length_is_refused_by_field() {
    let stage = Stage::new(Catalogue::omnibus()).await;
    let running = stage.run(worker(Settings {}).unwrap()).await;
    let id = stage.publish("acme", &Greet { name: String::new() }).await;
    let rejected = stage.outcome(id).await;
    assert_eq!(rejected.name, "command_rejected");
    assert_eq!(rejected.data["faults"][0]["pointer"], "/name");
    running.stop().await;
}

#[test]
fn all_of_the_domain_is_handled() {
    assert_eq!(worker(Settings {}).unwrap().unhandled(&Catalogue::omnibus()), [""; 0]);
}
