//! A person decides what nobody could tell.

use async_nats::jetstream::stream::Stream;
use omnibus_schemas::platform::{HeldCommands, Outcome, Resolution, ResolveHeld};
use uuid::Uuid;

use crate::scene::{Scene, eventually, names};

async fn held(scene: &Scene) -> Uuid {
    let id = scene.charge("unknown", "cannot_tell").await;
    assert_eq!(scene.stage.outcome(id).await.outcome, Some(Outcome::Held));
    id
}

async fn resolve(scene: &Scene, tenant: &str, command_id: Uuid, resolution: Resolution) -> Uuid {
    let command = ResolveHeld { command_id, resolution, note: "looked it up".into() };
    scene.stage.publish(tenant, &command).await
}

async fn list(scene: &Scene) -> Vec<Uuid> {
    let list = scene.stage.ask("shop", "acme", &HeldCommands { limit: 100 }).await.unwrap();
    list.held.into_iter().map(|held| held.command_id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_a_person_vouches_for_has_succeeded() {
    let scene = Scene::new().await;
    let _running = scene.run().await;
    let id = held(&scene).await;
    let by = resolve(&scene, "acme", id, Resolution::Happened).await;
    assert_eq!(scene.stage.outcome(by).await.outcome, Some(Outcome::Succeeded));
    let told =
        scene.stage.event(|told| told.name == "command_resolved" && told.data["command_id"] == id.to_string()).await;
    assert_eq!((told.outcome, told.data["note"].as_str()), (Some(Outcome::Succeeded), Some("looked it up")));
    let caused = scene.stage.caused_by(id);
    assert_eq!(names(&caused), ["charge_settled", "command_held", "charge_settled", "command_resolved"]);
    let mut ids: Vec<_> = caused.iter().map(|told| &told.id).collect();
    ids.dedup();
    assert_eq!(ids.len(), 4);
    assert_eq!(caused[2].data["how"], "vouched");
    let page = scene.page("acme", id).await.unwrap();
    assert_eq!((page.outcome, page.attempts[0].result.as_deref()), (Some(Outcome::Succeeded), Some("done")));
    assert_eq!((list(&scene).await, scene.times("call", id)), (vec![], 1));
    scene.until("select count(*) from bus.inbox where published_at is null", 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_dropped_is_rejected() {
    let scene = Scene::new().await;
    let _running = scene.run().await;
    let id = held(&scene).await;
    resolve(&scene, "acme", id, Resolution::Drop).await;
    let told = scene.stage.event(|t| t.causation == id.to_string() && t.outcome == Some(Outcome::Rejected)).await;
    assert_eq!((told.name.as_str(), told.data["code"].as_str()), ("command_rejected", Some("dropped")));
    assert_eq!(scene.page("acme", id).await.unwrap().outcome, Some(Outcome::Rejected));
    assert_eq!((list(&scene).await, scene.times("call", id)), (vec![], 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_to_be_performed_goes_out_once_more_and_may_be_held_once_more() {
    let scene = Scene::new().await;
    let _running = scene.run().await;
    let id = held(&scene).await;
    resolve(&scene, "acme", id, Resolution::Perform).await;
    crate::scene::eventually("held again", || async {
        let held = scene.stage.caused_by(id).into_iter().filter(|told| told.outcome == Some(Outcome::Held)).count();
        held == 2
    })
    .await;
    assert_eq!((scene.times("call", id), list(&scene).await), (2, vec![id]));
    resolve(&scene, "acme", id, Resolution::Happened).await;
    scene.stage.event(|t| t.causation == id.to_string() && t.outcome == Some(Outcome::Succeeded)).await;
    let results: Vec<_> =
        scene.page("acme", id).await.unwrap().attempts.into_iter().filter_map(|attempt| attempt.result).collect();
    assert_eq!((results.join(" ").as_str(), list(&scene).await), ("held done", vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_held_not_there_or_another_tenants_is_refused() {
    let scene = Scene::new().await;
    let _running = scene.run().await;
    let (id, done) = (held(&scene).await, scene.charge("", "").await);
    scene.stage.outcome(done).await;
    for (tenant, target, code) in
        [("acme", Uuid::from_u128(5), "not_found"), ("acme", done, "not_held"), ("globex", id, "not_found")]
    {
        let by = resolve(&scene, tenant, target, Resolution::Happened).await;
        let told = scene.stage.outcome(by).await;
        assert_eq!((told.outcome, told.data["code"].as_str()), (Some(Outcome::Rejected), Some(code)), "{tenant}");
    }
    assert_eq!(list(&scene).await, [id]);
    let by = resolve(&scene, "acme", id, Resolution::Happened).await;
    scene.stage.outcome(by).await;
    let twice = resolve(&scene, "acme", id, Resolution::Drop).await;
    assert_eq!(scene.stage.outcome(twice).await.data["code"], "not_held");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_was_trimmed_from_the_bus_can_still_be_decided_but_not_performed() {
    let scene = Scene::new().await;
    let _running = scene.run().await;
    let id = held(&scene).await;
    let stream: Stream = scene.stage.operator.jetstream().get_stream("CMD_SHOP").await.unwrap();
    stream.purge().await.unwrap();
    let by = resolve(&scene, "acme", id, Resolution::Perform).await;
    assert_eq!(scene.stage.outcome(by).await.data["code"], "gone");
    let by = resolve(&scene, "acme", id, Resolution::Happened).await;
    assert_eq!(scene.stage.outcome(by).await.outcome, Some(Outcome::Succeeded));
    assert_eq!(scene.page("acme", id).await.unwrap().outcome, Some(Outcome::Succeeded));
}

#[tokio::test(flavor = "multi_thread")]
async fn that_the_bus_has_the_hold_says_nothing_about_what_a_person_decides_after_it() {
    let scene = Scene::new().await;
    // Whoever is to write down that the hold was told comes to it late.
    for statement in [
        "create sequence refused",
        "create function refuse() returns trigger language plpgsql as
         $$ begin perform nextval('refused'); raise exception 'not now'; end $$",
        "create trigger refuse before update of published_at on bus.inbox for each row
         when (old.outcome = 'held' and new.outcome = 'held') execute function refuse()",
    ] {
        scene.sql(statement).await;
    }
    let running = scene.run_with(|settings| settings.republish_after_seconds = 600).await;
    let id = held(&scene).await;
    scene.until("select is_called::int::bigint from refused", 1).await;
    // What a worker leaves that is killed between the commit of such a decision and its publication.
    let row = format!("message_id = '{id}' and consumer = 'shop_calls'");
    let decided = "outcome = 'succeeded', finished_at = now(), published_at = null";
    assert_eq!(scene.sql(&format!("update bus.inbox set {decided} where {row}")).await, 1);
    // It writes down what it knows when it ends, at the latest.
    running.stop().await;
    let left = format!("select count(*) from bus.inbox where {row} and published_at is null");
    assert_eq!(scene.count(&left).await, 1, "the sweeper can find it");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_bus_lacks_of_a_held_command_goes_before_what_a_person_decides() {
    let scene = Scene::new().await;
    let _running = scene.run().await;
    let id = held(&scene).await;
    // Another, of which nothing was told yet.
    let untold = Uuid::from_u128(7);
    let copied = format!(
        "insert into bus.inbox (consumer, tenant, message_id, name, sequence, deliveries, outcome, messages,
                                received_at, finished_at)
         select consumer, tenant, '{untold}', name, sequence, deliveries, outcome, messages, now(), now()
         from bus.inbox where message_id = '{id}'"
    );
    assert_eq!(scene.sql(&copied).await, 1);
    resolve(&scene, "acme", untold, Resolution::Happened).await;
    let last = format!("{untold}/3");
    scene.stage.event(|told| told.id == last).await;
    let told: Vec<_> = scene.stage.told().into_iter().filter(|told| told.id.starts_with(&untold.to_string())).collect();
    assert_eq!(names(&told), ["charge_settled", "command_held", "charge_settled", "command_resolved"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_ends_a_command_whose_call_may_be_out() {
    let scene = Scene::new().await;
    scene.migrate().await;
    let id = scene.charge("", "cannot_tell").await;
    // A worker is at it: its attempt is open and its lease has long to run.
    scene
        .sql(&format!(
            "with claimed as (insert into bus.inbox (consumer, tenant, message_id, name, sequence, deliveries, received_at)
             values ('shop_calls', 'acme', '{id}', 'charge', 1, 1, now()))
             insert into bus.attempts (consumer, tenant, message_id, number, attempt_id, plan, started_at, lease_until)
             values ('shop_calls', 'acme', '{id}', 1, gen_random_uuid(), '\\x80', now(), now() + interval '1 hour')"
        ))
        .await;
    // A worker of another version, which has no handler for it, would call it unknown and dead.
    let older = omnibus_runtime::Worker::new("shop", ()).build();
    let running = scene.stage.run(older).await;
    let lane = || async { scene.stage.lane("shop", "calls").await };
    eventually("it was delivered", || async { lane().await.0 == 0 }).await;
    let other = scene.put("").await;
    scene.stage.outcome(other).await;
    // Whatever it makes of it, it has made when it has ended.
    running.stop().await;
    let open = format!("select count(*) from bus.inbox where message_id = '{id}' and outcome is null");
    assert_eq!(scene.count(&open).await, 1);
    assert!(scene.stage.caused_by(id).is_empty(), "{:?}", scene.stage.caused_by(id));
}
