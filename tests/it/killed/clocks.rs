//! A worker whose clock is wrong by weeks. Found by the chaos campaign (round 23): such a worker forgot commands that had
//! ended a moment before.

use super::case::{Case, Victim, charge, put};

/// A clock wrong by so many days ends nothing twice, keeps what is to be kept, and harms nobody who comes after.
async fn wrong_by(days: i64) {
    let mut case = Case::of(Victim::Worker).await;
    for tenant in omnibus_runtime::testing::TENANTS {
        for how in ["", "then", "fail", "reject"] {
            case.send(tenant, put(how)).await;
        }
        case.send(tenant, charge("", "ask", false)).await;
    }
    let mut first = case.begin_at(days * 86_400);
    case.verdict(&first).await;
    assert!(first.terminate().await.success(), "{}", first.log());
    // The next one trims when it begins.
    let mut second = case.begin_at(-days * 86_400);
    case.send("acme", put("")).await;
    case.verdict(&second).await;
    assert!(second.terminate().await.success(), "{}", second.log());
    let mut third = case.begin_at(0);
    case.send("globex", put("")).await;
    case.verdict(&third).await;
    assert!(third.terminate().await.success(), "{}", third.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_whose_clock_is_ahead_by_weeks_forgets_nothing() {
    wrong_by(40).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_worker_wrote_whose_clock_is_behind_by_weeks_is_not_forgotten() {
    wrong_by(-40).await;
}
