//! Bad input: a clear answer or a dead letter with the decoder's words, and nothing else changes.

use omnibus_runtime::testing::Told;
use omnibus_schemas::platform::Outcome;

use crate::scene::{Scene, headers};

const SUBJECT: &str = "cmd.shop.default.put.acme";
const SECRET: &str = "hush-5f1c";

async fn letter(scene: &Scene, subject: &str, map: &[(&str, &str)], body: impl Into<bytes::Bytes>) -> Told {
    let sequence = scene.stage.publish_raw(subject, headers(map), body).await.to_string();
    scene
        .stage
        .event(|told| {
            told.subject.starts_with("dlq.") && told.header("omnibus-dlq-sequence") == Some(sequence.as_str())
        })
        .await
}

fn code(told: &Told) -> (&str, &str) {
    (told.header("omnibus-dlq-code").unwrap(), told.header("omnibus-dlq-detail").unwrap())
}

/// Headers, a body, and words of the dead letter.
type Case<'a> = (&'a [(&'a str, &'a str)], Vec<u8>, &'a str);

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_read_is_a_dead_letter_with_the_decoders_words_at_once() {
    let scene = Scene::new().await;
    let _running = scene.run().await;
    let msgpack = [("Content-Type", "application/msgpack")];
    let wrong_type = format!(r#"{{"thing":"apple","how":["{SECRET}"]}}"#);
    let wrong_name = format!(r#"{{"thing":{{"{SECRET}":1}}}}"#);
    let cases: Vec<Case<'_>> = vec![
        (&[], b"{\"thing\":".to_vec(), "EOF while parsing"),
        (&[], b"".to_vec(), "EOF while parsing"),
        (&[], b"\x00\xff\xfe garbage".to_vec(), "expected value"),
        (&[], b"{}".to_vec(), "missing field `thing`"),
        (&[], wrong_type.into_bytes(), "/how: invalid type"),
        (&[], wrong_name.into_bytes(), "/thing: invalid type"),
        (&[], b"{\"thing\":\"apple\"} and more".to_vec(), "trailing characters"),
        (&msgpack, b"{\"thing\":\"apple\"}".to_vec(), "body: "),
        (&msgpack, vec![0x81], "body: "),
        (&msgpack, vec![], "body: "),
        (
            &[("ce-type", "omnibus.shop.put.v7")],
            b"{\"thing\":\"apple\"}".to_vec(),
            "version 7 of put is not known; known: 1",
        ),
        (&[("ce-type", "omnibus.shop.charge.v1")], b"{\"thing\":\"apple\"}".to_vec(), "the header ce-type is not"),
        (&[("ce-type", "nonsense")], b"{\"thing\":\"apple\"}".to_vec(), "the header ce-type is not"),
        (&[("ce-time", "yesterday")], b"{\"thing\":\"apple\"}".to_vec(), "the header ce-time is not an RFC 3339 time"),
        (&[("Content-Type", "text/html")], b"{\"thing\":\"apple\"}".to_vec(), "the Content-Type must be"),
    ];
    for (map, body, words) in cases {
        let told = letter(&scene, SUBJECT, map, body.clone()).await;
        let (code, detail) = code(&told);
        assert_eq!(code, "undecodable", "{words}");
        assert!(detail.contains(words), "{detail} has not {words}");
        assert!(!detail.contains(SECRET), "{detail}");
        assert_eq!(told.header("omnibus-dlq-attempts"), Some("0"));
    }
    assert_eq!(scene.count("select count(*) from shop.things").await, 0);
    assert_eq!(scene.count("select count(*) from bus.retries").await, 0);
    assert_eq!(scene.count("select count(*) from bus.inbox where outcome = 'dead_lettered'").await, 15);
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_fields_are_ignored_on_the_bus() {
    let scene = Scene::new().await;
    let _running = scene.run().await;
    scene.stage.publish_raw(SUBJECT, headers(&[]), r#"{"thing":"quince","tenant":"globex","extra":{"a":[1]}}"#).await;
    let told = scene.stage.event(|told| told.data["thing"] == "quince").await;
    assert_eq!((told.tenant.as_str(), told.outcome), ("acme", Some(Outcome::Succeeded)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_breaks_the_commands_rules_is_rejected_with_its_faults_and_without_its_values() {
    let scene = Scene::new().await;
    let _running = scene.run().await;
    let body = serde_json::json!({ "thing": SECRET.repeat(10), "how": SECRET.repeat(10) }).to_string();
    scene.stage.publish_raw(SUBJECT, headers(&[("ce-id", "bad-1")]), body).await;
    let told = scene.stage.event(|told| told.causation == "bad-1").await;
    assert_eq!((told.outcome, told.data["code"].as_str()), (Some(Outcome::Rejected), Some("invalid")));
    let mut pointers: Vec<_> =
        told.data["faults"].as_array().unwrap().iter().map(|f| f["pointer"].as_str().unwrap()).collect();
    pointers.sort_unstable();
    assert_eq!(pointers, ["/how", "/thing"]);
    assert!(!told.data.to_string().contains(SECRET));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_nobody_knows_a_forged_tenant_and_a_subject_out_of_shape_are_dead_letters() {
    let scene = Scene::new().await;
    let _running = scene.run().await;
    let body = || "{\"thing\":\"apple\"}";
    let told = letter(&scene, "cmd.shop.default.teleport.acme", &[], body()).await;
    assert_eq!(code(&told).0, "unknown_command");

    let forged = [("ce-tenant", "globex"), ("ce-id", "01979f6e-5a00-7000-8000-000000000001")];
    let told = letter(&scene, SUBJECT, &forged, body()).await;
    assert_eq!((code(&told).0, told.tenant.as_str()), ("forged_tenant", "acme"));
    assert_eq!(scene.count("select count(*) from bus.inbox where tenant = 'globex'").await, 0);
    let claimed = "select count(*) from bus.inbox where message_id = '01979f6e-5a00-7000-8000-000000000001'";
    assert_eq!(scene.count(claimed).await, 0);

    let told = letter(&scene, "cmd.shop.default.put.ACME", &[], body()).await;
    assert_eq!(code(&told).0, "undecodable");
    assert!(code(&told).1.contains("1 to 64 characters of a-z"));
    let told = letter(&scene, "cmd.shop.default.put", &[], body()).await;
    assert!(code(&told).1.contains("cmd.<domain>.<lane>.<command>.<tenant>"));
    let told = letter(&scene, "cmd.shop.default.put.acme.more", &[], body()).await;
    assert!(code(&told).1.contains("cmd.<domain>.<lane>.<command>.<tenant>"));
    assert_eq!(scene.count("select count(*) from shop.things").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_900_kib_is_read_and_a_dead_letter_of_it_is_carried_whole() {
    let scene = Scene::new().await;
    let _running = scene.run().await;
    let filler = "x".repeat(900 * 1024);
    let fine = serde_json::json!({ "thing": "melon", "filler": filler }).to_string();
    scene.stage.publish_raw(SUBJECT, headers(&[]), fine).await;
    assert_eq!(scene.stage.event(|told| told.data["thing"] == "melon").await.outcome, Some(Outcome::Succeeded));
    let failing =
        serde_json::json!({ "thing": "melon", "how": "reject_not", "filler": filler, "thing2": [] }).to_string();
    let told = letter(&scene, SUBJECT, &[], failing.replace("\"melon\"", "7")).await;
    assert_eq!(told.data["filler"].as_str().map(str::len), Some(900 * 1024));
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_from_a_tenants_own_bus_user_harms_nobody() {
    let scene = Scene::new().await;
    let _running = scene.run().await;
    let tenant = scene.stage.connect("tenant_acme").await;
    for subject in [SUBJECT, "cmd.shop.calls.charge.acme", "cmd.shop.default.resolve_held.acme"] {
        tenant.publish(subject, headers(&[]), "\u{1}garbage".into()).await.unwrap();
        let name = subject.split('.').nth(3).unwrap();
        let told = scene.stage.event(|told| told.subject == format!("dlq.shop.{name}.acme")).await;
        assert_eq!(code(&told).0, "undecodable");
    }
    let id = scene.put("").await;
    assert_eq!(scene.stage.outcome(id).await.outcome, Some(Outcome::Succeeded));
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_and_bodies_up_to_the_buss_limit_still_end_as_dead_letters() {
    let scene = Scene::new().await;
    let _running = scene.run().await;
    let long = "y".repeat(1500);
    let names: Vec<String> = (0..40).map(|n| format!("x-filler-{n}")).collect();
    let mut map: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), long.as_str())).collect();
    map.push(("ce-actor", &long));
    let told = letter(&scene, SUBJECT, &map, "g".repeat(960 * 1024)).await;
    assert_eq!(told.header("omnibus-original-ce-actor").map(str::len), Some(1500));
    assert_eq!(told.header("omnibus-original-x-filler-0").map(str::len), Some(1500));
    assert_eq!(told.header("omnibus-original-x-filler-39"), None, "there is no room for all");
    let told = letter(&scene, SUBJECT, &[], "g".repeat(1_048_000)).await;
    assert!(told.header("omnibus-dlq-body").unwrap().starts_with("left in the command stream"));
    scene.until("select count(*) from bus.inbox where outcome = 'dead_lettered' and published_at is not null", 2).await;
}
