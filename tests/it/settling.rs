//! An effect's own rows, when its command ends otherwise than by a record.

use omnibus_runtime::testing::Stage;
use omnibus_schemas::platform::Outcome;
use omnibus_tests::proxy::{Line, Proxy};
use sqlx::postgres::PgPoolOptions;
use uuid::Uuid;

use crate::scene::{Scene, eventually, names};

/// Do so many statements wait for a lock?
fn hanging(least: u8) -> String {
    let waiting = "wait_event_type = 'Lock' and datname = current_database()";
    format!("select (count(*) >= {least})::int::bigint from pg_stat_activity where {waiting}")
}

async fn status(stage: &Stage, id: Uuid) -> String {
    let status = sqlx::query_scalar("select status from shop.charges where command_id = $1").bind(id);
    status.fetch_one(&stage.db).await.unwrap()
}

/// The row is there before its command, and held by the transaction that is returned: `prepare` leaves it as it is, and
/// `settle` has to wait.
async fn locked(scene: &Scene) -> (Uuid, sqlx::Transaction<'_, sqlx::Postgres>) {
    scene.migrate().await;
    let id = omnibus_runtime::clock::new_id();
    scene.sql(&format!("insert into shop.charges values ('acme', 'apple', '{id}', 'queued')")).await;
    let mut lock = scene.stage.db.begin().await.unwrap();
    sqlx::query("select 1 from shop.charges for update").execute(&mut *lock).await.unwrap();
    (id, lock)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_is_not_committed_while_the_database_does_not_let_its_rows_be_settled() {
    let scene = Scene::new().await;
    let (id, lock) = locked(&scene).await;
    let _running = scene.run_with(|settings| settings.timeout_seconds = Some(2)).await;
    scene.repeat_charge(id, "refused", "cannot_tell").await;
    // The first try has run out of its time, and hangs still; the second waits.
    scene.until(&hanging(2), 1).await;
    lock.rollback().await.unwrap();
    assert_eq!(scene.stage.outcome(id).await.outcome, Some(Outcome::Rejected));
    assert_eq!(status(&scene.stage, id).await, "refused");
    assert_eq!(names(&scene.stage.caused_by(id)), ["charge_settled", "command_rejected"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_outlives_a_line_to_the_database_that_is_mute_while_its_rows_are_settled() {
    let scene = Scene::new().await;
    let (id, lock) = locked(&scene).await;
    let (line, url) = Proxy::to_postgres(&scene.stage.database_url).await.unwrap();
    let mut parts = scene.parts("shop").await;
    parts.settings.timeout_seconds = Some(2);
    let parts = omnibus_runtime::Parts { db: PgPoolOptions::new().connect(&url).await.unwrap(), ..parts };
    let (health, stop) = (parts.health.clone(), parts.stop.clone());
    let running = tokio::spawn(scene.worker().run(parts));
    scene.repeat_charge(id, "refused", "cannot_tell").await;
    scene.until(&hanging(1), 1).await;
    line.set(Line::Mute);
    lock.rollback().await.unwrap();
    eventually("it waits for the database", || async { health.missing().contains_key("postgres") }).await;
    line.set(Line::Open);
    assert_eq!(scene.stage.outcome(id).await.outcome, Some(Outcome::Rejected));
    assert_eq!(status(&scene.stage, id).await, "refused");
    assert_eq!(scene.count("select count(*) from bus.attempts where result = 'refused'").await, 1);
    stop.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_that_fails_now_and_then_is_called_again() {
    let scene = Scene::new().await;
    let _running = scene.run().await;
    let id = scene.charge("refused", "unsettled:2").await;
    assert_eq!(scene.stage.outcome(id).await.outcome, Some(Outcome::Rejected));
    assert_eq!(status(&scene.stage, id).await, "refused");
    assert_eq!(names(&scene.stage.caused_by(id)), ["charge_settled", "command_rejected"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_that_always_fails_does_not_keep_its_command_from_ending() {
    let metrics = omnibus_runtime::metrics::recorder();
    let scene = Scene::new().await;
    let _running = scene.run().await;
    let id = scene.charge("refused", "unsettled").await;
    assert_eq!(scene.stage.outcome(id).await.outcome, Some(Outcome::Rejected));
    assert_eq!(status(&scene.stage, id).await, "queued");
    assert_eq!(names(&scene.stage.caused_by(id)), ["command_rejected"]);
    let page = scene.page("acme", id).await.unwrap();
    assert_eq!(page.attempts[0].result.as_deref(), Some("refused"));
    eventually("it is counted", || async { metrics.render().contains("omnibus_unsettled_total") }).await;
}
