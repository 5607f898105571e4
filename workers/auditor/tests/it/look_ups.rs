//! What is looked for in a long log of which the planner knows nothing: in a database that has just begun, no table was
//! analysed yet.

use std::time::Duration;

use omnibus_auditor::settings::ComplianceMode;
use omnibus_schemas::auditor::Receipt;
use omnibus_schemas::greeter::Greet;
use sqlx::Connection as _;

use crate::controls::counts;
use crate::scene::{Scene, eventually};

/// Entries before those that are looked for.
const LONG: usize = 5000;

#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_without_acceptance_and_a_receipt_cost_no_look_at_the_whole_log() {
    let scene = Scene::new().await;
    let running = scene.run_as(ComplianceMode::Watch).await;
    scene.stage.backlog("acme", LONG, |n| Greet { name: n.to_string() }).await;
    scene.grown("acme", LONG as u64).await;
    eventually("the watch has read it", || async { counts(&scene, "acme").await.accepted == LONG as u64 }).await;
    // One by one: each is a batch of its own for the watch.
    for n in 0..12 {
        scene.ended("acme", &format!("o-{n}"), &format!("never-{n}"), "succeeded").await;
        eventually("it is noticed", || async { counts(&scene, "acme").await.unaccounted == n + 1 }).await;
        let receipt = scene.asks("acme", &Receipt { message_id: format!("o-{n}") }).await.unwrap();
        assert_eq!(receipt.entries.len(), 1);
    }
    // A connection's counts are told at the latest when it ends: it is gone only after that.
    running.stop().await;
    scene.stage.db.close().await;
    let told = async {
        loop {
            let mut db = sqlx::PgConnection::connect(&scene.stage.database_url).await.unwrap();
            let (others, read): (i64, i64) = sqlx::query_as(
                "select (select count(*) from pg_stat_activity where datname = current_database()
                        and backend_type = 'client backend' and pid <> pg_backend_pid()),
                    sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::bigint
                 from pg_stat_user_tables where schemaname = 'auditor' and relname like 'entries\\_2%'",
            )
            .fetch_one(&mut db)
            .await
            .unwrap();
            if others == 0 {
                break read;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let read = tokio::time::timeout(Duration::from_secs(120), told).await.expect("the connections end");
    assert!(read > 0, "the counts are told");
    assert!(read < 4 * LONG as i64, "{read} entries were read for 12 outcomes and their receipts");
}
