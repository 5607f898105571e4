//! The nets under the ordinary course, and the forgetting.

use std::time::Duration;

use async_nats::jetstream::AckKind;
use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::stream::Config;
use futures_util::StreamExt;
use omnibus_bus::Settings;
use omnibus_schemas::platform::Outcome;

use crate::scene::{Scene, eventually};

async fn messages(scene: &Scene) -> u64 {
    scene.stage.operator.jetstream().get_stream("CMD_SHOP").await.unwrap().cached_info().state.messages
}

async fn consumer(scene: &Scene, lane: &str) -> PullConsumer {
    let name = format!("shop_{lane}");
    scene.stage.operator.jetstream().get_consumer_from_stream(name, "CMD_SHOP").await.unwrap()
}

async fn floor(scene: &Scene, lane: &str) -> u64 {
    consumer(scene, lane).await.cached_info().ack_floor.stream_sequence
}

/// What the server's advisories leave to do.
async fn advisories(scene: &Scene) -> u64 {
    let js = scene.stage.operator.jetstream();
    let sweeper: PullConsumer = js.get_consumer_from_stream("shop_sweeper", "ADVISORY").await.unwrap();
    let info = sweeper.cached_info();
    info.num_pending + info.num_ack_pending as u64
}

/// Has a message delivered until the server gives up on it.
async fn wear_out(scene: &Scene, lane: &str, deliveries: usize) {
    let consumer = consumer(scene, lane).await;
    for _ in 0..deliveries {
        let mut one = consumer.batch().max_messages(1).expires(Duration::from_secs(30)).messages().await.unwrap();
        let message = one.next().await.expect("it is delivered").unwrap();
        message.ack_with(AckKind::Nak(None)).await.unwrap();
    }
    let mut none = consumer.fetch().max_messages(1).messages().await.unwrap();
    assert!(none.next().await.is_none(), "the server has given up");
}

/// Makes all rows old, and adds one of a message that no stream has any more. Returns what counts it: when it is gone, the
/// trimmer has been here.
async fn grown_old(scene: &Scene) -> String {
    scene.sql("update bus.inbox set received_at = now() - interval '2 days', published_at = now()").await;
    let copied =
        "insert into bus.inbox (consumer, tenant, message_id, name, sequence, deliveries, outcome, received_at,
                                         finished_at, published_at)
                  select consumer, tenant, gen_random_uuid(), name, 1000, 1, 'succeeded', received_at, now(), now()
                  from bus.inbox limit 1";
    assert_eq!(scene.sql(copied).await, 1);
    "select count(*) from bus.inbox where sequence = 1000".to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_whose_events_never_reached_the_bus_is_published_by_the_sweeper() {
    let metrics = omnibus_runtime::metrics::recorder();
    let short = Settings { duplicate_window: Duration::from_millis(100), ..Settings::default() };
    let scene = Scene::with(short).await;
    let _running = scene.run_with(|settings| settings.republish_after_seconds = 1).await;
    let id = scene.put("").await;
    scene.stage.outcome(id).await;
    scene.until("select count(*) from bus.inbox where published_at is null", 0).await;
    scene.stage.operator.jetstream().get_stream("EVT").await.unwrap().purge().await.unwrap();
    scene.sql("update bus.inbox set published_at = null, finished_at = now() - interval '10 seconds'").await;
    eventually("told again", || async { scene.stage.caused_by(id).len() == 2 }).await;
    let caused = scene.stage.caused_by(id);
    assert_eq!((&caused[0].id, &caused[0].data), (&caused[1].id, &caused[1].data));
    scene.until("select count(*) from bus.inbox where published_at is null", 0).await;
    eventually("it is counted", || async { metrics.render().contains("omnibus_republished_total{domain=\"shop\"}") })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_the_bus_does_not_take_does_not_stand_in_the_way_of_the_others() {
    let short = Settings { duplicate_window: Duration::from_millis(100), ..Settings::default() };
    let scene = Scene::with(short).await;
    let running = scene.run().await;
    let (bad, good) = (scene.put("").await, scene.put("").await);
    scene.stage.drain().await;
    running.stop().await;
    // A subject that this worker may not publish on, in place of its own.
    let outbox: Vec<u8> = sqlx::query_scalar("select messages from bus.inbox where message_id = $1")
        .bind(bad)
        .fetch_one(&scene.stage.db)
        .await
        .unwrap();
    let at = outbox.windows(9).position(|part| part == b"evt.shop.").unwrap();
    let mut foreign = outbox.clone();
    foreign[at..at + 9].copy_from_slice(b"evt.hops.");
    sqlx::query("update bus.inbox set messages = $1 where message_id = $2")
        .bind(foreign)
        .bind(bad)
        .execute(&scene.stage.db)
        .await
        .unwrap();
    scene.sql("update bus.inbox set published_at = null, finished_at = now() - interval '10 seconds'").await;
    let _running = scene.run_with(|settings| settings.republish_after_seconds = 1).await;
    let good = format!("select count(*) from bus.inbox where message_id = '{good}' and published_at is not null");
    scene.until(&good, 1).await;
    assert_eq!(scene.count("select count(*) from bus.inbox where published_at is null").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_gave_up_on_is_a_dead_letter_once_and_pins_nothing() {
    let few = Settings { max_deliver: 100, ..Settings::default() };
    let scene = Scene::with(few).await;
    let id = scene.put("").await;
    wear_out(&scene, "default", 100).await;
    let running = scene.run().await;
    let told = scene.stage.outcome(id).await;
    assert_eq!((told.outcome, told.data["code"].as_str()), (Some(Outcome::DeadLettered), Some("deliveries_used_up")));
    assert_eq!(told.data["attempts"], 100);
    let after = scene.put("").await;
    assert_eq!(scene.stage.outcome(after).await.outcome, Some(Outcome::Succeeded));
    eventually("the ack floor moves on", || async { floor(&scene, "default").await == 2 }).await;
    eventually("the message is gone from its stream", || async { messages(&scene).await == 1 }).await;
    eventually("the advisory is dealt with", || async { advisories(&scene).await == 0 }).await;
    running.stop().await;
    assert_eq!(scene.things(id).await, 0);
    let letters = scene.stage.told().into_iter().filter(|told| told.subject.starts_with("dlq.")).count();
    assert_eq!(letters, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_may_be_out_when_the_server_gives_up_is_held_and_can_still_be_performed() {
    use omnibus_schemas::platform::{Resolution, ResolveHeld};
    let few = Settings { max_deliver: 100, ..Settings::default() };
    let scene = Scene::with(few).await;
    scene.migrate().await;
    let id = scene.charge("", "cannot_tell").await;
    // A worker that claimed it, opened an attempt, and was never seen again.
    scene
        .sql(&format!(
            "with claimed as (insert into bus.inbox (consumer, tenant, message_id, name, sequence, deliveries, received_at)
             values ('shop_calls', 'acme', '{id}', 'charge', 1, 1, now()))
             insert into bus.attempts (consumer, tenant, message_id, number, attempt_id, plan, started_at, lease_until)
             values ('shop_calls', 'acme', '{id}', 1, gen_random_uuid(), '\\x80', now(), now())"
        ))
        .await;
    wear_out(&scene, "calls", 100).await;
    let _running = scene.run().await;
    assert_eq!(scene.stage.outcome(id).await.outcome, Some(Outcome::Held));
    eventually("the ack floor moves on", || async { floor(&scene, "calls").await == 2 }).await;
    let resolve = ResolveHeld { command_id: id, resolution: Resolution::Perform, note: "it did not".into() };
    scene.stage.publish("acme", &resolve).await;
    scene.stage.event(|t| t.causation == id.to_string() && t.outcome == Some(Outcome::Succeeded)).await;
    assert_eq!(scene.times("call", id), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trimmer_purges_what_every_lane_is_through_with_and_nothing_else() {
    let scene = Scene::new().await;
    let forgetful = |settings: &mut omnibus_runtime::settings::WorkSettings| {
        settings.keep_done_days = 0;
        settings.keep_inbox_days = 1;
    };
    let only_default = |settings: &mut omnibus_runtime::settings::WorkSettings| settings.lanes = vec!["default".into()];
    let first = scene.run_with(only_default).await;
    for _ in 0..3 {
        scene.put("").await;
    }
    let waiting = scene.charge("unknown", "cannot_tell").await;
    let last = scene.put("").await;
    scene.stage.outcome(last).await;
    eventually("the lane is through", || async { floor(&scene, "default").await == 5 }).await;
    first.stop().await;
    let marker = grown_old(&scene).await;

    // The other lane has not read its command, so all stays; and the rows of what stays, for it may come again.
    let second = scene
        .run_with(|settings| {
            only_default(settings);
            forgetful(settings);
        })
        .await;
    scene.until(&marker, 0).await;
    second.stop().await;
    assert_eq!((messages(&scene).await, scene.count("select count(*) from bus.inbox").await), (5, 4));

    // Held is not forgotten, however old.
    let third = scene.run().await;
    assert_eq!(scene.stage.outcome(waiting).await.outcome, Some(Outcome::Held));
    scene.until("select count(*) from bus.inbox where published_at is null", 0).await;
    third.stop().await;
    assert_eq!(messages(&scene).await, 5, "nothing that is younger than keep_done goes");
    scene.sql("update bus.inbox set received_at = now() - interval '2 days'").await;
    scene.sql("update bus.attempts set started_at = now() - interval '2 days'").await;
    let _fourth = scene.run_with(forgetful).await;
    eventually("the stream is trimmed", || async { messages(&scene).await == 0 }).await;
    scene.until("select count(*) from bus.inbox", 1).await;
    assert_eq!(scene.count("select count(*) from bus.inbox where outcome = 'held'").await, 1);
    assert_eq!(scene.count("select count(*) from bus.attempts").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_deleted_consumer_had_not_read_is_not_taken_for_done() {
    let scene = Scene::new().await;
    let only_default = |settings: &mut omnibus_runtime::settings::WorkSettings| settings.lanes = vec!["default".into()];
    let first = scene.run_with(only_default).await;
    let id = scene.put("").await;
    scene.charge("", "").await;
    scene.stage.outcome(id).await;
    eventually("the lane is through", || async { floor(&scene, "default").await == 1 }).await;
    first.stop().await;
    let stream = scene.stage.operator.jetstream().get_stream("CMD_SHOP").await.unwrap();
    stream.delete_consumer("shop_calls").await.unwrap();
    let marker = grown_old(&scene).await;
    let _second = scene
        .run_with(|settings| {
            only_default(settings);
            settings.keep_done_days = 0;
            settings.keep_inbox_days = 1;
        })
        .await;
    scene.until(&marker, 0).await;
    assert_eq!(messages(&scene).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_that_nobody_uses_does_not_keep_the_others_from_being_trimmed() {
    let scene = Scene::new().await;
    let first = scene.run().await;
    for _ in 0..3 {
        let id = scene.put("").await;
        scene.stage.outcome(id).await;
    }
    eventually("the lane is through", || async { scene.stage.lane("shop", "default").await == (0, 0) }).await;
    first.stop().await;
    let _second = scene.run_with(|settings| settings.keep_done_days = 0).await;
    eventually("the stream is trimmed", || async { messages(&scene).await == 0 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_runs_full_is_trimmed_before_it_refuses() {
    let scene = Scene::new().await;
    let first = scene.run().await;
    for _ in 0..17 {
        let id = scene.put("").await;
        scene.stage.outcome(id).await;
    }
    eventually("the lane is through", || async { scene.stage.lane("shop", "default").await == (0, 0) }).await;
    first.stop().await;
    // It runs full only now, so that the first has relieved nothing, however long it took.
    let js = scene.stage.operator.jetstream();
    let stream = js.get_stream("CMD_SHOP").await.unwrap();
    js.update_stream(Config { max_messages: 20, ..stream.cached_info().config.clone() }).await.unwrap();
    let _second = scene.run().await;
    eventually("down to half", || async { messages(&scene).await <= 10 }).await;
    assert!(messages(&scene).await >= 9, "and not further");
    assert_eq!(scene.count("select count(*) from bus.inbox").await, 17);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_rows_that_the_bus_does_not_take_than_fit_into_one_sweep_hide_nothing_behind_them() {
    let short = Settings { duplicate_window: Duration::from_millis(100), ..Settings::default() };
    let scene = Scene::with(short).await;
    let running = scene.run().await;
    let (bad, good) = (scene.put("").await, scene.put("").await);
    scene.stage.drain().await;
    running.stop().await;
    // 450 rows, received before the good one, whose events go where this worker may not publish.
    scene
        .sql(&format!(
            "update bus.inbox set messages = overlay(messages placing 'evt.hops.'::bytea
                 from position('evt.shop.'::bytea in messages)) where message_id = '{bad}'"
        ))
        .await;
    scene
        .sql(&format!(
            "insert into bus.inbox (consumer, tenant, message_id, name, sequence, deliveries, received_at, outcome,
                                    messages, finished_at)
             select consumer, tenant, gen_random_uuid(), name, sequence, deliveries, received_at - interval '1 hour',
                    outcome, messages, finished_at
             from bus.inbox, generate_series(1, 450) where message_id = '{bad}'"
        ))
        .await;
    scene.sql("update bus.inbox set published_at = null, finished_at = now() - interval '10 seconds'").await;
    let _running = scene.run_with(|settings| settings.republish_after_seconds = 1).await;
    let good = format!("select count(*) from bus.inbox where message_id = '{good}' and published_at is not null");
    scene.until(&good, 1).await;
    assert_eq!(scene.count("select count(*) from bus.inbox where published_at is null").await, 451);
}
