//! SIGTERM: a roll-out loses and repeats nothing.

use std::time::{Duration, Instant};

use omnibus_runtime::testing::TENANTS;

use super::case::{Case, charge, put};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_roll_out_loses_and_repeats_nothing_and_leaves_nothing_to_the_ack_wait() {
    let ack_wait = Duration::from_secs(120);
    let mut case = Case::with(false, ack_wait).await;
    let mut old = case.begin(None);
    for _ in 0..20 {
        for tenant in TENANTS {
            case.send(tenant, put("")).await;
            case.send(tenant, charge("slow:300", "", false)).await;
        }
    }
    // It is at work, and so it hears what it is asked.
    let first = case.send("acme", put("")).await;
    case.stage.outcome(first).await;
    let started = Instant::now();
    let mut new = case.begin(None);
    let (ended, ()) = tokio::join!(old.terminate(), async {
        for _ in 0..20 {
            for tenant in TENANTS {
                case.send(tenant, put("then")).await;
                case.send(tenant, charge("slow:300", "", false)).await;
            }
        }
    });
    assert!(ended.success(), "{}", old.log());
    let verdict = case.verdict(&new).await;
    assert_eq!(verdict.repeated, 0);
    assert_eq!(verdict.calls, 80);
    assert_eq!(verdict.ended.into_iter().collect::<Vec<_>>(), [("succeeded", 201)]);
    assert!(started.elapsed() < ack_wait / 2, "something was left to the ack wait");
    assert!(new.terminate().await.success(), "{}", new.log());
}
