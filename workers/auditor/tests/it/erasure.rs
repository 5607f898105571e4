//! A person's data goes, the proofs stay.

use omnibus_schemas::auditor::{EraseSubject, Erasures, PersonalFields};
use serde_json::json;

use crate::scene::{Scene, eventually, headers};

const NUMBER: &str = "+14155552671";

fn erase(subject: &str) -> EraseSubject {
    EraseSubject { subject: subject.into(), reason: "request 1".into() }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_persons_fields_and_salts_are_gone_and_every_proof_still_holds() {
    let scene = Scene::new().await;
    let running = scene.run().await;
    scene.consent("acme", "e-1", NUMBER).await;
    scene.consent("acme", "e-2", "+14155552672").await;
    let before = scene.grown("acme", 2).await;
    let value = |index| {
        let scene = &scene;
        async move {
            let personal = scene.asks("acme", &PersonalFields { index }).await.unwrap();
            (personal.fields.first().and_then(|field| field.value.clone()), personal.salt.is_some())
        }
    };
    assert_eq!(value(0).await, (Some(NUMBER.into()), true));

    let told = scene.does("acme", &erase(&format!(" {NUMBER}"))).await;
    assert_eq!((told.name.as_str(), told.data["known"].as_bool()), ("subject_erased", Some(true)));
    assert!(!told.data.to_string().contains(NUMBER));
    assert_eq!(value(0).await, (None, false));
    assert_eq!(value(1).await, (Some("+14155552672".into()), true));

    // What comes later about the same person is not kept either.
    scene.grown("acme", 4).await;
    scene.consent("acme", "e-3", NUMBER).await;
    scene.grown("acme", 5).await;
    let last = scene.size("acme").await - 1;
    assert_eq!(value(last).await, (None, false));
    assert!(scene.checked("acme", Some(&before.checkpoint)).await.is_ok());
    assert_eq!(scene.asks("acme", &Erasures { limit: 10 }).await.unwrap().erasures.len(), 1);
    let kept = scene.count("select count(*) from auditor.subjects where wrapped is not null").await;
    assert_eq!(kept, 1);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_is_erased_however_it_was_written() {
    let scene = Scene::new().await;
    let running = scene.run().await;
    let written = [(NUMBER, ""), ("+1 (415) 555-2671", ""), ("415.555.2671", "us"), ("0151 23456789", "DE")];
    for (to, country) in written {
        let mut text = json!({ "to": to, "body": "Hello" });
        if !country.is_empty() {
            text["country"] = country.into();
        }
        let map = headers(&[("ce-id", to)]);
        scene.stage.publish_raw("cmd.texter.default.send_sms.acme", map, text.to_string()).await;
    }
    scene.grown("acme", 4).await;
    let kept = async || {
        let mut kept = vec![];
        for index in 0..4 {
            let personal = scene.asks("acme", &PersonalFields { index }).await.unwrap();
            kept.extend(personal.fields.into_iter().filter_map(|field| field.value));
        }
        kept
    };
    assert_eq!(kept().await, written.map(|(to, _)| to));
    let told = scene.does("acme", &erase("+1 415 555 2671")).await;
    assert_eq!(told.data["known"], true);
    assert_eq!(kept().await, ["0151 23456789"]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_digest_of_what_was_erased_stands_nowhere() {
    let scene = Scene::new().await;
    let running = scene.run().await;
    scene.consent("acme", "e-1", NUMBER).await;
    scene.grown("acme", 1).await;
    scene.does("acme", &erase(NUMBER)).await;
    let plain = omnibus_auditor::tree::digest(&[NUMBER.as_bytes()]);
    let hex: String = plain.iter().map(|byte| format!("{byte:02x}")).collect();
    for table in ["entries", "subjects", "erasures", "ids", "arrivals"] {
        let found = scene.count(&format!("select count(*) from auditor.{table} t where t::text like '%{hex}%'")).await;
        assert_eq!(found, 0, "{table}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_database_has_its_erasures_again_before_anything_is_opened() {
    let scene = Scene::new().await;
    let running = scene.run().await;
    scene.consent("acme", "e-1", NUMBER).await;
    scene.grown("acme", 1).await;
    scene.sql("create table kept as select * from auditor.subjects").await;
    scene.does("acme", &erase(NUMBER)).await;
    let ledger = scene.dir.path().join("erasures.jsonl");
    eventually("the ledger is written", || async { ledger.exists() }).await;
    assert!(!std::fs::read_to_string(&ledger).unwrap().contains(NUMBER));
    eventually("and known to be", || async {
        scene.count("select count(*) from auditor.erasures where not filed").await == 0
    })
    .await;
    running.stop().await;

    // A restore to the moment before.
    scene.sql("update auditor.subjects s set wrapped = k.wrapped, erased_at = null from kept k").await;
    scene.sql("delete from auditor.erasures").await;
    let running = scene.run().await;
    eventually("the ledger is replayed", || async { scene.asks("acme", &PersonalFields { index: 0 }).await.is_ok() })
        .await;
    let personal = scene.asks("acme", &PersonalFields { index: 0 }).await.unwrap();
    assert_eq!((personal.fields[0].value.as_deref(), personal.salt), (None, None));
    assert_eq!(scene.count("select count(*) from auditor.subjects where wrapped is not null").await, 0);
    assert_eq!(scene.count("select count(*) from auditor.erasures").await, 1);
    running.stop().await;
}
