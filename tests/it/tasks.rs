//! What a worker does beside its lanes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use omnibus_runtime::testing::{PATIENCE, Stage};
use omnibus_tests::gallery::{self, Gallery};

async fn until(mut wanted: impl FnMut() -> bool) {
    let wait = async {
        while !wanted() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("it happens in time");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_fails_or_panics_starts_again_and_uses_its_buckets() {
    let (stage, gallery) = (Stage::new(gallery::catalogue()).await, Arc::new(Gallery::default()));
    let _running = stage.run(gallery::worker(&gallery)).await;
    let told = stage.event(|told| told.name == "noted").await;
    assert_eq!((&told.data["words"], gallery.clumsy.load(Ordering::SeqCst)), (&"a frame".into(), 3));
    let labels = stage.operator.jetstream().get_key_value("labels").await.unwrap();
    assert_eq!(labels.get("clumsy").await.unwrap().unwrap(), "stands".as_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_all_replicas_one_runs_a_lonely_task_and_another_follows_when_it_stops() {
    let (stage, gallery) = (Stage::new(gallery::catalogue()).await, Arc::new(Gallery::default()));
    let first = stage.run(gallery::worker(&gallery)).await;
    until(|| gallery.lonely.load(Ordering::SeqCst) == 1).await;
    // It asserts that it is alone; were it not, the count would be wrong from then on.
    let second = stage.run(gallery::worker(&gallery)).await;
    let third = stage.run(gallery::worker(&gallery)).await;
    first.stop().await;
    until(|| gallery.lonely.load(Ordering::SeqCst) == 1).await;
    second.stop().await;
    third.stop().await;
    assert_eq!(gallery.lonely.load(Ordering::SeqCst), 0);
}
