//! `kill -9` of the brander while it switches from one look to another: between the row and the entry that everyone
//! follows, on either side, and around them. Afterwards one process more has made the switch one switch.

use std::process::Stdio;
use std::time::Duration;

use omnibus_brander::{Settings, worker};
use omnibus_runtime::local::Postgres;
use omnibus_runtime::testing::Stage;
use omnibus_schemas::Catalogue;
use omnibus_schemas::brand::{BUCKET, Brand};
use omnibus_schemas::brander::{ActivateBranding, Look, SetBranding};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::time::timeout;

/// One life of the brander as a process. Dropped, it is killed.
struct Life {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    _stdin: ChildStdin,
}

impl Life {
    fn begin(stage: &Stage, folder: &std::path::Path, point: Option<&str>) -> Self {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_brander"));
        command
            .env("NATS_URL", stage.nats_url())
            .env("NATS_NKEY_FILE", stage.seed_file("brander"))
            .env("DATABASE_URL", &stage.database_url)
            .env("LEASE_SECONDS", "1")
            .env("REPUBLISH_AFTER_SECONDS", "2")
            .env("LOG_FORMAT", "json")
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        if let Some(point) = point {
            command.env("OMNIBUS_FAILPOINT", point);
        }
        let mut child = command.spawn().expect("the brander's program can be started");
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let _stdin = child.stdin.take().unwrap();
        Life { child, lines, _stdin }
    }

    async fn reached(&mut self, point: &str) {
        let line = timeout(Duration::from_secs(60), self.lines.next_line()).await.expect("the point is reached");
        assert_eq!(line.unwrap().as_deref(), Some(format!("failpoint {point}").as_str()));
    }
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
    // What is killed in flight comes again after a second, and not after thirty.
    let limits = omnibus_bus::Settings { ack_wait: Duration::from_secs(1), ..omnibus_bus::Settings::default() };
    let postgres = Postgres::shared().await.unwrap();
    let catalogue = Catalogue::new(vec![omnibus_schemas::brander::domain()]);
    let stage = Stage::with(catalogue, limits, postgres).await;
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
    let mut life = Life::begin(&stage, folder.path(), Some(point));
    life.reached(point).await;
    life.child.kill().await.unwrap();
    let then = (followed(&stage).await.0, booked(&stage).await.0);

    let _second = Life::begin(&stage, folder.path(), None);
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
