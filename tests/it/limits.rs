//! Over its rate, a tenant waits; nobody else does, and nobody is refused.

use std::time::{Duration, Instant};

use omnibus_schemas::platform::Outcome;

use crate::scene::{Scene, charge, eventually, put};

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_over_its_rate_waits_and_another_does_not() {
    let scene = Scene::new().await;
    let mut acme = Vec::new();
    for _ in 0..14 {
        acme.push(scene.put("").await);
    }
    let globex = scene.stage.publish("globex", &put("")).await;
    let started = Instant::now();
    let _running = scene.run_with(|settings| settings.tenant_rate = Some(5.0)).await;
    let globex = scene.stage.outcome(globex).await;
    let mut last = 0;
    for id in acme {
        let told = scene.stage.outcome(id).await;
        assert_eq!(told.outcome, Some(Outcome::Succeeded));
        last = last.max(told.sequence);
    }
    assert!(globex.sequence < last, "globex, which came last, did not wait for acme");
    assert!(started.elapsed() > Duration::from_millis(1500), "14 at 5 a second, 5 at once: {:?}", started.elapsed());
    assert_eq!(scene.count("select count(*) from bus.retries").await, 0);
    assert_eq!(scene.count("select count(*) from shop.things").await, 15);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_has_a_rate_over_all_tenants() {
    let scene = Scene::new().await;
    let mut ids = Vec::new();
    for n in 0..10 {
        ids.push(scene.stage.publish(["acme", "globex"][n % 2], &charge("", "")).await);
    }
    let started = Instant::now();
    let _running = scene.run_with(|settings| settings.provider_rates = vec![("bank".into(), 4.0)]).await;
    for id in ids {
        assert_eq!(scene.stage.outcome(id).await.outcome, Some(Outcome::Succeeded));
        assert_eq!(scene.times("call", id), 1);
    }
    assert!(started.elapsed() > Duration::from_millis(1200), "10 at 4 a second, 4 at once: {:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_put_off_many_times_waits_in_the_schedule_and_comes_back_as_itself() {
    let scene = Scene::new().await;
    let _running = scene.run_with(|settings| settings.attempts = Some(1)).await;
    // Through the schedule twice: after every twentieth delivery.
    let id = scene.put("snoozes:45").await;
    let told = scene.stage.outcome(id).await;
    assert_eq!((told.outcome, told.id), (Some(Outcome::Succeeded), format!("{id}/0")));
    assert_eq!((scene.times("snooze", id), scene.things(id).await), (46, 1));
    let stream = scene.stage.operator.jetstream().get_stream("CMD_SHOP").await.unwrap();
    assert_eq!(stream.cached_info().state.messages, 3, "the command, and twice out of the schedule");
    assert_eq!(scene.page("acme", id).await.unwrap().retries, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_put_off_for_longer_than_a_month() {
    let scene = Scene::new().await;
    let _running = scene.run().await;
    let began = omnibus_runtime::clock::now();
    let century = 100_u64 * 365 * 24 * 60 * 60 * 1000;
    scene.put(&format!("snooze:{century}")).await;
    let js = scene.stage.operator.jetstream();
    let schedule = js.get_stream("SCHEDULE").await.unwrap();
    eventually("it waits in the schedule", || async { schedule.get_info().await.unwrap().state.messages == 1 }).await;
    let waiting = schedule.get_last_raw_message_by_subject("sched.at.>").await.unwrap();
    let at = waiting.headers.get("Nats-Schedule").unwrap().as_str().strip_prefix("@at ").unwrap().to_owned();
    let wait = chrono::DateTime::parse_from_rfc3339(&at).unwrap().signed_duration_since(began);
    assert!((29..=30).contains(&wait.num_days()), "{at}");
}
