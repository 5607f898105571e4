//! Effects: calls that leave the platform.

use omnibus_schemas::platform::{HeldCommands, Outcome};
use omnibus_tests::shop::Charge;

use crate::scene::{Scene, charge, eventually, names};

async fn status(scene: &Scene, id: uuid::Uuid) -> String {
    sqlx::query_scalar("select status from shop.charges where command_id = $1")
        .bind(id)
        .fetch_one(&scene.stage.db)
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_made_once_and_recorded() {
    let scene = Scene::new().await;
    let _running = scene.run().await;
    let id = scene.charge("", "").await;
    let told = scene.stage.outcome(id).await;
    assert_eq!((told.name.as_str(), told.data["receipt"].as_str()), ("charged", Some("receipt 1")));
    assert_eq!((scene.times("call", id), status(&scene, id).await.as_str()), (1, "charged"));
    let page = scene.page("acme", id).await.unwrap();
    assert_eq!(page.attempts.len(), 1);
    assert_eq!(page.attempts[0].result.as_deref(), Some("done"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_was_not_done_is_tried_again_until_the_attempts_are_used_up() {
    let scene = Scene::new().await;
    let _running = scene.run().await;
    let (better, never) = (scene.charge("not_done:2", "").await, scene.charge("not_done", "").await);
    assert_eq!(scene.stage.outcome(better).await.outcome, Some(Outcome::Succeeded));
    let results: Vec<_> =
        scene.page("acme", better).await.unwrap().attempts.into_iter().filter_map(|attempt| attempt.result).collect();
    assert_eq!(results, ["not_done", "not_done", "done"]);
    let told = scene.stage.outcome(never).await;
    assert_eq!((told.outcome, told.data["detail"].as_str()), (Some(Outcome::DeadLettered), Some("the line is busy")));
    assert_eq!(scene.page("acme", never).await.unwrap().attempts.len(), 3);
    assert_eq!(status(&scene, never).await, "gave_up");
    let told: Vec<_> = scene.stage.caused_by(never).into_iter().filter(|t| t.subject.starts_with("evt.")).collect();
    assert_eq!(names(&told), ["charge_settled", "command_dead_lettered"]);
    assert_eq!(told[0].data["how"], "gave_up");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_final() {
    let scene = Scene::new().await;
    let _running = scene.run().await;
    let id = scene.charge("refused", "").await;
    let told = scene.stage.outcome(id).await;
    assert_eq!((told.outcome, told.data["code"].as_str()), (Some(Outcome::Rejected), Some("no_funds")));
    assert_eq!(status(&scene, id).await, "refused");
    assert_eq!(names(&scene.stage.caused_by(id)), ["charge_settled", "command_rejected"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_end_is_found_out_from_the_provider() {
    let scene = Scene::new().await;
    let _running = scene.run().await;
    let found = scene.charge("unknown", "ask").await;
    let told = scene.stage.outcome(found).await;
    assert_eq!((told.outcome, told.data["receipt"].as_str()), (Some(Outcome::Succeeded), Some("receipt found")));
    assert_eq!(scene.times("call", found), 1);
    // It did not happen: it is performed again, as often as the policy says.
    let not = scene.charge("unknown_not", "ask").await;
    assert_eq!(scene.stage.outcome(not).await.outcome, Some(Outcome::DeadLettered));
    assert_eq!((scene.times("call", not), scene.times("prepare", not)), (0, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_can_tell_is_held_and_listed_and_never_repeated() {
    let scene = Scene::new().await;
    let _running = scene.run_with(|settings| settings.timeout_seconds = Some(2)).await;
    for how in ["unknown", "hang", "panic"] {
        let id = scene.charge(how, "cannot_tell").await;
        let told = scene.stage.outcome(id).await;
        assert_eq!((told.name.as_str(), told.outcome), ("command_held", Some(Outcome::Held)), "{how}");
        assert_eq!(status(&scene, id).await, "uncertain");
        assert!(scene.times("call", id) <= 1);
        let held = scene.stage.ask("shop", "acme", &HeldCommands { limit: 100 }).await.unwrap().held;
        assert!(held.iter().any(|held| held.command_id == id && held.command == "charge"), "{how}");
        assert!(scene.stage.ask("shop", "globex", &HeldCommands { limit: 100 }).await.unwrap().held.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_repeat_is_sent_again_when_nobody_can_tell() {
    let scene = Scene::new().await;
    let _running = scene.run().await;
    let again = Charge { resend: true, ..charge("unknown", "cannot_tell") };
    let id = scene.stage.publish("acme", &again).await;
    assert_eq!(scene.stage.outcome(id).await.outcome, Some(Outcome::DeadLettered));
    assert_eq!(scene.times("call", id), 3, "as often as the policy says");
    let page = scene.page("acme", id).await.unwrap();
    assert!(page.attempts.iter().all(|attempt| attempt.result.as_deref() == Some("unknown")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_can_not_be_asked_is_asked_again_later() {
    let scene = Scene::new().await;
    let _running = scene.run().await;
    let id = scene.charge("unknown", "away").await;
    scene.until(&format!("select count(*) from bus.attempts where message_id = '{id}' and closed_at is null"), 1).await;
    eventually("the provider was asked", || async { scene.times("asked", id) == 1 }).await;
    // Its message waits; so does the lease. Another message of the same command, after the lease, asks again.
    scene.sql("update bus.attempts set lease_until = now() - interval '1 second'").await;
    scene.repeat_charge(id, "unknown", "away").await;
    let told = scene.stage.outcome(id).await;
    assert_eq!((told.outcome, told.data["receipt"].as_str()), (Some(Outcome::Succeeded), Some("receipt found later")));
    assert_eq!(scene.times("call", id), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_need_not_go_out_does_not_and_an_early_event_comes_before_what_the_call_brought() {
    let scene = Scene::new().await;
    let _running = scene.run().await;
    let skipped = scene.charge("skip", "").await;
    assert_eq!(scene.stage.outcome(skipped).await.name, "command_done");
    assert_eq!((scene.times("call", skipped), scene.page("acme", skipped).await.unwrap().attempts.len()), (0, 0));
    let early = scene.charge("early", "").await;
    assert_eq!(scene.stage.outcome(early).await.name, "charged");
    let caused = scene.stage.caused_by(early);
    assert_eq!(names(&caused), ["put_done", "charged"]);
    assert_eq!((caused[0].id.clone(), caused[0].outcome), (format!("{early}/0"), None));
    assert_eq!((caused[1].id.clone(), caused[1].outcome), (format!("{early}/1"), Some(Outcome::Succeeded)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redelivery_under_a_live_lease_does_not_call() {
    let scene = Scene::new().await;
    let _workers = (scene.run().await, scene.run().await);
    let id = scene.charge("open", "cannot_tell").await;
    eventually("the call is out", || async { scene.times("call", id) == 1 }).await;
    scene.repeat_charge(id, "open", "cannot_tell").await;
    eventually("it came again", || async { scene.stage.lane("shop", "calls").await == (0, 2) }).await;
    scene.answer(id);
    let told = scene.stage.outcome(id).await;
    assert_eq!(told.outcome, Some(Outcome::Succeeded));
    assert_eq!((scene.times("call", id), scene.times("prepare", id)), (1, 1));
    assert_eq!(scene.page("acme", id).await.unwrap().attempts[0].takeovers, 0);
}

/// A call that is out, and stays out, while its lease runs out and a second message of the same command takes it over.
async fn overtaken(scene: &Scene, reconcile: &str) -> uuid::Uuid {
    let id = scene.charge("open", reconcile).await;
    eventually("the call is out", || async { scene.times("call", id) == 1 }).await;
    scene.sql("update bus.attempts set lease_until = now() - interval '1 second'").await;
    scene.repeat_charge(id, "open", reconcile).await;
    scene.until("select count(*) from bus.attempts where takeovers = 1", 1).await;
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_lease_is_taken_over_and_the_first_workers_late_record_ends_what_was_held() {
    let scene = Scene::new().await;
    let _workers = (scene.run().await, scene.run().await);
    let id = overtaken(&scene, "cannot_tell").await;
    assert_eq!(scene.stage.outcome(id).await.outcome, Some(Outcome::Held));
    scene.answer(id);
    let late = scene.stage.event(|t| t.causation == id.to_string() && t.outcome == Some(Outcome::Succeeded)).await;
    assert_eq!(late.name, "charged");
    let page = scene.page("acme", id).await.unwrap();
    assert_eq!((page.outcome, page.attempts[0].takeovers), (Some(Outcome::Succeeded), 1));
    assert_eq!(page.attempts[0].result.as_deref(), Some("done"));
    assert!(page.attempts[0].detail.as_deref().unwrap().contains("reported late"));
    // Nobody has to decide by what was to leave any more.
    scene.until("select count(*) from bus.attempts where plan = ''", 1).await;
    assert_eq!((scene.times("call", id), status(&scene, id).await.as_str()), (1, "charged"));
    assert!(scene.stage.ask("shop", "acme", &HeldCommands { limit: 9 }).await.unwrap().held.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_record_of_an_attempt_that_is_open_still_ends_it() {
    let scene = Scene::new().await;
    let _running = scene.run().await;
    // The provider can't be asked the first time, so the attempt stays open in the second holder's hands.
    let id = overtaken(&scene, "away").await;
    eventually("the provider was asked", || async { scene.times("asked", id) == 1 }).await;
    scene.answer(id);
    let told = scene.stage.outcome(id).await;
    assert_eq!((told.outcome, told.data["receipt"].as_str()), (Some(Outcome::Succeeded), Some("receipt 1")));
    let page = scene.page("acme", id).await.unwrap();
    assert_eq!((page.attempts.len(), page.attempts[0].takeovers), (1, 1));
    assert!(page.attempts[0].detail.as_deref().unwrap().contains("reported late"));
    scene.until("select count(*) from bus.attempts where plan = ''", 1).await;
    assert_eq!(scene.times("call", id), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_record_beside_the_provider_that_says_it_happened_is_one_success() {
    let scene = Scene::new().await;
    let _workers = (scene.run().await, scene.run().await);
    let id = overtaken(&scene, "done").await;
    let told = scene.stage.outcome(id).await;
    assert_eq!(told.data["receipt"], "receipt found");
    scene.answer(id);
    let late = "select count(*) from bus.attempts where detail like '%reported late%'";
    scene.until(late, 1).await;
    let succeeded = scene.stage.caused_by(id).into_iter().filter(|told| told.outcome.is_some()).count();
    assert_eq!((succeeded, scene.times("call", id)), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_fails_is_tried_again_with_its_result_in_hand_and_at_last_held() {
    let scene = Scene::new().await;
    let _running = scene.run().await;
    let id = scene.charge("unrecorded:3", "").await;
    assert_eq!(scene.stage.outcome(id).await.outcome, Some(Outcome::Succeeded));
    assert_eq!((scene.times("call", id), scene.times("record", id)), (1, 4));
    let id = scene.charge("unrecorded", "").await;
    let told = scene.stage.outcome(id).await;
    assert_eq!(told.outcome, Some(Outcome::Held));
    assert!(told.data["detail"].as_str().unwrap().starts_with("the call was done and could not be recorded"));
    assert_eq!(scene.times("call", id), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_is_taken_than_there_is_room_for_and_no_more_is_called_than_may_be() {
    let scene = Scene::new().await;
    let mut ids = Vec::new();
    for _ in 0..20 {
        ids.push(scene.charge("open", "").await);
    }
    let _running = scene.run_with(|settings| settings.in_flight = 2).await;
    let reached = |what: &str| ids.iter().filter(|id| scene.times(what, **id) == 1).count();
    // Besides the two that are called, twice as many are prepared. What there is no room for stays in the stream.
    eventually("there is no room", || async {
        scene.stage.lane("shop", "calls").await == (14, 6) && (reached("prepare"), reached("call")) == (6, 2)
    })
    .await;
    for id in &ids {
        scene.answer(*id);
    }
    for id in ids {
        assert_eq!(scene.stage.outcome(id).await.outcome, Some(Outcome::Succeeded));
        assert_eq!(scene.times("call", id), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_made_side_by_side() {
    let scene = Scene::new().await;
    let mut ids = Vec::new();
    for _ in 0..30 {
        ids.push(scene.charge("open", "").await);
    }
    let _running = scene.run().await;
    // None comes back before all are out.
    eventually("all are out", || async { ids.iter().all(|id| scene.times("call", *id) == 1) }).await;
    for id in &ids {
        scene.answer(*id);
    }
    for id in ids {
        assert_eq!(scene.stage.outcome(id).await.outcome, Some(Outcome::Succeeded));
        assert_eq!(scene.times("call", id), 1);
    }
}
