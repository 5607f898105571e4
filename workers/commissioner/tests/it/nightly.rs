//! What is done by itself.

use omnibus_runtime::testing::Stage;
use omnibus_schemas::Catalogue;
use omnibus_schemas::commissioner::TierThresholds;

use crate::scene::{program, settings};

#[tokio::test]
async fn every_night_ledgers_are_checked_tiers_applied_and_a_missed_run_is_made_up_for() {
    let dir = tempfile::tempdir().unwrap();
    let stage = Stage::new(Catalogue::omnibus()).await;
    let worker = || omnibus_commissioner::worker(settings(dir.path())).unwrap();
    let running = stage.run(worker()).await;
    let rules = program(|p| {
        p.payout_day = 1;
        p.tiers_from = TierThresholds { silver: 1, ..TierThresholds::default() };
    });
    let id = stage.publish("acme", &rules).await;
    stage.outcome(id).await;
    running.stop().await;
    // As if days had passed, and the schedule had been lost.
    for change in [
        "update commissioner.rules set effective_from = effective_from - interval '3 days'",
        "update commissioner.programs set next_run_at = now() - interval '2 days'",
    ] {
        sqlx::query(change).execute(&stage.db).await.unwrap();
    }
    let running = stage.run(worker()).await;
    let checked = stage.event(|told| told.name == "ledger_checked").await;
    assert_eq!((checked.tenant.as_str(), checked.data["differences"].as_i64()), ("acme", Some(0)));
    stage.event(|told| told.name == "tiers_applied").await;
    let ran = stage.event(|told| told.name == "payouts_run").await;
    assert!(ran.data["next_run"].is_string());
    running.stop().await;
    // Another start in the same night does nothing once more.
    let running = stage.run(worker()).await;
    let id = stage.publish("acme", &rules).await;
    stage.outcome(id).await;
    running.stop().await;
    assert_eq!(stage.told().iter().filter(|told| told.name == "payouts_run").count(), 1);
}
