//! Effects whose statements are written for many commands at once: each command has what it would have alone.

use omnibus_schemas::platform::Outcome;
use uuid::Uuid;

use crate::scene::{Scene, charge, eventually, names};

/// How often the shop was asked for `what` of several at once, and of how many in all.
fn several(scene: &Scene, what: &str) -> (usize, usize) {
    let entries = std::fs::read_dir(scene.provider.path()).unwrap().flatten();
    let files = entries.filter_map(|entry| {
        let name = entry.file_name().to_str()?.strip_prefix(what)?.strip_prefix("-many-")?.to_owned();
        let many: usize = name.split('-').next()?.parse().ok()?;
        Some((entry.metadata().ok()?.len() as usize, many))
    });
    files.fold((0, 0), |(calls, all), (times, many)| (calls + times, all + times * many))
}

/// Forty charges over two tenants, one of them `how`; returns its id and the others'.
async fn among_others(scene: &Scene, how: &str, reconcile: &str) -> (Uuid, Vec<Uuid>) {
    let (mut odd, mut others) = (Uuid::nil(), Vec::new());
    for n in 0..40 {
        match n {
            17 => odd = scene.charge(how, reconcile).await,
            n => others.push(scene.stage.publish(["acme", "globex"][n % 2], &charge("", "")).await),
        }
    }
    (odd, others)
}

async fn all_well(scene: &Scene, others: &[Uuid]) {
    for id in others {
        let told = scene.stage.outcome(*id).await;
        assert_eq!((told.name.as_str(), told.data["receipt"].as_str()), ("charged", Some("receipt 1")));
        assert_eq!((told.id, scene.times("call", *id)), (format!("{id}/0"), 1));
        assert_eq!(scene.stage.caused_by(*id).len(), 1);
        let charged = "where tenant in ('acme', 'globex') and status = 'charged' and receipt = 'receipt 1'";
        assert_eq!(
            scene.count(&format!("select count(*) from shop.charges {charged} and command_id = '{id}'")).await,
            1
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_surrounds_the_calls_of_a_batch_is_written_in_one_go_and_each_ends_by_itself() {
    let scene = Scene::new().await;
    let (odd, others) = among_others(&scene, "", "").await;
    let running = scene.run_many(|settings| settings.loops = 1).await;
    all_well(&scene, &others).await;
    all_well(&scene, &[odd]).await;
    assert_eq!(several(&scene, "prepare"), (1, 40));
    assert!(several(&scene, "record").0 >= 1, "several came back at once");
    let owners = "select count(*) from bus.inbox i join bus.attempts a using (consumer, tenant, message_id)
                  join shop.charges c on i.tenant = c.tenant and i.message_id = c.command_id
                  where i.outcome = 'succeeded' and a.result = 'done' and a.closed_at is not null and a.plan = ''";
    assert_eq!(scene.count(owners).await, 40, "every row is its own tenant's");
    scene.until("select count(*) from bus.unpublished", 0).await;
    scene.until("select count(*) from bus.inbox where published_at is null", 0).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_one_call_comes_to_costs_the_others_nothing() {
    for (how, reconcile, outcome, calls, told) in [
        ("skip", "", Outcome::Succeeded, 0, &["command_done"][..]),
        ("early", "", Outcome::Succeeded, 1, &["put_done", "charged"]),
        ("refused", "", Outcome::Rejected, 0, &["charge_settled", "command_rejected"]),
        ("not_done:1", "", Outcome::Succeeded, 1, &["charged"]),
        ("unknown", "cannot_tell", Outcome::Held, 1, &["charge_settled", "command_held"]),
        ("unknown", "ask", Outcome::Succeeded, 1, &["charged"]),
        ("unrecorded:2", "", Outcome::Succeeded, 1, &["charged"]),
        ("unrecorded", "", Outcome::Held, 1, &["charge_settled", "command_held"]),
    ] {
        let scene = Scene::new().await;
        let (odd, others) = among_others(&scene, how, reconcile).await;
        let running = scene.run_many(|settings| settings.loops = 1).await;
        assert_eq!(scene.stage.outcome(odd).await.outcome, Some(outcome), "{how}");
        assert_eq!((scene.times("call", odd), names(&scene.stage.caused_by(odd))), (calls, told.to_vec()), "{how}");
        all_well(&scene, &others).await;
        running.stop().await;
        assert_eq!(scene.count("select count(*) from bus.attempts where closed_at is null").await, 0, "{how}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_was_ended_by_somebody_else_meanwhile_is_booked_late_and_the_others_are_recorded() {
    let scene = Scene::new().await;
    let (odd, others) = among_others(&scene, "open", "").await;
    let running = scene.run_many(|settings| settings.loops = 1).await;
    eventually("the call is out", || async { scene.times("call", odd) == 1 }).await;
    // As a worker does that finds the lease run out, and nobody who can tell.
    let held = format!(
        "with taken as (update bus.attempts set attempt_id = gen_random_uuid(), closed_at = now(), result = 'held'
                        where message_id = '{odd}')
         update bus.inbox set outcome = 'held', finished_at = now() where message_id = '{odd}'"
    );
    assert_eq!(scene.sql(&held).await, 1);
    scene.answer(odd);
    assert_eq!(scene.stage.outcome(odd).await.outcome, Some(Outcome::Succeeded));
    all_well(&scene, &others).await;
    let late = "select count(*) from bus.attempts where result = 'done' and detail like '%reported late%'";
    assert_eq!((scene.count(late).await, scene.times("call", odd)), (1, 1));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_row_is_gone_when_it_comes_back_is_recorded_all_the_same() {
    let scene = Scene::new().await;
    let id = scene.charge("open", "").await;
    let running = scene.run_many(|settings| settings.loops = 1).await;
    eventually("the call is out", || async { scene.times("call", id) == 1 }).await;
    // As in a database that took another's place before it had the last of it.
    assert_eq!(scene.sql(&format!("delete from bus.attempts where message_id = '{id}'")).await, 1);
    assert_eq!(scene.sql(&format!("delete from bus.inbox where message_id = '{id}'")).await, 1);
    scene.answer(id);
    assert_eq!(scene.stage.outcome(id).await.outcome, Some(Outcome::Succeeded));
    scene.until("select count(*) from bus.inbox where outcome = 'succeeded'", 1).await;
    assert_eq!((scene.times("call", id), names(&scene.stage.caused_by(id))), (1, vec!["charged"]));
    running.stop().await;
}
