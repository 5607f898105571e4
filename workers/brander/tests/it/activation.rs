//! From a draft to what people see, and back.

use omnibus_schemas::brander::{
    ActivateBranding, Branding, BrandingVersions, CancelSchedule, ContrastReport, RollbackBranding, ScheduleBranding,
    Schedules, SetBranding, Turn, TurnSchedule,
};
use uuid::Uuid;

use crate::scene::{PATIENCE, Scene, look, refusal};

#[tokio::test]
async fn a_draft_is_seen_by_nobody_until_it_is_activated_and_then_by_everyone() {
    let scene = Scene::new().await;
    let version = scene.draft("acme", look("Acme")).await;
    assert_eq!(version, 1);
    assert_eq!(scene.shown("acme").await, None);
    let told = scene.activate("acme", version).await;
    let shown = scene.shown("acme").await.unwrap();
    assert_eq!((shown.name.as_str(), shown.revision), ("Acme", told.data["revision"].as_u64().unwrap()));
    let report = scene.stage.ask("brander", "acme", &Branding { version: None }).await.unwrap();
    assert!(report.active && report.active_revision == shown.revision, "{report:?}");

    // Another tenant has none of it.
    assert_eq!(scene.shown("globex").await, None);
    assert_eq!(scene.stage.ask("brander", "globex", &Branding { version: None }).await.unwrap_err().0, 404);
    let foreign = scene.tell("globex", &ActivateBranding { version: Some(version) }).await;
    assert_eq!(refusal(&foreign).0, "version_unknown");
}

#[tokio::test]
async fn a_look_that_can_not_be_read_is_not_activated_and_the_refusal_says_what_would_do() {
    let scene = Scene::new().await;
    let good = scene.draft("acme", look("Acme")).await;
    scene.activate("acme", good).await;
    let mut bad = look("Acme");
    bad.dark.muted = "#5a6270".into();
    let version = scene.draft("acme", bad.clone()).await;
    let told = scene.tell("acme", &ActivateBranding { version: None }).await;
    let (code, detail) = refusal(&told);
    assert_eq!(code, "contrast");
    assert!(detail.starts_with("dark.muted on dark.background has ") && detail.contains(" would do"), "{detail}");
    assert_eq!(scene.shown("acme").await.unwrap().face.unwrap().version, good);

    let report = scene.stage.ask("brander", "acme", &ContrastReport { version: Some(version) }).await.unwrap();
    assert_eq!((report.passes, report.pairs.len()), (false, 18));
    let fault = report.pairs.iter().find(|pair| !pair.passes).unwrap();
    bad.dark.muted = fault.would_do.clone().unwrap();
    let version = scene.draft("acme", bad).await;
    scene.activate("acme", version).await;
}

#[tokio::test]
async fn a_rollback_goes_back_one_by_one() {
    let scene = Scene::new().await;
    for name in ["One", "Two", "Three"] {
        let version = scene.draft("acme", look(name)).await;
        scene.activate("acme", version).await;
    }
    for name in ["Two", "One"] {
        let told = scene.tell("acme", &RollbackBranding {}).await;
        assert_eq!((told.name.as_str(), &told.data["why"]), ("branding_activated", &"rolled_back".into()));
        assert_eq!(scene.shown("acme").await.unwrap().name, name);
    }
    let told = scene.tell("acme", &RollbackBranding {}).await;
    assert_eq!(refusal(&told).0, "nothing_before");
    assert_eq!(scene.shown("acme").await.unwrap().name, "One");
}

#[tokio::test]
async fn activations_at_once_end_on_the_highest_revision_everywhere() {
    let scene = Scene::new().await;
    let second = scene.stage.run(omnibus_brander::worker(omnibus_brander::Settings::defaults()).unwrap()).await;
    for name in ["One", "Two"] {
        scene.draft("acme", look(name)).await;
    }
    let seen = scene.follow("acme").await;
    let mut ids = Vec::new();
    for n in 0..20 {
        ids.push(scene.stage.publish("acme", &ActivateBranding { version: Some(1 + n % 2) }).await);
    }
    let mut highest = 0;
    for id in ids {
        let told = scene.stage.outcome(id).await;
        assert!(["branding_activated", "branding_superseded"].contains(&told.name.as_str()), "{}", told.name);
        highest = highest.max(told.data["revision"].as_u64().unwrap());
    }
    let shown = scene.shown("acme").await.unwrap();
    assert_eq!(shown.revision, highest);
    let report = scene.stage.ask("brander", "acme", &Branding { version: None }).await.unwrap();
    assert_eq!((report.active_revision, report.version), (highest, shown.face.unwrap().version));
    let history = scene.until(&seen, highest).await;
    assert!(history.is_sorted(), "no reader ever saw an older look after a newer one: {history:?}");
    second.stop().await;
}

#[tokio::test]
async fn a_repeated_activation_is_one_activation() {
    let scene = Scene::new().await;
    let version = scene.draft("acme", look("Acme")).await;
    let seen = scene.follow("acme").await;
    let id = scene.stage.publish("acme", &ActivateBranding { version: Some(version) }).await;
    // Seen before the next is written: the bucket keeps the last alone.
    let first = scene.stage.outcome(id).await.data["revision"].as_u64().unwrap();
    scene.until(&seen, first).await;
    scene.stage.publish_as(id, "acme", &ActivateBranding { version: Some(version) }).await;
    scene.draft("acme", look("Other")).await;
    scene.activate("acme", 2).await;
    let last = scene.shown("acme").await.unwrap().revision;
    assert_eq!(scene.until(&seen, last).await.len(), 2);
    let rows: i64 =
        sqlx::query_scalar("select count(*) from brander.activations").fetch_one(&scene.stage.db).await.unwrap();
    assert_eq!(rows, 2, "one of each command");
}

#[tokio::test]
async fn a_schedule_switches_at_its_time_and_back_at_its_end() {
    let scene = Scene::new().await;
    for name in ["Always", "Spring"] {
        scene.draft("acme", look(name)).await;
    }
    scene.activate("acme", 1).await;
    let now = omnibus_runtime::clock::now();
    let soon = ScheduleBranding { version: 2, from: now + chrono::TimeDelta::seconds(20), until: None };
    let told = scene.tell("acme", &soon).await;
    assert_eq!(told.name, "branding_scheduled");
    let begun = scene.stage.event(|told| told.data["why"] == "scheduled").await;
    assert_eq!(begun.data["version"], 2);
    assert_eq!(scene.shown("acme").await.unwrap().name, "Spring");

    let past = ScheduleBranding { version: 2, from: now, until: None };
    assert_eq!(refusal(&scene.tell("acme", &past).await).0, "time");
}

async fn scheduled(scene: &Scene, version: u32, hours: i64) -> Uuid {
    let from = omnibus_runtime::clock::now() + chrono::TimeDelta::hours(hours);
    let until = Some(from + chrono::TimeDelta::hours(2));
    let told = scene.tell("acme", &ScheduleBranding { version, from, until }).await;
    told.data["schedule_id"].as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn schedules_that_overlap_end_on_what_was_there_before_them() {
    let scene = Scene::new().await;
    for name in ["Base", "First", "Second"] {
        scene.draft("acme", look(name)).await;
    }
    scene.activate("acme", 1).await;
    let first = scheduled(&scene, 2, 1).await;
    let second = scheduled(&scene, 3, 2).await;
    for (schedule_id, turn, name, shown) in [
        (first, Turn::Begin, "branding_activated", "First"),
        (second, Turn::Begin, "branding_activated", "Second"),
        (first, Turn::End, "schedule_skipped", "Second"),
        (second, Turn::End, "branding_activated", "Base"),
        (second, Turn::End, "schedule_skipped", "Base"),
    ] {
        let told = scene.tell("acme", &TurnSchedule { schedule_id, turn }).await;
        assert_eq!((told.name.as_str(), scene.shown("acme").await.unwrap().name.as_str()), (name, shown));
    }
    assert_eq!(refusal(&scene.tell("acme", &RollbackBranding {}).await).0, "nothing_before");
}

#[tokio::test]
async fn a_schedules_end_leaves_alone_what_somebody_activated_in_between() {
    let scene = Scene::new().await;
    for name in ["Base", "Spring", "By hand"] {
        scene.draft("acme", look(name)).await;
    }
    scene.activate("acme", 1).await;
    let schedule_id = scheduled(&scene, 2, 1).await;
    scene.tell("acme", &TurnSchedule { schedule_id, turn: Turn::Begin }).await;
    scene.activate("acme", 3).await;
    let told = scene.tell("acme", &TurnSchedule { schedule_id, turn: Turn::End }).await;
    assert_eq!((told.name.as_str(), &told.data["why"]), ("schedule_skipped", &"another_is_active".into()));
    assert_eq!(scene.shown("acme").await.unwrap().name, "By hand");
    scene.tell("acme", &RollbackBranding {}).await;
    assert_eq!(scene.shown("acme").await.unwrap().name, "Base", "not to a look whose time is over");

    let cancelled = scheduled(&scene, 2, 1).await;
    scene.tell("acme", &CancelSchedule { schedule_id: cancelled }).await;
    let told = scene.tell("acme", &TurnSchedule { schedule_id: cancelled, turn: Turn::Begin }).await;
    assert_eq!(told.data["why"], "cancelled");
}

#[tokio::test]
async fn a_schedule_that_is_cancelled_while_it_runs_leaves_its_look_to_whoever_rolls_back() {
    let scene = Scene::new().await;
    for name in ["Base", "Spring"] {
        scene.draft("acme", look(name)).await;
    }
    scene.activate("acme", 1).await;
    let schedule_id = scheduled(&scene, 2, 1).await;
    scene.tell("acme", &TurnSchedule { schedule_id, turn: Turn::Begin }).await;
    assert_eq!(scene.tell("acme", &CancelSchedule { schedule_id }).await.name, "schedule_cancelled");
    let told = scene.tell("acme", &TurnSchedule { schedule_id, turn: Turn::End }).await;
    assert_eq!((told.name.as_str(), &told.data["why"]), ("schedule_skipped", &"cancelled".into()));
    assert_eq!(scene.shown("acme").await.unwrap().name, "Spring");
    scene.tell("acme", &RollbackBranding {}).await;
    assert_eq!(scene.shown("acme").await.unwrap().name, "Base");
    assert_eq!(refusal(&scene.tell("acme", &CancelSchedule { schedule_id }).await).0, "schedule_unknown");
}

#[tokio::test]
async fn a_schedule_without_an_end_is_over_once_it_has_begun() {
    let scene = Scene::new().await;
    scene.draft("acme", look("For good")).await;
    let from = omnibus_runtime::clock::now() + chrono::TimeDelta::hours(1);
    let told = scene.tell("acme", &ScheduleBranding { version: 1, from, until: None }).await;
    let schedule_id = told.data["schedule_id"].as_str().unwrap().parse().unwrap();
    scene.tell("acme", &TurnSchedule { schedule_id, turn: Turn::Begin }).await;
    assert_eq!(scene.shown("acme").await.unwrap().name, "For good");
    let page = scene.stage.ask("brander", "acme", &Schedules { after: None, limit: 5 }).await.unwrap();
    assert_eq!((page.schedules.len(), page.schedules[0].status.as_str()), (1, "over"));
    assert_eq!(refusal(&scene.tell("acme", &CancelSchedule { schedule_id }).await).0, "schedule_unknown");
}

#[tokio::test]
async fn a_rollback_passes_over_what_was_given_up() {
    let scene = Scene::new().await;
    for name in ["One", "Two", "Three"] {
        let version = scene.draft("acme", look(name)).await;
        scene.activate("acme", version).await;
    }
    sqlx::query("update brander.activations set status = 'failed' where version = 2")
        .execute(&scene.stage.db)
        .await
        .unwrap();
    scene.tell("acme", &RollbackBranding {}).await;
    assert_eq!(scene.shown("acme").await.unwrap().name, "One");
}

#[tokio::test]
async fn versions_are_listed_page_by_page_and_a_bad_stylesheet_makes_none() {
    let scene = Scene::new().await;
    for n in 1..=5 {
        scene.draft("acme", look(&format!("Look {n}"))).await;
    }
    let mut bad = look("Bad");
    bad.css = "@import 'https://evil.example/a.css'; .a { position: fixed }".into();
    let told = scene.tell("acme", &SetBranding(bad)).await;
    assert_eq!(refusal(&told).0, "css_refused");
    let (mut seen, mut before) = (vec![], None);
    loop {
        let page = scene.stage.ask("brander", "acme", &BrandingVersions { before, limit: 2 }).await.unwrap();
        seen.extend(page.versions.iter().map(|row| row.version));
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    assert_eq!(seen, [5, 4, 3, 2, 1]);
    let page = scene.stage.ask("brander", "globex", &BrandingVersions { before: None, limit: 2 }).await.unwrap();
    assert_eq!((page.versions.len(), page.next), (0, None));
}

#[tokio::test]
async fn the_newest_version_lies_where_previews_find_it_whatever_is_active() {
    let scene = Scene::new().await;
    let one = scene.draft("acme", look("One")).await;
    scene.activate("acme", one).await;
    let two = scene.draft("acme", look("Two")).await;
    let drafts = scene.stage.operator.jetstream().get_key_value(omnibus_schemas::brand::DRAFTS).await.unwrap();
    let newest = async {
        loop {
            let entry = drafts.get("acme").await.unwrap();
            let brand = entry.map(|bytes| serde_json::from_slice::<omnibus_schemas::brand::Brand>(&bytes).unwrap());
            match brand {
                Some(brand) if brand.revision == u64::from(two) => break brand.name,
                _ => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
            }
        }
    };
    let name = tokio::time::timeout(PATIENCE, newest).await.expect("the draft is put there");
    assert_eq!(name, "Two");
    assert_eq!(scene.shown("acme").await.unwrap().name, "One", "nobody else sees it");
}
