//! A person's data goes, the proofs stay.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use omnibus_auditor::tree::{Hash, digest};
use omnibus_schemas::auditor::{EraseSubject, Erasures, PersonalFields};
use serde_json::json;

use crate::proofs::second_opinion;
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
    let export = scene.export("acme", Some(&before.checkpoint)).await;
    let (well, said) = second_opinion(&scene, &export, &scene.key("acme").await, Some(&before.checkpoint));
    assert!(well && said.starts_with("OK: "), "{said}");
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
    // Of the number, and of the payload with and without what a reader of the code knows to stand before it.
    let payload =
        format!(r#"{{"channel":"sms","recipient":"{NUMBER}","covers":"all","state":"opted_out","source":"word"}}"#);
    let kept: Vec<u8> = sqlx::query_scalar("select salt from auditor.entries where tenant = 'acme' and idx = 0")
        .fetch_one(&scene.stage.db)
        .await
        .unwrap();
    let salts: [&[u8]; 4] = [&[], &kept, &kept[..32.min(kept.len())], &[0; 32]];
    let mut guesses = vec![digest(&[NUMBER.as_bytes()])];
    for salt in salts {
        guesses.push(digest(&[salt, payload.as_bytes()]));
        guesses.push(digest(&[b"omnibus audit payload", salt, payload.as_bytes()]));
    }
    for guess in guesses {
        for text in written(&guess) {
            for table in ["entries", "subjects", "erasures", "ids", "arrivals", "tiles"] {
                let found = format!("select count(*) from auditor.{table} t where t::text like '%{text}%'");
                assert_eq!(scene.count(&found).await, 0, "{table}");
            }
        }
    }
    running.stop().await;
}

/// A digest as it may stand in a text.
fn written(hash: &Hash) -> [String; 2] {
    [hash.iter().map(|byte| format!("{byte:02x}")).collect(), STANDARD.encode(hash)]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_twice_is_committed_to_by_two_salts() {
    let scene = Scene::new().await;
    let running = scene.run().await;
    for id in ["e-1", "e-2"] {
        scene.consent("acme", id, NUMBER).await;
    }
    scene.consent("globex", "e-1", NUMBER).await;
    scene.grown("acme", 2).await;
    scene.grown("globex", 1).await;
    let leaves = [scene.leaves("acme").await, scene.leaves("globex").await].concat();
    for field in ["commitment", "sealed"] {
        let mut all: Vec<&str> = leaves.iter().map(|leaf| leaf[field].as_str().unwrap()).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 3, "{field}: {leaves:?}");
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
    eventually("the ledger is replayed", || async {
        let Ok(personal) = scene.asks("acme", &PersonalFields { index: 0 }).await else { return false };
        assert_eq!((personal.fields[0].value.as_deref(), personal.salt), (None, None));
        true
    })
    .await;
    assert_eq!(scene.count("select count(*) from auditor.subjects where wrapped is not null").await, 0);
    assert_eq!(scene.count("select count(*) from auditor.erasures").await, 1);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_can_not_be_replayed_keeps_all_shut_until_it_can() {
    let scene = Scene::new().await;
    let running = scene.run().await;
    scene.consent("acme", "e-1", NUMBER).await;
    scene.grown("acme", 1).await;
    scene.does("acme", &erase(NUMBER)).await;
    eventually("the ledger is written", || async {
        scene.count("select count(*) from auditor.erasures where filed").await == 1
    })
    .await;
    let size = scene.grown("acme", 3).await.size;
    running.stop().await;

    let (ledger, beside) = (scene.dir.path().join("erasures.jsonl"), scene.dir.path().join("beside"));
    let good = std::fs::read_to_string(&ledger).unwrap();
    // At once: half a ledger may be read as a whole one.
    let says = |text: &str| {
        std::fs::write(&beside, text).unwrap();
        std::fs::rename(&beside, &ledger).unwrap();
    };
    says(&format!("garbage\n{good}"));
    let running = scene.run().await;
    let named = async |what: &str| {
        eventually(what, || async {
            let missing = running.health.missing();
            ["ingest", "sequencer"].iter().all(|task| missing.get(*task).is_some_and(|why| why.contains(what)))
        })
        .await;
    };
    named("line 1 of").await;
    scene.consent("acme", "e-2", NUMBER).await;
    // Both have tried again with what was said meanwhile.
    says(&format!("{good}garbage\n"));
    named("line 2 of").await;
    assert_eq!(scene.asks("acme", &PersonalFields { index: 0 }).await.unwrap_err().0, 500);
    assert_eq!(scene.count("select count(*) from auditor.arrivals").await, 0);
    assert_eq!(scene.size("acme").await, size);

    says(&good);
    scene.grown("acme", size + 1).await;
    let personal = scene.asks("acme", &PersonalFields { index: size }).await.unwrap();
    assert_eq!((personal.fields.first().and_then(|field| field.value.clone()), personal.salt), (None, None));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_was_lost_is_written_again_from_the_database() {
    let scene = Scene::new().await;
    let running = scene.run().await;
    scene.does("acme", &erase(NUMBER)).await;
    scene.does("globex", &erase(NUMBER)).await;
    eventually("the ledger is written", || async {
        scene.count("select count(*) from auditor.erasures where filed").await == 2
    })
    .await;
    running.stop().await;
    let ledger = scene.dir.path().join("erasures.jsonl");
    let lines = || {
        let text = std::fs::read_to_string(&ledger).unwrap_or_default();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        // Said twice is harmless.
        lines.dedup();
        lines
    };
    let before = lines();
    assert_eq!(before.len(), 2);
    for (lost, kept) in [("all of it", ""), ("a line", before[0].as_str())] {
        std::fs::write(&ledger, format!("{kept}\n").trim_start()).unwrap();
        let running = scene.run().await;
        eventually(lost, || async { lines() == before }).await;
        running.stop().await;
    }
}
