//! A call that was on its way when its worker died: the provider is asked; where nobody can tell, the command's own wish
//! decides.

use futures_util::future::join_all;

use super::case::{Case, Victim, charge, put};
use crate::scene::{eventually, names};

/// One charge alone, its worker killed at `point`: how it ended, and how often the provider was called.
async fn cut_short(point: &'static str, reconcile: &str, resend: bool) -> (Vec<&'static str>, u64) {
    let mut case = Case::of(Victim::Worker).await;
    case.send("globex", charge("", reconcile, resend)).await;
    let mut life = case.begin(Some(point));
    life.reached().await;
    let life = case.strike(Victim::Worker, life).await;
    let verdict = case.verdict(&life).await;
    (verdict.ended.into_keys().collect(), verdict.calls)
}

async fn both(reconcile: &str, resend: bool) -> [(Vec<&'static str>, u64); 2] {
    let points = ["between_prepare_and_perform", "between_perform_and_record"];
    let ended = join_all(points.map(|point| cut_short(point, reconcile, resend))).await;
    ended.try_into().expect("two points, two ends")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_can_tell_is_called_once() {
    assert_eq!(both("ask", false).await, [(vec!["succeeded"], 1), (vec!["succeeded"], 1)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_can_tell_is_held_and_not_called_again() {
    assert_eq!(both("", false).await, [(vec!["held"], 0), (vec!["held"], 1)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_repeat_is_sent_again() {
    assert_eq!(both("", true).await, [(vec!["succeeded"], 1), (vec!["succeeded"], 2)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_was_frozen_before_its_call_finds_that_another_has_made_it() {
    let mut case = Case::of(Victim::Worker).await;
    let mut frozen = case.begin(Some("between_prepare_and_perform"));
    let id = case.send("acme", charge("", "ask", false)).await;
    frozen.reached().await;
    frozen.freeze();
    let other = case.begin(None);
    // Its lease runs out, another takes the attempt over, finds that nothing happened, and makes the call.
    case.stage.outcome(id).await;
    frozen.thaw();
    frozen.resume().await;
    // It is at work again: it takes its share of what comes, and leaves the call alone.
    let verdict = case.verdict(&other).await;
    assert_eq!((verdict.calls, verdict.repeated), (1, 0));
    assert!(frozen.terminate().await.success(), "{}", frozen.log());
}

/// A charge with something to tell before its call, whose worker stands still while that is on its way to the bus, and
/// goes on, or is killed, once the call is written down. What was told in the end, in its order.
async fn told_late(killed: bool) -> Vec<String> {
    let mut case = Case::of(Victim::Worker).await;
    let mut life = case.begin(Some("between_publishes"));
    let id = case.send("acme", charge("early", "ask", false)).await;
    life.reached().await;
    let closed = "select count(*) from bus.attempts where message_id = $1 and result = 'done'";
    let db = &case.stage.db;
    eventually("the call is made and written down", || async {
        sqlx::query_scalar::<_, i64>(closed).bind(id).fetch_one(db).await.unwrap() == 1
    })
    .await;
    // Unless the sweeper has told all of it by now.
    let told = case.stage.caused_by(id);
    assert_ne!(names(&told).first(), Some(&"charged"), "what it brought waits for what was to be told before");
    let mut life = match killed {
        true => case.strike(Victim::Worker, life).await,
        false => {
            life.resume().await;
            life
        }
    };
    case.stage.outcome(id).await;
    assert!(life.terminate().await.success());
    names(&case.stage.caused_by(id)).into_iter().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_does_not_wait_until_what_comes_before_it_is_told_and_is_told_of_after_that() {
    let (resumed, killed) = tokio::join!(told_late(false), told_late(true));
    assert_eq!(resumed, ["put_done", "charged"]);
    assert_eq!(killed, ["put_done", "charged"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_panic_says_is_not_logged() {
    let mut case = Case::of(Victim::Worker).await;
    let mut life = case.begin(None);
    let id = case.send("acme", put("panic")).await;
    case.stage.outcome(id).await;
    assert!(life.terminate().await.success());
    let log = life.log();
    assert!(log.contains("panicked") && log.contains("shop/puts.rs"), "{log}");
    assert!(!log.contains("told to panic"), "{log}");
}
