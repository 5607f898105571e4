//! A state change, from the bus to the event.

use omnibus_runtime::trace::TraceParent;
use omnibus_schemas::platform::Outcome;
use omnibus_tests::shop::Count;
use uuid::Uuid;

use crate::scene::{Scene, names, put};

#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_carried_out_once_and_told() {
    let scene = Scene::new().await;
    let running = scene.run().await;
    let id = scene.put("").await;
    let told = scene.stage.outcome(id).await;
    assert_eq!((told.name.as_str(), told.outcome), ("put_done", Some(Outcome::Succeeded)));
    assert_eq!((told.id, told.message_id), (format!("{id}/0"), format!("acme:{id}/0")));
    let id = scene.charge("", "").await;
    let told = scene.stage.outcome(id).await;
    assert_eq!((told.name.as_str(), told.outcome), ("charged", Some(Outcome::Succeeded)));
    let counted = scene.stage.ask("shop", "acme", &Count { thing: "apple".into() }).await.unwrap();
    assert_eq!((counted.put, counted.charged), (1, 1));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_with_nothing_to_say_is_told_as_done() {
    let scene = Scene::new().await;
    let _running = scene.run().await;
    let id = scene.put("nothing").await;
    let told = scene.stage.outcome(id).await;
    assert_eq!((told.name.as_str(), told.outcome), ("command_done", Some(Outcome::Succeeded)));
    assert_eq!(told.data["command_id"], id.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_carries_the_commands_chain() {
    let scene = Scene::new().await;
    let _running = scene.run().await;
    let id = scene.put("").await;
    let told = scene.stage.outcome(id).await;
    assert_eq!(told.header("ce-correlationid"), Some(id.to_string().as_str()));
    assert_eq!(told.header("ce-tenant"), Some("acme"));
    assert_eq!(told.header("ce-actor"), Some("test"));
    assert_eq!(told.header("ce-type"), Some("omnibus.shop.put_done.v1"));
    let stream = scene.stage.operator.jetstream().get_stream("CMD_SHOP").await.unwrap();
    let command = stream.get_raw_message(1).await.unwrap();
    let trace = |header: &str| TraceParent::parse(header).unwrap();
    let (sent, heard) =
        (trace(command.headers.get("traceparent").unwrap().as_str()), trace(told.header("traceparent").unwrap()));
    assert_eq!(heard.trace_id(), sent.trace_id(), "one trace");
    assert_ne!(heard, sent, "and a span of its own");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_and_a_time_out_spend_attempts_until_the_command_is_a_dead_letter() {
    let scene = Scene::new().await;
    for (how, seconds, words) in
        [("panic", None, "the handler panicked"), ("hang", Some(2), "the handler took longer than 2s")]
    {
        let running =
            scene.run_with(|settings| (settings.attempts, settings.timeout_seconds) = (Some(2), seconds)).await;
        let id = scene.put(how).await;
        let told = scene.stage.outcome(id).await;
        assert_eq!(told.outcome, Some(Outcome::DeadLettered));
        assert_eq!((told.data["attempts"].as_u64(), told.data["detail"].as_str()), (Some(2), Some(words)));
        assert_eq!(scene.things(id).await, 0);
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_writes_the_same_ids_and_its_rows_once() {
    let scene = Scene::new().await;
    let _running = scene.run().await;
    let id = scene.put("fail:2").await;
    let told = scene.stage.outcome(id).await;
    assert_eq!((told.outcome, told.id), (Some(Outcome::Succeeded), format!("{id}/0")));
    assert_eq!(scene.things(id).await, 1);
    let page = scene.page("acme", id).await.unwrap();
    assert_eq!((page.retries, page.outcome), (2, Some(Outcome::Succeeded)));
    assert_eq!(page.last_error.as_deref(), Some("told to fail"));
    assert_eq!(scene.stage.caused_by(id).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_business_no_is_final_and_leaves_no_rows() {
    let scene = Scene::new().await;
    let _running = scene.run().await;
    let id = scene.put("reject").await;
    let told = scene.stage.outcome(id).await;
    assert_eq!((told.name.as_str(), told.outcome), ("command_rejected", Some(Outcome::Rejected)));
    assert_eq!(told.data["code"], "no_room");
    assert_eq!(scene.things(id).await, 0);
    assert_eq!(scene.page("acme", id).await.unwrap().retries, 0);
    assert_eq!(names(&scene.stage.caused_by(id)), ["command_rejected"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snooze_spends_nothing() {
    let scene = Scene::new().await;
    let _running = scene.run_with(|settings| settings.attempts = Some(1)).await;
    let id = scene.put("snooze:50").await;
    assert_eq!(scene.stage.outcome(id).await.outcome, Some(Outcome::Succeeded));
    assert_eq!(scene.page("acme", id).await.unwrap().retries, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_fails_spends_an_attempt_even_if_the_handler_swallows_it() {
    let scene = Scene::new().await;
    let _running = scene.run_with(|settings| settings.attempts = Some(1)).await;
    for how in ["database", "swallow"] {
        let id = scene.put(how).await;
        let told = scene.stage.outcome(id).await;
        assert_eq!((told.outcome, told.data["code"].as_str()), (Some(Outcome::DeadLettered), Some("attempts_used_up")));
        assert_eq!(scene.things(id).await, 0, "{how}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadlock_and_a_lost_connection_spend_nothing() {
    let scene = Scene::new().await;
    let _running = scene.run_with(|settings| settings.attempts = Some(1)).await;
    for how in ["deadlock:3", "cut:2"] {
        let id = scene.put(how).await;
        assert_eq!(scene.stage.outcome(id).await.outcome, Some(Outcome::Succeeded), "{how}");
        assert_eq!(scene.page("acme", id).await.unwrap().retries, 0, "{how}");
        assert_eq!(scene.things(id).await, 1, "{how}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_that_collide_go_one_at_a_time_from_then_on() {
    let scene = Scene::new().await;
    let mut ids = Vec::new();
    for n in 0..20 {
        ids.push(scene.put(["locks:1,2", "locks:2,1"][n % 2]).await);
    }
    let running = scene
        .run_with(|settings| {
            settings.attempts = Some(1);
            settings.batch = 1;
            settings.loops = 2;
        })
        .await;
    let mut tries = 0;
    for id in &ids {
        assert_eq!(scene.stage.outcome(*id).await.outcome, Some(Outcome::Succeeded));
        tries += scene.times("locks", *id);
    }
    assert_eq!(tries, ids.len() as u64 + 1, "one collision, and no more");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_collides_although_it_stands_in_line_is_decided_all_the_same() {
    let scene = Scene::new().await;
    let colliding = async || {
        let mut ids = Vec::new();
        for _ in 0..5 {
            ids.push(scene.put("deadlock:1").await);
        }
        ids
    };
    let first = colliding().await;
    let _running = scene
        .run_with(|settings| {
            settings.attempts = Some(1);
            settings.loops = 1;
        })
        .await;
    for id in first {
        assert_eq!(scene.stage.outcome(id).await.outcome, Some(Outcome::Succeeded));
    }
    // While this one is decided, the others come, and make a batch.
    let busy = scene.put("locks:1,2,3,4,5,6,7,8").await;
    for id in colliding().await.into_iter().chain([busy]) {
        assert_eq!(scene.stage.outcome(id).await.outcome, Some(Outcome::Succeeded));
        assert_eq!(scene.things(id).await, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_breaks_the_database_each_time_does_not_hold_up_its_lane() {
    let scene = Scene::new().await;
    let broken = scene.put("broken").await;
    let fine = scene.put("").await;
    let _running = scene.run_with(|settings| settings.attempts = Some(1)).await;
    assert_eq!(scene.stage.outcome(fine).await.outcome, Some(Outcome::Succeeded));
    assert_eq!(scene.stage.outcome(broken).await.outcome, Some(Outcome::DeadLettered));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_command_in_a_batch_does_not_cost_the_others_theirs() {
    let scene = Scene::new().await;
    let mut ids = Vec::new();
    for n in 0..50 {
        ids.push(scene.put(if n == 25 { "fail" } else { "" }).await);
    }
    let _running = scene.run().await;
    for (n, id) in ids.iter().enumerate() {
        let wanted = if n == 25 { Outcome::DeadLettered } else { Outcome::Succeeded };
        assert_eq!(scene.stage.outcome(*id).await.outcome, Some(wanted), "{n}");
        assert_eq!(scene.things(*id).await, i64::from(n != 25), "{n}");
    }
    assert_eq!(scene.count("select count(*) from bus.retries").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_too_large_for_the_bus_is_refused_before_it_is_committed() {
    let scene = Scene::new().await;
    let _running = scene.run().await;
    let id = scene.put("large").await;
    let told = scene.stage.outcome(id).await;
    assert_eq!((told.outcome, told.data["code"].as_str()), (Some(Outcome::Rejected), Some("message_too_large")));
    assert_eq!(scene.things(id).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_name_of_a_command_is_understood() {
    let scene = Scene::new().await;
    let _running = scene.run().await;
    let body = serde_json::to_vec(&put("")).unwrap();
    let map = crate::scene::headers(&[("ce-id", "01979f6e-5a00-7000-8000-00000000000a")]);
    scene.stage.publish_raw("cmd.shop.default.lay.acme", map, body).await;
    let id: Uuid = "01979f6e-5a00-7000-8000-00000000000a".parse().unwrap();
    assert_eq!(scene.stage.outcome(id).await.name, "put_done");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_with_a_zero_byte_in_its_words_is_counted_all_the_same() {
    let scene = Scene::new().await;
    let _running = scene.run().await;
    let id = scene.put("nul").await;
    assert_eq!(scene.stage.outcome(id).await.outcome, Some(Outcome::DeadLettered));
    assert_eq!(scene.page("acme", id).await.unwrap().retries, 3);
}
