//! Handlers that take many commands at once: each command has what it would have alone.

use std::time::Instant;

use omnibus_schemas::platform::Outcome;
use uuid::Uuid;

use crate::scene::{Scene, names, put};

/// How often the handler was called with so many commands, whichever was the first.
fn calls_with(scene: &Scene, many: usize) -> usize {
    let prefix = format!("many-{many}-");
    let entries = std::fs::read_dir(scene.provider.path()).unwrap().flatten();
    let files = entries.filter(|entry| entry.file_name().to_str().is_some_and(|name| name.starts_with(&prefix)));
    files.map(|file| file.metadata().unwrap().len() as usize).sum()
}

/// Forty puts, one of them `how`; returns its id and the others'.
async fn among_others(scene: &Scene, how: &str) -> (Uuid, Vec<Uuid>) {
    let (mut odd, mut others) = (Uuid::nil(), Vec::new());
    for n in 0..40 {
        match n {
            17 => odd = scene.put(how).await,
            n => others.push(scene.stage.publish(["acme", "globex"][n % 2], &put("")).await),
        }
    }
    (odd, others)
}

async fn all_well(scene: &Scene, others: &[Uuid]) {
    for id in others {
        let told = scene.stage.outcome(*id).await;
        assert_eq!((told.name.as_str(), told.outcome), ("put_done", Some(Outcome::Succeeded)));
        assert_eq!((told.id, scene.things(*id).await), (format!("{id}/0"), 1));
        assert_eq!(scene.stage.caused_by(*id).len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_a_batch_holds_are_handled_in_one_call_and_each_ends_by_itself() {
    let scene = Scene::new().await;
    let (odd, others) = among_others(&scene, "").await;
    let _running = scene.run_many(|settings| settings.loops = 1).await;
    all_well(&scene, &others).await;
    all_well(&scene, &[odd]).await;
    assert_eq!(calls_with(&scene, 40), 1, "one call for all");
    let owners =
        "select count(*) from shop.things t join bus.inbox i on i.tenant = t.tenant and i.message_id = t.command_id";
    assert_eq!(scene.count(owners).await, 40, "every row is its own tenant's");
    assert_eq!(scene.count("select count(*) from bus.inbox where outcome = 'succeeded'").await, 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poisoned_member_costs_the_others_nothing() {
    for (how, outcome, retries) in [
        ("fail", Outcome::DeadLettered, 1),
        ("panic", Outcome::DeadLettered, 1),
        ("hang", Outcome::DeadLettered, 1),
        ("database", Outcome::DeadLettered, 1),
        ("swallow", Outcome::DeadLettered, 1),
        ("whole", Outcome::DeadLettered, 1),
        ("silent", Outcome::DeadLettered, 1),
        ("reject", Outcome::Rejected, 0),
        ("large", Outcome::Rejected, 0),
        ("cut:1", Outcome::Succeeded, 0),
        ("deadlock:1", Outcome::Succeeded, 0),
        ("snooze:10", Outcome::Succeeded, 0),
    ] {
        let scene = Scene::new().await;
        let (odd, others) = among_others(&scene, how).await;
        let running = scene
            .run_many(|settings| {
                (settings.loops, settings.attempts) = (1, Some(1));
                settings.timeout_seconds = (how == "hang").then_some(8);
            })
            .await;
        assert_eq!(scene.stage.outcome(odd).await.outcome, Some(outcome), "{how}");
        all_well(&scene, &others).await;
        assert_eq!(scene.things(odd).await, i64::from(outcome == Outcome::Succeeded), "{how}");
        assert_eq!(scene.count("select count(*) from bus.retries").await, retries, "{how}");
        assert!(calls_with(&scene, 40) >= 1, "{how}: first all at once");
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_told_of_its_command_alone() {
    let scene = Scene::new().await;
    let mut ids = Vec::new();
    for body in [&b"{\"thing\": 7}"[..], b"{\"thing\": \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"}"] {
        let id = omnibus_runtime::clock::new_id();
        let map = crate::scene::headers(&[("ce-id", &id.to_string())]);
        scene.stage.publish_raw("cmd.shop.default.put.acme", map, body).await;
        ids.push(id);
    }
    let (_, others) = among_others(&scene, "").await;
    let _running = scene.run_many(|settings| settings.loops = 1).await;
    let told = scene.stage.outcome(ids[0]).await;
    assert_eq!((told.outcome, told.data["code"].as_str()), (Some(Outcome::DeadLettered), Some("undecodable")));
    let told = scene.stage.outcome(ids[1]).await;
    assert_eq!((told.outcome, told.data["faults"][0]["pointer"].as_str()), (Some(Outcome::Rejected), Some("/thing")));
    all_well(&scene, &others).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_comes_twice_in_one_batch_is_handled_once() {
    let scene = Scene::new().await;
    let id = scene.put("").await;
    for _ in 0..3 {
        let body = serde_json::to_vec(&put("")).unwrap();
        scene
            .stage
            .publish_raw("cmd.shop.default.put.acme", crate::scene::headers(&[("ce-id", &id.to_string())]), body)
            .await;
    }
    let running = scene.run_many(|settings| settings.loops = 1).await;
    assert_eq!(scene.stage.outcome(id).await.outcome, Some(Outcome::Succeeded));
    crate::scene::eventually("all four are acknowledged", || async {
        scene.stage.lane("shop", "default").await == (0, 0)
    })
    .await;
    assert_eq!((scene.things(id).await, calls_with(&scene, 1)), (1, 1));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn follow_ups_rates_and_old_names_are_as_with_one_at_a_time() {
    let scene = Scene::new().await;
    let id = scene.put("then").await;
    let body = serde_json::to_vec(&put("")).unwrap();
    let old = omnibus_runtime::clock::new_id();
    scene
        .stage
        .publish_raw("cmd.shop.default.lay.acme", crate::scene::headers(&[("ce-id", &old.to_string())]), body)
        .await;
    for _ in 0..16 {
        scene.put("").await;
    }
    let began = Instant::now();
    let _running = scene.run_many(|settings| settings.tenant_rate = Some(4.0)).await;
    scene.stage.drain().await;
    scene.stage.outcome(old).await;
    assert!(began.elapsed().as_secs_f64() > 3.0, "nineteen at four a second, with a burst of four");
    scene.until("select count(*) from shop.things", 19).await;
    assert_eq!(names(&scene.stage.caused_by(id)), ["put_done"]);
}
