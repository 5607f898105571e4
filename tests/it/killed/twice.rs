//! One command, two deaths on its way.

use omnibus_schemas::platform::{CommandPage, Outcome};

use super::case::{Case, Victim, put};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_whose_worker_is_killed_twice_on_its_way_ends_once() {
    let mut case = Case::of(Victim::Worker).await;
    let id = case.send("acme", put("then")).await;
    let mut life = case.begin(Some("after_commit"));
    life.reached().await;
    case.kill(life).await;
    assert!(case.stage.caused_by(id).is_empty(), "it was killed before it could tell");

    // The second life finds it decided, and publishes what the first has left behind.
    let mut life = case.begin(Some("before_ack"));
    life.reached().await;
    assert_eq!(case.stage.outcome(id).await.name, "put_done");
    case.kill(life).await;

    let mut life = case.begin(None);
    let verdict = case.verdict(&life).await;
    assert_eq!(verdict.ended.into_iter().collect::<Vec<_>>(), [("succeeded", 2)]);
    let story = case.stage.ask("shop", "acme", &CommandPage { command_id: id }).await.expect("its page");
    // A machine that stands still for longer than a command is waited for has it delivered once more.
    assert!(story.deliveries >= 3, "each death shows: {story:?}");
    assert_eq!(story.outcome, Some(Outcome::Succeeded), "{story:?}");
    assert!(life.terminate().await.success());
}
