//! A part that is away: the worker waits, says what it waits for, and goes on.

use std::path::Path;
use std::time::Duration;

use omnibus_bus::Settings;
use omnibus_runtime::local::{Postgres, PostgresOptions};
use omnibus_runtime::testing::{Stage, free_port};
use omnibus_schemas::platform::{HeldCommands, Outcome};
use omnibus_tests::life::Life;
use omnibus_tests::shop;

use crate::scene::{Scene, eventually, headers, put};

async fn own_postgres() -> (Postgres, Scene) {
    let postgres = Postgres::start(PostgresOptions::default()).await.unwrap();
    let stage = Stage::with(shop::catalogue(), Settings::default(), &postgres).await;
    (postgres, Scene { stage, provider: tempfile::tempdir().unwrap() })
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_away_makes_the_worker_unready_spends_nothing_and_is_waited_for() {
    let (mut postgres, scene) = own_postgres().await;
    let running = scene.run_with(|settings| settings.attempts = Some(1)).await;
    let before = scene.put("").await;
    scene.stage.outcome(before).await;
    postgres.kill9().await;
    let mut ids = Vec::new();
    for _ in 0..20 {
        ids.push(scene.put("").await);
    }
    ids.push(scene.charge("", "ask").await);
    eventually("not ready", || async { running.health.missing().contains_key("postgres") }).await;
    postgres.restart().await.unwrap();
    for id in &ids {
        assert_eq!(scene.stage.outcome(*id).await.outcome, Some(Outcome::Succeeded));
    }
    eventually("ready again", || async { running.health.missing().is_empty() }).await;
    assert_eq!(scene.count("select count(*) from bus.retries").await, 0);
    assert_eq!(scene.count("select count(*) from shop.things").await, 21);
    assert_eq!(scene.times("call", ids[20]), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_call_brought_back_outlives_postgres() {
    let (mut postgres, scene) = own_postgres().await;
    let running = scene.run().await;
    let id = scene.charge("open", "cannot_tell").await;
    eventually("the call is out", || async { scene.times("call", id) == 1 }).await;
    postgres.kill9().await;
    scene.answer(id);
    eventually("it can't be written down", || async { running.health.missing().contains_key("postgres") }).await;
    postgres.restart().await.unwrap();
    let told = scene.stage.outcome(id).await;
    assert_eq!((told.outcome, told.data["receipt"].as_str()), (Some(Outcome::Succeeded), Some("receipt 1")));
    assert_eq!(scene.times("call", id), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nats_killed_and_restarted_amid_the_flow_loses_nothing() {
    let scene = Scene::new().await;
    let running = scene.run().await;
    let mut ids = Vec::new();
    for n in 0..300 {
        ids.push(scene.put(if n % 10 == 0 { "then" } else { "" }).await);
        if n % 100 == 50 {
            let mut nats = scene.stage.nats.lock().await;
            nats.kill9().await;
            nats.restart().await.unwrap();
        }
    }
    for id in &ids {
        assert_eq!(scene.stage.outcome(*id).await.outcome, Some(Outcome::Succeeded));
    }
    eventually("the follow-ups too", || async { scene.count("select count(*) from shop.things").await == 330 }).await;
    assert_eq!(scene.count("select count(distinct command_id) from shop.things").await, 330);
    eventually("ready again", || async { running.health.missing().is_empty() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_away_at_once_are_waited_for() {
    let (mut postgres, scene) = own_postgres().await;
    let mut ids = Vec::new();
    for _ in 0..50 {
        ids.push(scene.put("").await);
    }
    scene.stage.nats.lock().await.kill9().await;
    scene.stage.nats.lock().await.restart().await.unwrap();
    let _running = scene.run().await;
    scene.stage.outcome(ids[0]).await;
    for _ in 0..50 {
        ids.push(scene.put("").await);
    }
    postgres.kill9().await;
    scene.stage.nats.lock().await.kill9().await;
    postgres.restart().await.unwrap();
    scene.stage.nats.lock().await.restart().await.unwrap();
    for id in &ids {
        assert_eq!(scene.stage.outcome(*id).await.outcome, Some(Outcome::Succeeded));
    }
    assert_eq!(scene.count("select count(*) from shop.things").await, 100);
    assert_eq!(scene.count("select count(*) from bus.retries").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_started_before_its_servers_waits_for_them() {
    use omnibus_runtime::settings::DatabaseSettings;
    use omnibus_runtime::{Health, process};
    let (mut postgres, scene) = own_postgres().await;
    scene.migrate().await;
    let id = scene.stage.publish("acme", &put("")).await;
    postgres.kill9().await;
    scene.stage.nats.lock().await.kill9().await;
    let health = Health::default();
    let database = DatabaseSettings { database_url: scene.stage.database_url.clone().into(), database_connections: 4 };
    let starting = async {
        let bus = scene.stage.connect("shop").await;
        let db = process::connect(&database, &health).await;
        let parts = scene.parts_on(bus).await;
        tokio::spawn(scene.worker().run(omnibus_runtime::Parts { db, ..parts }));
    };
    let coming = async {
        scene.stage.nats.lock().await.restart().await.unwrap();
        eventually("it says what it waits for", || async { health.missing().contains_key("postgres") }).await;
        postgres.restart().await.unwrap();
    };
    tokio::join!(starting, coming);
    assert_eq!(scene.stage.outcome(id).await.outcome, Some(Outcome::Succeeded));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_worker_notices_too_that_postgres_is_away() {
    let (mut postgres, scene) = own_postgres().await;
    let running = scene.run_with(|settings| settings.republish_after_seconds = 1).await;
    let id = scene.put("").await;
    scene.stage.outcome(id).await;
    postgres.kill9().await;
    eventually("not ready", || async { running.health.missing().contains_key("postgres") }).await;
    postgres.restart().await.unwrap();
    eventually("ready again", || async { running.health.missing().is_empty() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_is_told_that_a_server_is_away_and_that_it_is_back() {
    // A second test of this process finds the provider installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (mut postgres, scene) = own_postgres().await;
    scene.migrate().await;
    // A process of its own: in this one, other tests' servers come and go.
    let address = format!("127.0.0.1:{}", free_port());
    let variables = [("HEALTH_ADDR", address.as_str()), ("REPUBLISH_AFTER_SECONDS", "1")];
    let program = Path::new(env!("CARGO_BIN_EXE_shop"));
    let life = Life::begin(program, &scene.stage, scene.provider.path(), &variables);
    let url = format!("http://{address}/metrics");
    let told = async |line: &str| {
        eventually(line, || async {
            let Ok(page) = reqwest::get(&url).await else { return false };
            page.text().await.is_ok_and(|text| text.lines().any(|there| there == line))
        })
        .await;
    };
    told("omnibus_up{part=\"postgres\"} 1").await;
    postgres.kill9().await;
    told("omnibus_up{part=\"postgres\"} 0").await;
    postgres.restart().await.unwrap();
    told("omnibus_up{part=\"postgres\"} 1").await;
    let mut nats = scene.stage.nats.lock().await;
    told("omnibus_up{part=\"nats\"} 1").await;
    nats.kill9().await;
    told("omnibus_up{part=\"nats\"} 0").await;
    nats.restart().await.unwrap();
    told("omnibus_up{part=\"nats\"} 1").await;
    life.kill9().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_that_nats_never_answered_does_not_stop_the_lane() {
    let scene = Scene::new().await;
    let running = scene.run().await;
    let id = scene.put("").await;
    scene.stage.outcome(id).await;
    // Frozen, it takes pulls and answers none; killed, it forgets them.
    let mut nats = scene.stage.nats.lock().await;
    let pid = nats.pid().unwrap().to_string();
    assert!(std::process::Command::new("kill").args(["-STOP", &pid]).status().unwrap().success());
    eventually("not ready", || async { running.health.missing().keys().any(|part| part.starts_with("lane")) }).await;
    nats.kill9().await;
    nats.restart().await.unwrap();
    drop(nats);
    let (put, call) = (scene.put("").await, scene.charge("", "").await);
    assert_eq!(scene.stage.outcome(put).await.outcome, Some(Outcome::Succeeded));
    assert_eq!(scene.stage.outcome(call).await.outcome, Some(Outcome::Succeeded));
    eventually("ready again", || async { running.health.missing().is_empty() }).await;
    assert_eq!(scene.page("acme", put).await.unwrap().outcome, Some(Outcome::Succeeded), "queries too");
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_gives_up_what_hangs_by_itself_and_compiles_nothing() {
    use omnibus_runtime::settings::DatabaseSettings;
    let scene = Scene::new().await;
    let settings = DatabaseSettings { database_url: scene.stage.database_url.clone().into(), database_connections: 1 };
    let db = omnibus_runtime::process::connect(&settings, &omnibus_runtime::Health::default()).await;
    for (setting, value) in [("statement_timeout", "2min"), ("lock_timeout", "30s"), ("jit", "off")] {
        let show = sqlx::query_scalar::<_, String>(sqlx::AssertSqlSafe(format!("show {setting}")));
        assert_eq!(show.fetch_one(&db).await.unwrap(), value, "{setting}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_that_hang_leave_connections_for_commands() {
    let scene = Scene::new().await;
    let _running = scene.run().await;
    // It answers.
    scene.stage.ask("shop", "acme", &HeldCommands { limit: 1 }).await.unwrap();
    // Every question about held commands waits for this lock; putting things does not need the table.
    let mut lock = scene.stage.db.begin().await.unwrap();
    sqlx::query("lock table bus.attempts in access exclusive mode").execute(&mut *lock).await.unwrap();
    let asking: Vec<_> = (0..20)
        .map(|_| {
            let operator = scene.stage.operator.clone();
            tokio::spawn(async move {
                let map = headers(&[("ce-tenant", "acme")]);
                operator.ask("qry.shop.held".into(), map, r#"{"limit":1}"#.into(), Duration::from_secs(30)).await
            })
        })
        .collect();
    // Not the trimmer, which waits for the lock as well if the worker has only just started.
    let hanging = "select count(*) from pg_stat_activity
        where wait_event_type = 'Lock' and datname = current_database() and query like '%i.outcome = ''held''%'";
    // The worker has eight connections: half of them hang, and no more.
    scene.until(hanging, 4).await;
    for _ in 0..5 {
        let id = scene.put("").await;
        assert_eq!(scene.stage.outcome(id).await.outcome, Some(Outcome::Succeeded));
    }
    assert_eq!(scene.count(hanging).await, 4);
    // Whoever has waited for too long is told so. Those who come next take no more connections all the same.
    let (told, _, asking) = futures_util::future::select_all(asking).await;
    let told = told.unwrap().unwrap().expect("somebody answers");
    assert_eq!(told.headers.unwrap().get("Nats-Service-Error-Code").map(|code| code.as_str()), Some("503"));
    let id = scene.put("").await;
    assert_eq!(scene.stage.outcome(id).await.outcome, Some(Outcome::Succeeded));
    assert_eq!(scene.count(hanging).await, 4);
    lock.rollback().await.unwrap();
    for asked in asking {
        assert!(asked.await.unwrap().is_ok(), "answered after all, or told that it could not be");
    }
}
