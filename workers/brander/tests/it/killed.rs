//! `kill -9` of the brander while it switches from one look to another: between the row and the entry that everyone
//! follows, on either side, and around them. Afterwards one process more has made the switch one switch.

use std::path::Path;

use omnibus_brander::{Settings, worker};
use omnibus_runtime::local::Postgres;
use omnibus_runtime::testing::{Life, Stage};
use omnibus_schemas::Catalogue;
use omnibus_schemas::brand::{BUCKET, Brand};
use omnibus_schemas::brander::{ActivateBranding, Look, SetBranding};

/// The brander as a process.
fn begin(stage: &Stage, folder: &Path, point: Option<&str>) -> Life {
    let mut brander = tokio::process::Command::new(env!("CARGO_BIN_EXE_brander"));
    brander.env("LEASE_SECONDS", "1").current_dir(folder);
    Life::begin(brander, stage, "brander", point)
}

/// Version and revision of the look that everyone follows.
async fn followed(stage: &Stage) -> (u32, u64) {
    let store = stage.operator.jetstream().get_key_value(BUCKET).await.unwrap();
    let brand: Brand = serde_json::from_slice(&store.get("acme").await.unwrap().unwrap()).unwrap();
    (brand.face.unwrap().version, brand.revision)
}

async fn booked(stage: &Stage) -> (i32, i64) {
    sqlx::query_as("select active_version, active_revision from brander.tenants where tenant = 'acme'")
        .fetch_one(&stage.db)
        .await
        .unwrap()
}

/// Kills the switch from version 1 to version 2 at a point. Gives back which version was followed, and which booked, then.
async fn killed_at(point: &str) -> (u32, i32) {
    let postgres = Postgres::shared().await.unwrap();
    let catalogue = Catalogue::new(vec![omnibus_schemas::brander::domain()]);
    let stage = Stage::with(catalogue, Life::limits(), postgres).await;
    let running = stage.run(worker(Settings::defaults()).unwrap()).await;
    for name in ["One", "Two"] {
        let id = stage.publish("acme", &SetBranding(Look::plain(name))).await;
        stage.outcome(id).await;
    }
    let id = stage.publish("acme", &ActivateBranding { version: Some(1) }).await;
    stage.outcome(id).await;
    stage.drain().await;
    running.stop().await;

    let id = stage.publish("acme", &ActivateBranding { version: Some(2) }).await;
    let folder = tempfile::tempdir().unwrap();
    begin(&stage, folder.path(), Some(point)).killed_at(point).await;
    let then = (followed(&stage).await.0, booked(&stage).await.0);

    let _second = begin(&stage, folder.path(), None);
    let told = stage.outcome(id).await;
    assert_eq!(told.name, "branding_activated", "{point}: {}", told.data);
    let revision = told.data["revision"].as_u64().unwrap();
    assert_eq!(followed(&stage).await, (2, revision), "{point}: what is followed is what was told");
    assert_eq!(booked(&stage).await, (2, i64::try_from(revision).unwrap()), "{point}: and what is booked");
    let told = stage.caused_by(id).into_iter().filter(|told| told.name == "branding_activated");
    let ids: std::collections::BTreeSet<_> = told.map(|told| told.id).collect();
    assert_eq!(ids.len(), 1, "{point}: one switch is told of once");
    let opened: i64 =
        sqlx::query_scalar("select count(*) from brander.activations").fetch_one(&stage.db).await.unwrap();
    assert_eq!(opened, 2, "{point}: one command is one activation");
    then
}

macro_rules! points {
    ($($test:ident: $point:literal => $then:expr,)*) => { $(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $test() {
            assert_eq!(killed_at($point).await, $then, "followed and booked when it was killed");
        }
    )* };
}

points! {
    a_switch_is_one_switch_when_it_dies_before_the_entry_is_written: "between_prepare_and_perform" => (1, 1),
    a_switch_is_one_switch_when_it_dies_between_its_halves: "between_perform_and_record" => (2, 1),
    a_switch_is_one_switch_when_it_dies_after_both_halves: "after_record" => (2, 2),
}
