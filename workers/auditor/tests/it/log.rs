//! What becomes an entry, once, in order, and what it says.

use std::collections::HashSet;

use omnibus_bus::{Settings, Topology};
use omnibus_runtime::bus::PublishError;
use omnibus_schemas::auditor::{PersonalFields, PlaceHold, Receipt, RecordAct};
use omnibus_schemas::greeter::Greet;
use omnibus_schemas::texter::SendSms;
use omnibus_schemas::{Catalogue, Command};

use crate::scene::{Scene, eventually, headers, settings};

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_one_entry_however_often_it_comes() {
    let scene = Scene::new().await;
    let running = scene.run().await;
    for _ in 0..3 {
        // Three messages of the stream: nothing tells the server that they are one.
        scene.greeted("acme", "e-1").await;
    }
    scene.greeted("acme", "e-2").await;
    scene.grown("acme", 2).await;
    running.stop().await;
    let running = scene.run().await;
    scene.greeted("acme", "e-1").await;
    scene.greeted("acme", "e-3").await;
    scene.grown("acme", 3).await;
    let ids: Vec<_> = scene.leaves("acme").await.iter().map(|leaf| leaf["id"].clone()).collect();
    assert_eq!(ids, ["e-1", "e-2", "e-3"]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commands_acceptance_says_who_what_when_and_where_from_and_nothing_of_the_body() {
    let scene = Scene::new().await;
    let running = scene.run().await;
    let id = scene.stage.publish("acme", &Greet { name: "Rumpelstiltskin".into() }).await;
    scene.grown("acme", 1).await;
    let leaf = &scene.leaves("acme").await[0];
    for (field, value) in [
        ("kind", "command"),
        ("what", "greeter.greet"),
        ("actor", "test"),
        ("source", "omnibus/test"),
        ("stream", "CMD_GREETER"),
        ("tenant", "acme"),
    ] {
        assert_eq!(leaf[field], value, "{leaf}");
    }
    assert_eq!(leaf["id"], id.to_string());
    for time in ["occurred_at", "received_at", "sequenced_at"] {
        chrono::DateTime::parse_from_rfc3339(leaf[time].as_str().unwrap()).unwrap();
    }
    let body = scene.count("select count(*) from auditor.entries e where e::text like '%Rumpelstiltskin%'").await;
    assert_eq!((leaf.get("skew_seconds"), body), (None, 0));
    let receipt = scene.asks("acme", &Receipt { message_id: id.to_string() }).await.unwrap();
    assert_eq!(receipt.entries.len(), 1);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_times_are_kept_order_is_by_sequence_and_a_clock_that_is_days_off_is_flagged() {
    let scene = Scene::new().await;
    let running = scene.run().await;
    let map = headers(&[("ce-id", "late"), ("ce-time", "2031-01-01T00:00:00Z")]);
    scene.stage.publish_raw("evt.greeter.greeted.acme", map, "{}").await;
    scene.grown("acme", 1).await;
    scene.greeted("acme", "after").await;
    scene.grown("acme", 2).await;
    let leaves = scene.leaves("acme").await;
    assert_eq!((leaves[0]["id"].as_str(), leaves[1]["id"].as_str()), (Some("late"), Some("after")));
    assert_eq!(leaves[0]["occurred_at"], "2031-01-01T00:00:00.000000Z");
    assert!(leaves[0]["skew_seconds"].as_i64().unwrap() > 86_400, "{}", leaves[0]);
    assert!(leaves[0]["received_at"].as_str() < leaves[0]["occurred_at"].as_str());
    assert!(leaves[0]["received_at"].as_str() <= leaves[0]["sequenced_at"].as_str());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_days_behind_is_flagged_and_what_has_waited_for_less_than_an_hour_is_not() {
    let scene = Scene::new().await;
    let running = scene.run().await;
    let now = omnibus_runtime::clock::now();
    for (id, ago) in [("behind", chrono::TimeDelta::days(3)), ("waited", chrono::TimeDelta::minutes(50))] {
        let map = headers(&[("ce-id", id), ("ce-time", &(now - ago).to_rfc3339())]);
        scene.stage.publish_raw("evt.greeter.greeted.acme", map, "{}").await;
    }
    scene.grown("acme", 2).await;
    let leaves = scene.leaves("acme").await;
    let skew = leaves[0]["skew_seconds"].as_i64().unwrap();
    assert!((-3 * 86_400 - 600..=-3 * 86_400).contains(&skew), "{}", leaves[0]);
    assert_eq!((leaves[1]["id"].as_str(), leaves[1].get("skew_seconds")), (Some("waited"), None));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_auditors_at_once_record_each_message_once_and_one_goes_on_when_the_other_ends() {
    const EACH: usize = 200;
    let scene = Scene::new().await;
    let (first, second) = (scene.run().await, scene.run().await);
    for n in 0..EACH {
        scene.greeted("acme", &format!("both-{n}")).await;
    }
    scene.grown("acme", EACH as u64).await;
    first.stop().await;
    for n in 0..EACH {
        scene.greeted("acme", &format!("one-{n}")).await;
    }
    scene.grown("acme", 2 * EACH as u64).await;
    let leaves = scene.leaves("acme").await;
    let ids: HashSet<&str> = leaves.iter().map(|leaf| leaf["id"].as_str().unwrap()).collect();
    assert_eq!((leaves.len(), ids.len()), (2 * EACH, 2 * EACH));
    assert_eq!(scene.checked("acme", None).await.unwrap().checked, 2 * EACH as u64);
    second.stop().await;
}

/// Lets the sequencer go through whole rounds: each begins with a lock, which is lent to it here. Something must have
/// arrived.
async fn rounds_pass(scene: &Scene) {
    const LOCK: &str = "hashtextextended('omnibus.auditor.round', 0)";
    let waits = format!(
        "select count(*) from pg_locks where locktype = 'advisory' and not granted
             and database = (select oid from pg_database where datname = current_database())
             and (classid::bigint << 32) + objid::bigint = {LOCK}"
    );
    // Whoever waits once more has ended the round before.
    for _ in 0..3 {
        let mut lent = scene.stage.db.begin().await.unwrap();
        let lock = sqlx::query(sqlx::AssertSqlSafe(format!("select pg_advisory_xact_lock({LOCK})")));
        lock.execute(&mut *lent).await.unwrap();
        eventually("the next round begins", || async { scene.count(&waits).await == 1 }).await;
        lent.rollback().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_open_transaction_writes_comes_before_what_began_after_it() {
    let scene = Scene::new().await;
    let running = scene.run().await;
    let arrives = |n: u8, id: &str| {
        format!(
            r#"insert into auditor.arrivals (key, tenant, body, salt) values
               ('00000000-0000-0000-0000-00000000000{n}', 'acme', '{{"id":"{id}"}}', '')"#
        )
    };
    let mut slow = scene.stage.db.begin().await.unwrap();
    sqlx::query(sqlx::AssertSqlSafe(arrives(1, "slow"))).execute(&mut *slow).await.unwrap();
    scene.sql(&arrives(2, "quick")).await;
    rounds_pass(&scene).await;
    assert_eq!(scene.size("acme").await, 0);
    slow.commit().await.unwrap();
    scene.grown("acme", 2).await;
    let ids: Vec<_> = scene.leaves("acme").await.iter().map(|leaf| leaf["id"].clone()).collect();
    assert_eq!(ids, ["slow", "quick"]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_malformed_or_forged_is_on_the_record_as_that_and_harms_nothing() {
    let scene = Scene::new().await;
    let running = scene.run().await;
    let forged = headers(&[("ce-tenant", "globex"), ("ce-id", "e-1")]);
    scene.stage.publish_raw("evt.greeter.greeted.acme", forged, "not json \0 at all").await;
    scene.stage.publish_raw("evt.texter.consent_changed.acme", headers(&[]), vec![0xff; 900 * 1024]).await;
    scene.stage.publish_raw("evt.greeter.greeted.ACME", headers(&[]), "{}").await;
    scene.greeted("acme", "e-1").await;
    scene.grown("acme", 3).await;
    scene.grown("_", 1).await;
    let leaves = scene.leaves("acme").await;
    assert_eq!(leaves[0]["malformed"], "forged_tenant");
    assert_ne!(leaves[0]["id"], "e-1");
    assert_eq!(leaves[1]["bytes"], 900 * 1024);
    assert_eq!((leaves[2]["id"].as_str(), leaves[2].get("malformed")), (Some("e-1"), None));
    assert_eq!(scene.leaves("_").await[0]["malformed"], "undecodable");
    assert!(scene.checked("acme", None).await.is_ok());
    assert_eq!(scene.size("globex").await, 0);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_as_large_as_the_bus_takes_becomes_an_entry_that_commits_to_all_of_it() {
    let scene = Scene::new().await;
    let running = scene.run().await;
    // The bus takes 1 MiB together with the headers.
    let name = "x".repeat((1 << 20) - 1024);
    let payload = format!(r#"{{"greeting_id":"01979f6e-5a00-7000-8000-000000000002","name":"{name}","revision":1}}"#);
    let map = headers(&[("ce-id", "big"), ("ce-tenant", "acme"), ("ce-type", "omnibus.greeter.greeted.v1")]);
    scene.stage.publish_raw("evt.greeter.greeted.acme", map, payload.clone()).await;
    scene.greeted("acme", "after").await;
    scene.grown("acme", 2).await;
    let leaves = scene.leaves("acme").await;
    assert_eq!((leaves[0]["id"].as_str(), leaves[0].get("malformed")), (Some("big"), None));
    assert_eq!((&leaves[0]["bytes"], &leaves[1]["id"]), (&payload.len().into(), &"after".into()));

    use base64::Engine as _;
    let base64 = base64::engine::general_purpose::STANDARD;
    let salt = scene.asks("acme", &PersonalFields { index: 0 }).await.unwrap().salt.unwrap();
    let salt = base64.decode(salt).unwrap();
    let hash = omnibus_auditor::tree::digest(&[b"omnibus audit payload", &salt, payload.as_bytes()]);
    assert_eq!(leaves[0]["commitment"], base64.encode(hash));
    assert!(scene.checked("acme", None).await.is_ok());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn words_of_every_script_are_kept_and_proved_as_they_were_written() {
    let scene = Scene::new().await;
    let running = scene.run().await;
    let words = [("ce-id", "größe"), ("ce-actor", "Zoë 🦀"), ("ce-subject", "訂單/1"), ("ce-tenant", "acme")];
    scene.stage.publish_raw("evt.greeter.greeted.acme", headers(&words), r#"{"name":"日本"}"#).await;
    scene.greeted("acme", "after").await;
    scene.grown("acme", 2).await;
    let leaves = scene.leaves("acme").await;
    for (field, word) in [("id", "größe"), ("actor", "Zoë 🦀"), ("target", "訂單/1")] {
        assert_eq!(leaves[0][field], word, "{}", leaves[0]);
    }
    assert_eq!(scene.checked("acme", None).await.unwrap().checked, 2);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_auditor_says_nothing_onto_what_it_reads() {
    let topology = Topology::of(&Catalogue::omnibus(), &Settings::default());
    let events = topology.logs("auditor").find(|log| log.stream == "EVT").unwrap();
    assert!(events.filter_subjects.iter().all(|filter| !filter.starts_with("evt.auditor.") && filter != "evt.>"));

    let scene = Scene::new().await;
    let running = scene.run().await;
    for n in 0..50 {
        scene.greeted("acme", &format!("e-{n}")).await;
    }
    scene.grown("acme", 50).await;
    let told = scene.does("acme", &PlaceHold::example()).await;
    assert_eq!(told.name, "hold_placed");
    let said = scene.stage.told().into_iter().filter(|told| told.subject.starts_with("evt.auditor.")).count();
    // Whoever has read what came after it on the bus would have read it too.
    scene.greeted("acme", "after").await;
    eventually("it is on the record", || async { scene.leaves("acme").await.iter().any(|leaf| leaf["id"] == "after") })
        .await;
    // The hold's acceptance, its outcome, and what came after it.
    scene.grown("acme", 53).await;
    let leaves = scene.leaves("acme").await;
    let held = leaves.iter().filter(|leaf| leaf["what"] == "auditor.hold_placed").count();
    assert_eq!((said, held, leaves.len()), (1, 1, 53));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_forges_without_permission_never_reaches_the_log() {
    let scene = Scene::new().await;
    let running = scene.run().await;
    for (user, subject) in [
        ("tenant_acme", "evt.greeter.greeted.acme"),
        ("tenant_acme", "evt.auditor.act_recorded.acme"),
        ("tenant_acme", "cmd.auditor.default.record_act.acme"),
        ("tenant_acme", "cmd.greeter.default.greet.globex"),
        ("greeter", "evt.texter.consent_changed.acme"),
        ("greeter", "cmd.auditor.default.record_act._"),
        ("ingest", "evt.greeter.greeted.acme"),
    ] {
        let bus = scene.stage.connect(user).await;
        let refused = bus.publish(subject, headers(&[("ce-id", "forged")]), "{}".into()).await;
        assert!(matches!(refused, Err(PublishError::Refused(_))), "{user} on {subject}: {refused:?}");
    }
    scene.greeted("acme", "e-1").await;
    scene.accepted("acme", "c-1").await;
    scene.grown("acme", 2).await;
    assert_eq!(scene.leaves("acme").await.iter().filter(|leaf| leaf["id"] == "forged").count(), 0);
    assert_eq!((scene.size("acme").await, scene.size("globex").await, scene.size("_").await), (2, 0, 0));
    assert!(scene.checked("acme", None).await.is_ok());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_order_of_each_stream_is_kept_in_the_log() {
    // Some batches of the reader's.
    const COMMANDS: usize = 5000;
    const EVENTS: usize = 50;
    let scene = Scene::new().await;
    scene.stage.backlog("acme", COMMANDS, |n| Greet { name: n.to_string() }).await;
    for n in 0..EVENTS {
        scene.greeted("acme", &format!("e-{n}")).await;
    }
    let running = scene.run().await;
    scene.grown("acme", (COMMANDS + EVENTS) as u64).await;
    let leaves = scene.leaves("acme").await;
    for (stream, count) in [("CMD_GREETER", COMMANDS), ("EVT", EVENTS)] {
        let of = leaves.iter().filter(|leaf| leaf["stream"] == stream);
        let sequences: Vec<u64> = of.map(|leaf| leaf["sequence"].as_u64().unwrap()).collect();
        let out_of_order = sequences.windows(2).position(|two| two[0] >= two[1]);
        assert_eq!((sequences.len(), out_of_order), (count, None), "{stream}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operators_act_is_two_entries_the_asking_and_the_doing() {
    let scene = Scene::new().await;
    let running = scene.run().await;
    scene.does("acme", &RecordAct { act: "key.minted".into(), target: "k-1".into(), detail: String::new() }).await;
    scene.grown("acme", 2).await;
    let mut leaves = scene.leaves("acme").await;
    leaves.sort_by_key(|leaf| leaf["kind"].as_str().unwrap().to_owned());
    assert_eq!((&leaves[0]["what"], &leaves[0]["actor"]), (&"auditor.record_act".into(), &"test".into()));
    assert_eq!((&leaves[1]["what"], &leaves[1]["target"]), (&"auditor.act_recorded".into(), &"key.minted k-1".into()));
    assert_eq!(leaves[1]["causation"], leaves[0]["id"]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn personal_fields_lie_sealed_and_the_commitment_can_be_opened_by_those_who_may() {
    let scene = Scene::new().await;
    let running = scene.run().await;
    let text = SendSms { to: "+14155552671".into(), ..SendSms::example() };
    scene.stage.publish("acme", &text).await;
    scene.grown("acme", 1).await;
    let plain = scene.count("select count(*) from auditor.entries e where e::text like '%4155552671%'").await;
    assert_eq!(plain, 0);
    let personal = scene.asks("acme", &PersonalFields { index: 0 }).await.unwrap();
    let field = personal.fields.iter().find(|field| field.field == "/to").unwrap();
    assert_eq!(field.value.as_deref(), Some("+14155552671"));

    use base64::Engine as _;
    let base64 = base64::engine::general_purpose::STANDARD;
    let payload = omnibus_schemas::body::encode(omnibus_schemas::Encoding::MessagePack, &text);
    let salt = base64.decode(personal.salt.unwrap()).unwrap();
    let hash = omnibus_auditor::tree::digest(&[b"omnibus audit payload", &salt, &payload]);
    assert_eq!(scene.leaves("acme").await[0]["commitment"], base64.encode(hash));
    running.stop().await;
}

#[test]
fn all_of_the_domain_is_handled() {
    let dir = tempfile::tempdir().unwrap();
    let worker = omnibus_auditor::worker(settings(dir.path())).unwrap();
    assert_eq!(worker.unhandled(&Catalogue::omnibus()), [""; 0]);
}

#[test]
fn settings_that_can_not_be_are_refused_in_words() {
    let dir = tempfile::tempdir().unwrap();
    let refused = |change: &dyn Fn(&mut omnibus_auditor::Settings)| {
        let mut settings = settings(dir.path());
        change(&mut settings);
        omnibus_auditor::worker(settings).err().unwrap().to_string()
    };
    assert!(refused(&|s| s.audit_secret = Some("short".to_owned().into())).contains("32 characters"));
    assert!(refused(&|s| s.audit_origin = "https://x y".into()).contains("AUDIT_ORIGIN"));
}
