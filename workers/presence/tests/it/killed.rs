//! `kill -9` of the presence worker at every point on a message's way, and on a file's. Afterwards each message stands
//! once in the table, once in the room's log and once on record as an event, and no number of the log is missing or
//! doubled. Nor does a panic cost anything.

use std::collections::BTreeSet;
use std::time::Duration;

use omnibus_presence::Settings;
use omnibus_runtime::local::Postgres;
use omnibus_runtime::testing::{Life, Stage};
use omnibus_schemas::Catalogue;
use omnibus_schemas::presence::FILES;
use tokio::io::AsyncReadExt;
use uuid::Uuid;

use crate::attached::{BYTES, share};
use crate::{Scene, log_of, post};

/// The presence worker as a process.
fn begin(stage: &Stage, point: Option<&str>) -> Life {
    let mut presence = tokio::process::Command::new(env!("CARGO_BIN_EXE_presence"));
    // Small batches, so that many a message is on its way in every state.
    presence.env("LEASE_SECONDS", "1").env("BATCH", "8").current_dir(std::env::temp_dir());
    Life::begin(presence, stage, "presence", point)
}

/// A room with two in it, on a bus for lives that end early.
async fn scene() -> Scene {
    scene_on(Life::limits()).await
}

async fn scene_on(limits: omnibus_bus::Settings) -> Scene {
    let stage = Stage::with(Catalogue::omnibus(), limits, Postgres::shared().await.unwrap()).await;
    let scene = Scene::on(stage, Settings::defaults()).await;
    for user in ["ada", "bob"] {
        scene.join("acme", "lobby", user).await;
    }
    scene
}

/// The same room, and nobody at work.
async fn stage() -> Stage {
    let Scene { stage, _running: running } = scene().await;
    running.stop().await;
    stage
}

/// Says so many things in the room by turns, and one that is to be refused.
async fn say(stage: &Stage, count: usize) -> (Vec<Uuid>, Uuid) {
    let mut said = Vec::new();
    for n in 0..count {
        let user = if n % 2 == 0 { "ada" } else { "bob" };
        said.push(stage.publish("acme", &post("lobby", user, &n.to_string())).await);
    }
    (said, stage.publish("acme", &post("lobby", "eve", "Let me in")).await)
}

/// Waits until all is decided, and looks at it from all sides.
async fn said_once(stage: &Stage, said: &[Uuid], refused: Uuid, what: &str) {
    for id in said {
        let told = stage.outcome(*id).await;
        assert_eq!(told.name, "message_posted", "{what}: {}", told.data);
        let told = stage.caused_by(*id).into_iter().filter(|told| told.name == "message_posted");
        assert_eq!(told.map(|told| told.id).collect::<BTreeSet<_>>().len(), 1, "{what}: {id} is told of once");
    }
    assert_eq!(stage.outcome(refused).await.data["code"], "not_a_member", "{what}");
    let log = log_of(stage, "rooms.room.lobby.acme").await;
    let in_log = log.iter().filter(|entry| entry["type"] == "message");
    let mut in_log: Vec<Uuid> = in_log.map(|entry| entry["message_id"].as_str().unwrap().parse().unwrap()).collect();
    let (mut wanted, count) = (said.to_vec(), i64::try_from(said.len()).unwrap());
    in_log.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(in_log, wanted, "{what}: each stands in the log once");
    let mut revisions: Vec<i64> = log.iter().map(|entry| entry["revision"].as_i64().unwrap()).collect();
    revisions.sort_unstable();
    // Two joins come first.
    assert_eq!(revisions, (1..=count + 2).collect::<Vec<_>>(), "{what}");
    let rows: (i64, i64) = sqlx::query_as(
        "select (select count(*) from presence.messages), (select revision from presence.channels where id = 'lobby')",
    )
    .fetch_one(&stage.db)
    .await
    .unwrap();
    assert_eq!(rows, (count, count + 2), "{what}");
}

async fn killed_at(point: &str) {
    let stage = stage().await;
    let (said, refused) = say(&stage, 20).await;
    begin(&stage, Some(point)).killed_at(point).await;
    let _second = begin(&stage, None);
    said_once(&stage, &said, refused, point).await;
}

macro_rules! points {
    ($($test:ident: $point:literal,)*) => { $(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $test() {
            killed_at($point).await;
        }
    )* };
}

points! {
    a_message_is_said_once_when_the_worker_dies_before_the_claim: "before_claim",
    a_message_is_said_once_when_the_worker_dies_in_the_handler: "in_handler",
    a_message_is_said_once_when_the_worker_dies_before_the_commit: "before_commit",
    a_message_is_said_once_when_the_worker_dies_after_the_commit: "after_commit",
    a_message_is_said_once_when_the_worker_dies_between_publishes: "between_publishes",
    a_message_is_said_once_when_the_worker_dies_before_the_ack: "before_ack",
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_whose_worker_is_killed_again_and_again_loses_and_repeats_nothing() {
    let stage = stage().await;
    let (said, refused) = say(&stage, 160).await;
    for point in ["after_commit:2", "between_publishes:3", "before_commit:2", "before_ack:2"] {
        begin(&stage, Some(point)).killed_at(point).await;
    }
    let _last = begin(&stage, None);
    said_once(&stage, &said, refused, "again and again").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_whose_copy_was_cut_short_is_in_its_room_once_and_whole() {
    for point in ["between_prepare_and_perform", "between_perform_and_record", "after_record"] {
        let scene = scene().await;
        let object = scene.uploaded("acme").await;
        let Scene { stage, _running: running } = scene;
        running.stop().await;
        let file_id = stage.publish("acme", &share("lobby", "ada", object)).await;
        begin(&stage, Some(point)).killed_at(point).await;
        let _second = begin(&stage, None);
        assert_eq!(stage.outcome(file_id).await.name, "file_shared", "{point}");
        let shared: i64 =
            sqlx::query_scalar("select count(*) from presence.files where shared_at is not null and file_id = $1")
                .bind(file_id)
                .fetch_one(&stage.db)
                .await
                .unwrap();
        assert_eq!(shared, 1, "{point}");
        let store = stage.operator.jetstream().get_object_store(FILES).await.unwrap();
        let mut bytes = Vec::new();
        store.get(format!("acme/{file_id}")).await.unwrap().read_to_end(&mut bytes).await.unwrap();
        assert_eq!(bytes, BYTES, "{point}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_panic_after_the_commit_leaves_unanswered_is_asked_for_again() {
    // So long that nothing comes again by itself.
    let limits = omnibus_bus::Settings { ack_wait: Duration::from_secs(3600), ..omnibus_bus::Settings::default() };
    let Scene { stage, _running: running } = scene_on(limits).await;
    running.stop().await;
    let mut said = Vec::new();
    for n in 0..20 {
        said.push(stage.publish("acme", &post("lobby", "ada", &n.to_string())).await);
    }
    let _worker = begin(&stage, Some("before_ack!"));
    for id in said {
        assert_eq!(stage.outcome(id).await.name, "message_posted");
    }
    let answered = async {
        while stage.lane("presence", "default").await != (0, 0) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), answered).await.expect("all is answered");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_can_write_nothing_down_any_more_ends_and_the_next_one_goes_on() {
    let scene = scene().await;
    let object = scene.uploaded("acme").await;
    let Scene { stage, _running: running } = scene;
    running.stop().await;
    let file_id = stage.publish("acme", &share("lobby", "ada", object)).await;
    let ended = begin(&stage, Some("after_record!")).ended().await;
    assert!(!ended.success(), "{ended}");
    let _second = begin(&stage, None);
    assert_eq!(stage.outcome(file_id).await.name, "file_shared");
}
