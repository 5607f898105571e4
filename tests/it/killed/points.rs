//! Every victim at every point. A point's three victims die at the same time, each on a stage of its own.

use futures_util::future::join_all;
use omnibus_tests::referee::Verdict;

use super::case::{Case, Victim, put};

async fn killed(victim: Victim, point: &'static str, many: bool) -> Verdict {
    let mut case = Case::of(victim).await;
    case.many = many;
    case.send_everything().await;
    let mut life = case.begin(Some(point));
    assert_eq!(life.reached().await, point);
    let mut life = case.strike(victim, life).await;
    // Who came back, or stayed, takes orders.
    case.send("acme", put("")).await;
    let verdict = case.verdict(&life).await;
    assert!(life.terminate().await.success(), "{victim:?}: {}", life.log());
    // 8 + 2 * 4 puts, 4 of them with a follow-up, 2 * 8 charges, 1 put: what ends otherwise than well is known, except
    // that a charge nobody can tell of may be held.
    let ended = |how| verdict.ended.get(how).copied().unwrap_or_default();
    assert_eq!((ended("rejected"), ended("dead_lettered")), (4, 2), "{victim:?} at {point}");
    assert!(ended("held") >= 2 && ended("succeeded") + ended("held") == 31, "{victim:?} at {point}: {verdict:?}");
    verdict
}

async fn whoever_is_killed(point: &'static str) -> (Verdict, Verdict, Verdict) {
    tokio::join!(
        killed(Victim::Worker, point, false),
        killed(Victim::Nats, point, false),
        killed(Victim::Postgres, point, false)
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_command_ends_once_wherever_a_worker_that_takes_many_at_once_is_killed() {
    for points in [
        &["before_claim", "in_handler", "before_commit"][..],
        &["after_commit", "between_publishes", "before_ack"],
        &["between_prepare_and_perform", "between_perform_and_record", "after_record", "after_next_attempt"],
    ] {
        join_all(points.iter().map(|point| killed(Victim::Worker, *point, true))).await;
    }
}

macro_rules! points {
    ($($test:ident: $point:literal,)*) => { $(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $test() {
            let (worker, nats, postgres) = whoever_is_killed($point).await;
            println!("{}, worker: {worker:?}; nats: {nats:?}; postgres: {postgres:?}", $point);
        }
    )* };
}

points! {
    every_command_ends_once_whoever_is_killed_before_the_claim: "before_claim",
    every_command_ends_once_whoever_is_killed_in_the_handler: "in_handler",
    every_command_ends_once_whoever_is_killed_before_the_commit: "before_commit",
    every_command_ends_once_whoever_is_killed_after_the_commit: "after_commit",
    every_command_ends_once_whoever_is_killed_between_publishes: "between_publishes",
    every_command_ends_once_whoever_is_killed_before_the_ack: "before_ack",
    every_command_ends_once_whoever_is_killed_between_prepare_and_perform: "between_prepare_and_perform",
    every_command_ends_once_whoever_is_killed_between_perform_and_record: "between_perform_and_record",
    every_command_ends_once_whoever_is_killed_after_the_record: "after_record",
    every_command_ends_once_whoever_is_killed_after_a_refusal: "after_refusal",
    every_command_ends_once_whoever_is_killed_after_the_next_attempt_is_opened: "after_next_attempt",
}
