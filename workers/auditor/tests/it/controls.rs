//! Controls that watch: told once for each change, stale when nobody tells of them any more, as they stood at any time.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use omnibus_auditor::settings::ComplianceMode;
use omnibus_runtime::bus::PublishError;
use omnibus_runtime::clock;
use omnibus_runtime::testing::Told;
use omnibus_schemas::Query;
use omnibus_schemas::auditor::{
    AssessControl, ComplianceReport, ComplianceStatus, ControlStatus, Controls, Framework, LogCounts, LogHead,
    RecordAct, Standing, StatusReport,
};
use serde_json::json;

use crate::scene::{Scene, eventually, headers};

const NOW: ComplianceStatus = ComplianceStatus { framework: None, at: None };

fn told(scene: &Scene, tenant: &str, control: &str) -> Vec<Told> {
    let mut told = scene.stage.told();
    told.retain(|t| t.name == "control_status_changed" && t.tenant == tenant && t.data["control"] == control);
    told
}

async fn becomes(scene: &Scene, tenant: &str, control: &str, status: &str, revision: u64) -> Told {
    scene
        .stage
        .event(|told| {
            (told.name.as_str(), told.tenant.as_str()) == ("control_status_changed", tenant)
                && told.data["control"] == control
                && told.data["status"] == status
                && told.data["revision"] == revision
        })
        .await
}

fn of(report: &StatusReport, control: &str) -> ControlStatus {
    report.controls.iter().find(|c| c.control.as_str() == control).unwrap().clone()
}

pub(crate) async fn counts(scene: &Scene, tenant: &str) -> LogCounts {
    scene.asks(tenant, &ComplianceReport { framework: Framework::Soc2 }).await.unwrap().log
}

/// Waits until the watch has read what the log has now.
async fn watched(scene: &Scene, tenant: &str) {
    let size = scene.size(tenant).await;
    eventually("the watch has read the log", || async { counts(scene, tenant).await.entries >= size }).await;
}

fn verified() -> RecordAct {
    RecordAct { act: "backup.verified".into(), target: "base-1".into(), detail: String::new() }
}

#[tokio::test(flavor = "multi_thread")]
async fn outcomes_that_are_read_before_the_acceptance_are_counted_all_the_same() {
    let scene = Scene::new().await;
    let running = scene.run_as(ComplianceMode::Watch).await;
    let read = async |outcomes: i64| {
        let sum = "select coalesce(sum(1 + again), 0) from auditor.open_commands where accepted_at is null";
        eventually("the outcomes are read", || async {
            sqlx::query_scalar::<_, i64>(sum).fetch_one(&scene.stage.db).await.unwrap() == outcomes
        })
        .await;
    };
    scene.ended("acme", "e-1", "c-1", "succeeded").await;
    scene.ended("acme", "e-2", "c-1", "succeeded").await;
    scene.ended("acme", "e-3", "c-2", "succeeded").await;
    read(3).await;
    scene.ended("acme", "e-4", "c-2", "rejected").await;
    read(4).await;
    assert_eq!(counts(&scene, "acme").await.doubled, 0, "they may belong to no command");
    scene.accepted("acme", "c-1").await;
    scene.accepted("acme", "c-2").await;
    eventually("the acceptances are read", || async { counts(&scene, "acme").await.accepted == 2 }).await;
    let log = counts(&scene, "acme").await;
    assert_eq!((log.succeeded, log.doubled, log.unaccounted, log.open), (2, 2, 0, 0), "{log:?}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_told_once_and_a_command_that_ends_twice_breaks_the_law() {
    let scene = Scene::new().await;
    let running = scene.run_as(ComplianceMode::Watch).await;
    scene.accepted("acme", "c-1").await;
    scene.ended("acme", "e-1", "c-1", "succeeded").await;
    let first = becomes(&scene, "acme", "audit-log", "met", 1).await;
    assert!(first.data["was"].is_null() && first.data["detail"].as_str().unwrap().contains("accepted"));
    scene.grown("acme", 2).await;
    watched(&scene, "acme").await;
    assert_eq!(told(&scene, "acme", "audit-log").len(), 1);
    // A control is judged by what there is when its turn comes.
    becomes(&scene, "acme", "integrity", "met", 1).await;

    scene.ended("acme", "e-2", "c-1", "succeeded").await;
    let second = becomes(&scene, "acme", "audit-log", "failing", 2).await;
    assert_eq!(second.data["was"], "met");
    assert!(second.data["detail"].as_str().unwrap().contains("had one already"), "{:?}", second.data);
    becomes(&scene, "acme", "integrity", "failing", 2).await;
    // Asked again, it has nothing to tell.
    let again = scene.does("acme", &AssessControl { control: "audit-log".parse().unwrap() }).await;
    assert_eq!(again.name, "command_done");
    assert_eq!(told(&scene, "acme", "audit-log").len(), 2);
    let nonsense = scene.does("acme", &AssessControl { control: "nonsense".parse().unwrap() }).await;
    assert_eq!(nonsense.data["faults"][0]["pointer"], "/control");
    // What was told is on the record too.
    eventually("both changes are entries", || async {
        let leaves = scene.leaves("acme").await;
        let changes = leaves.iter().filter(|leaf| leaf["what"] == "auditor.control_status_changed");
        changes.filter(|leaf| leaf["target"] == "audit-log").count() == 2
    })
    .await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_goes_stale_when_nobody_tells_of_it_and_its_past_can_be_asked() {
    let scene = Scene::new().await;
    let running = scene.run_as(ComplianceMode::Watch).await;
    scene.greeted("acme", "e-1").await;
    // The tenant's own word about the house's backups counts for nothing.
    scene.does("acme", &verified()).await;
    scene.does("_", &verified()).await;
    let met = becomes(&scene, "acme", "backup", "met", 1).await;
    assert_eq!(met.data["evidence"]["log"], "_");
    let index = met.data["evidence"]["index"].as_u64().unwrap() as usize;
    assert_eq!(scene.leaves("_").await[index]["target"], "backup.verified base-1");
    let before = of(&scene.asks("acme", &NOW).await.unwrap(), "backup").since.unwrap();

    scene.sql("update auditor.sightings set seen_at = seen_at - interval '25 hours'").await;
    let stale = becomes(&scene, "acme", "backup", "stale", 2).await;
    assert!(stale.data["detail"].as_str().unwrap().contains("25 hours ago"), "{:?}", stale.data);
    scene.does("_", &verified()).await;
    becomes(&scene, "acme", "backup", "met", 3).await;

    // As of each moment, by replay of the events: the same as they said.
    let now = scene.asks("acme", &NOW).await.unwrap();
    assert_eq!((of(&now, "backup").status, of(&now, "backup").revision), (Standing::Met, 3));
    let at = |at: DateTime<Utc>| ComplianceStatus { framework: Some(Framework::Soc2), at: Some(at) };
    for told in told(&scene, "acme", "backup") {
        let since = changed(&scene, told.data["revision"].as_u64().unwrap()).await;
        let then = of(&scene.asks("acme", &at(since)).await.unwrap(), "backup");
        assert_eq!(json!(then.status), told.data["status"]);
        assert_eq!(json!(then.revision), told.data["revision"]);
        assert_eq!(json!(then.detail), told.data["detail"]);
    }
    let long_ago = scene.asks("acme", &at(before - TimeDelta::microseconds(1))).await.unwrap();
    assert_eq!((of(&long_ago, "backup").status, of(&long_ago, "backup").revision), (Standing::Missing, 0));
    let unmet = |report: &StatusReport| {
        let soc2 = report.frameworks.iter().find(|of| of.framework == Framework::Soc2).unwrap();
        soc2.unmet.iter().find(|unmet| unmet.requirement == "A1.2").unwrap().controls.clone()
    };
    let names = |report: &StatusReport| unmet(report).iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(names(&long_ago), ["backup", "recovery", "physical"]);
    assert_eq!(names(&now), ["recovery", "physical"]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_speak_for_the_house_tells_of_a_backup_and_nobody_else() {
    let scene = Scene::new().await;
    let running = scene.run_as(ComplianceMode::Watch).await;
    scene.greeted("acme", "e-1").await;
    let (subject, body) = ("cmd.auditor.default.record_act._", r#"{"act":"backup.verified","target":"base-1"}"#);
    for user in ["tenant_acme", "greeter"] {
        let bus = scene.stage.connect(user).await;
        let refused = bus.publish(subject, headers(&[]), body.into()).await;
        assert!(matches!(refused, Err(PublishError::Refused(_))), "{user}: {refused:?}");
    }
    // As a script does it, with the operator's key and without one header.
    scene.stage.publish_raw(subject, headers(&[]), body).await;
    let met = becomes(&scene, "acme", "backup", "met", 1).await;
    assert_eq!(met.data["evidence"]["log"], "_");
    let age = "update auditor.sightings set seen_at = seen_at - interval '25 hours'";
    scene.sql(age).await;
    becomes(&scene, "acme", "backup", "stale", 2).await;
    // As another program does, with the door's key.
    let bus = scene.stage.connect("ingest").await;
    bus.publish(subject, headers(&[("ce-id", "backup-2")]), body.into()).await.unwrap();
    becomes(&scene, "acme", "backup", "met", 3).await;
    scene.sql(age).await;
    becomes(&scene, "acme", "backup", "stale", 4).await;
    // What was told under the same id is the same telling: nothing was verified since.
    bus.publish(subject, headers(&[("ce-id", "backup-2")]), body.into()).await.unwrap();
    scene.does("_", &RecordAct { act: "noted".into(), ..verified() }).await;
    eventually("what came after it is on the record", || async {
        scene.leaves("_").await.iter().any(|leaf| leaf["target"] == "noted base-1")
    })
    .await;
    watched(&scene, "_").await;
    let assessed = scene.does("acme", &AssessControl { control: "backup".parse().unwrap() }).await;
    assert_eq!(assessed.name, "command_done", "{:?}", assessed.data);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_watched_comes_to_rest() {
    let scene = Scene::new().await;
    let running = scene.run_as(ComplianceMode::Watch).await;
    scene.greeted("acme", "e-1").await;
    becomes(&scene, "acme", "audit-log", "met", 1).await;
    let looked = async || scene.asks("acme", &NOW).await.unwrap().watched_at;
    // What is told of a control is an entry, and must be no reason to tell more.
    for _ in 0..20 {
        let (size, at) = (scene.size("acme").await, looked().await.unwrap());
        eventually("the watch has looked again, some times", || async {
            looked().await.is_some_and(|now| now - at > TimeDelta::seconds(3))
        })
        .await;
        if scene.size("acme").await == size {
            return running.stop().await;
        }
    }
    panic!("the log grows by itself");
}

/// When a revision of acme's backup came about.
async fn changed(scene: &Scene, revision: u64) -> DateTime<Utc> {
    sqlx::query_scalar(
        "select changed_at from auditor.control_changes where tenant = 'acme' and control = 'backup' and revision = $1",
    )
    .bind(revision as i64)
    .fetch_one(&scene.stage.db)
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_law_holds_for_each_tenant_whatever_comes_first() {
    let scene = Scene::new().await;
    let running = scene.run_as(ComplianceMode::Watch).await;
    // An outcome before its acceptance, one of each kind, one held and then ended, one that acts upon an event, one open.
    scene.ended("acme", "o-0", "c-0", "succeeded").await;
    scene.grown("acme", 1).await;
    watched(&scene, "acme").await;
    for n in 0..6 {
        scene.accepted("acme", &format!("c-{n}")).await;
    }
    scene.ended("acme", "o-1", "c-1", "rejected").await;
    scene.ended("acme", "o-2", "c-2", "dead_lettered").await;
    scene.ended("acme", "o-3", "c-3", "held").await;
    scene.ended("acme", "o-4", "c-4", "held").await;
    scene.ended("acme", "o-5", "c-4", "succeeded").await;
    scene.greeted("acme", "heard").await;
    scene.ended("acme", "reaction", "heard", "succeeded").await;
    scene.accepted("globex", "c-0").await;
    let right = LogCounts {
        entries: 0,
        accepted: 6,
        succeeded: 2,
        rejected: 1,
        dead_lettered: 1,
        held: 1,
        open: 1,
        unaccounted: 0,
        doubled: 0,
    };
    eventually("the law holds", || async {
        let counts = counts(&scene, "acme").await;
        LogCounts { entries: 0, ..counts } == right
    })
    .await;
    scene.grown("globex", 1).await;
    eventually("and for the other tenant", || async {
        let counts = counts(&scene, "globex").await;
        (counts.accepted, counts.open, counts.succeeded) == (1, 1, 0)
    })
    .await;
    // An outcome whose acceptance never came, and that nobody can have missed because it is new.
    scene.ended("acme", "o-9", "never", "succeeded").await;
    eventually("it is noticed", || async { counts(&scene, "acme").await.unaccounted == 1 }).await;
    // A control is judged by what there is when its turn comes.
    becomes(&scene, "acme", "audit-log", "met", 1).await;
    scene
        .sql(
            "update auditor.open_commands set outcome_at = outcome_at - interval '16 minutes' where message_id = 'never'",
        )
        .await;
    scene.sql("update auditor.watched set first_accepted_at = first_accepted_at - interval '1 day'").await;
    becomes(&scene, "acme", "audit-log", "failing", 2).await;
    assert!(told(&scene, "globex", "audit-log").iter().all(|told| told.data["status"] != "failing"));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_key_that_may_do_much_fails_its_control_until_it_is_gone() {
    let scene = Scene::new().await;
    let running = scene.run_as(ComplianceMode::Watch).await;
    scene.greeted("acme", "e-1").await;
    becomes(&scene, "acme", "authentication", "met", 1).await;
    let bucket = scene.stage.operator.jetstream().get_key_value("keys").await.unwrap();
    let created_at = clock::now() - TimeDelta::days(91);
    let key = json!({
        "id": "01979f6e-5a00-7000-8000-0000000000a1", "tenant": "acme", "name": "old", "scopes": ["*"],
        "created_at": created_at,
    });
    bucket.put("aa11", key.to_string().into()).await.unwrap();
    let failing = becomes(&scene, "acme", "authentication", "failing", 2).await;
    let detail = failing.data["detail"].as_str().unwrap();
    assert!(detail.contains("0000000000a1") && detail.contains("91 days"), "{detail}");
    bucket.delete("aa11").await.unwrap();
    becomes(&scene, "acme", "authentication", "met", 3).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_late_makes_nothing_older() {
    let scene = Scene::new().await;
    let running = scene.run_as(ComplianceMode::Watch).await;
    scene.does("_", &verified()).await;
    let seen = "select count(*) from auditor.sightings where what = 'act:backup.verified'";
    eventually("the act is seen", || async { scene.count(seen).await == 1 }).await;
    // As after a kill: delivered once more, behind what came meanwhile.
    let statement = r#"insert into auditor.arrivals (key, tenant, body, salt) values (gen_random_uuid(), '_',
        '{"id":"late","kind":"event","what":"auditor.act_recorded","target":"backup.verified base-0",
          "received_at":"2026-01-01T00:00:00.000000Z"}', '')"#;
    scene.sql(statement).await;
    let late = r#"select count(*) from auditor.entries where tenant = '_' and leaf like '%"id":"late"%'"#;
    eventually("it is on record", || async { scene.count(late).await == 1 }).await;
    watched(&scene, "_").await;
    let newest = "select count(*) from auditor.sightings
                  where what = 'act:backup.verified' and seen_at > now() - interval '1 hour'";
    assert_eq!(scene.count(newest).await, 1);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_change_is_told_once_though_the_auditor_is_killed_again_and_again() {
    let scene = Scene::new().await;
    let running = scene.run_as(ComplianceMode::Watch).await;
    scene.greeted("acme", "e-1").await;
    scene.does("_", &verified()).await;
    becomes(&scene, "acme", "backup", "met", 1).await;
    running.abort().await;
    for round in 0..8 {
        let by = if round % 2 == 0 { "- interval '25 hours'" } else { "+ interval '25 hours'" };
        scene
            .sql(&format!("update auditor.sightings set seen_at = seen_at {by} where what = 'act:backup.verified'"))
            .await;
        let running = scene.run_as(ComplianceMode::Watch).await;
        tokio::time::sleep(Duration::from_millis((clock::chance() * 2000.0) as u64)).await;
        running.abort().await;
    }
    let running = scene.run_as(ComplianceMode::Watch).await;
    scene.sql("update auditor.sightings set seen_at = seen_at - interval '25 hours'").await;
    eventually("all that changed is told", || async {
        let rows = scene.count("select max(revision) from auditor.control_changes where control = 'backup' and tenant = 'acme'").await;
        let last: String = sqlx::query_scalar(
            "select status from auditor.control_changes where control = 'backup' and tenant = 'acme' order by revision desc limit 1",
        )
        .fetch_one(&scene.stage.db)
        .await
        .unwrap();
        last == "stale" && told(&scene, "acme", "backup").iter().any(|told| told.data["revision"] == rows)
    })
    .await;
    let mut revisions: BTreeMap<u64, Vec<(String, String)>> = BTreeMap::new();
    for told in told(&scene, "acme", "backup") {
        let status = told.data["status"].as_str().unwrap().to_owned();
        revisions.entry(told.data["revision"].as_u64().unwrap()).or_default().push((told.message_id, status));
    }
    let mut before = String::new();
    for (n, (revision, told)) in revisions.iter().enumerate() {
        assert_eq!(*revision, n as u64 + 1, "no change is missing");
        assert!(told.iter().all(|one| one == &told[0]), "the same change is the same event: {told:?}");
        assert_ne!(told[0].1, before, "a change changes something");
        before.clone_from(&told[0].1);
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_without_a_log_has_no_status_and_learns_nothing_of_others() {
    let scene = Scene::new().await;
    let running = scene.run_as(ComplianceMode::Watch).await;
    scene.greeted("acme", "e-1").await;
    becomes(&scene, "acme", "audit-log", "met", 1).await;
    assert_eq!(scene.asks("globex", &NOW).await.unwrap_err().0, 404);
    let report = ComplianceReport { framework: Framework::Hipaa };
    assert_eq!(scene.asks("globex", &report).await.unwrap_err().0, 404);
    assert_eq!(scene.asks("globex", &LogHead {}).await.unwrap_err().0, 404);
    assert_eq!(told(&scene, "globex", "audit-log").len(), 0);
    let all = scene.asks("globex", &Controls { framework: None }).await.unwrap();
    let soc2 = scene.asks("acme", &Controls::example()).await.unwrap();
    assert_eq!((all.frameworks.len(), soc2.frameworks.len()), (3, 1));
    assert!(all.controls.len() >= soc2.controls.len() && !soc2.controls.is_empty());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_watch_nothing_is_told_and_all_can_be_asked() {
    let scene = Scene::new().await;
    let running = scene.run().await;
    scene.greeted("acme", "e-1").await;
    scene.grown("acme", 1).await;
    let map = headers(&[("ce-id", "x"), ("ce-actor", "ada")]);
    scene.stage.publish_raw("cmd.auditor.default.assess_control.acme", map, r#"{"control":"record-retention"}"#).await;
    becomes(&scene, "acme", "record-retention", "met", 1).await;
    let report = scene.asks("acme", &NOW).await.unwrap();
    assert_eq!(report.watched_at, None);
    assert_eq!(report.controls.iter().filter(|control| control.revision > 0).count(), 1);
    running.stop().await;
}
