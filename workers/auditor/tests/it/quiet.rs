//! What the logs hold, and what they don't.

use omnibus_auditor::settings::ComplianceMode;
use omnibus_runtime::clock;
use omnibus_runtime::testing::Log;
use omnibus_schemas::auditor::{DraftPolicy, EraseSubject};
use omnibus_schemas::texter::SendSms;
use omnibus_schemas::{Command, subject};

use crate::scene::{Scene, eventually, headers};

/// The log is the whole process's, so other tests' lines stand in it too; these words are of this test alone.
#[tokio::test(flavor = "multi_thread")]
async fn no_word_of_a_body_gets_into_a_log() {
    let log = Log::begin();
    let scene = Scene::new().await;
    let running = scene.run_as(ComplianceMode::Watch).await;
    scene.consent("acme", "quiet-1", "+14155550177").await;
    scene.stage.publish_raw("evt.greeter.greeted.acme", headers(&[("ce-id", "quiet-2")]), "{quietgarbage").await;
    let text = SendSms { to: "+14155550178".into(), body: "quietbody".into(), ..SendSms::example() };
    scene.stage.publish("acme", &text).await;
    scene.grown("acme", 3).await;

    // The auditor's own commands: done, refused, and such as nobody can read.
    let draft = DraftPolicy { policy: "quiet".parse().unwrap(), title: "quiettitle".into(), text: "quiettext".into() };
    assert_eq!(scene.code("acme", "ada", &draft).await, "policy_moved");
    assert_eq!(scene.code("acme", "bob", &draft).await, "same_content");
    let erase = EraseSubject { subject: "+14155550177".into(), reason: "quietreason".into() };
    assert_eq!(scene.does("acme", &erase).await.name, "subject_erased");
    let id = clock::new_id();
    let map = headers(&[("ce-id", &id.to_string()), ("Content-Type", "application/json")]);
    let subject = subject::command(DraftPolicy::DOMAIN, DraftPolicy::LANE, DraftPolicy::NAME, "acme");
    scene.stage.publish_raw(&subject, map, r#"{"policy":"quiet","title":["quietbroken"]}"#).await;
    assert_eq!(scene.stage.outcome(id).await.data["code"], "undecodable");

    // A database that refuses a batch quotes the row that it refuses.
    scene.sql("alter table auditor.entries add constraint quiet check (tenant <> 'globex') not valid").await;
    let map = headers(&[("ce-id", "quiet-3"), ("ce-subject", "quiettarget")]);
    scene.stage.publish_raw("evt.greeter.greeted.globex", map, r#"{"name":"quietname"}"#).await;
    eventually("the batch is refused", || async { log.says("a batch is not on the record yet") }).await;
    scene.sql("alter table auditor.entries drop constraint quiet").await;
    scene.grown("globex", 1).await;
    running.stop().await;

    for word in [
        "+14155550177",
        "+14155550178",
        "quietgarbage",
        "quietbody",
        "quiettitle",
        "quiettext",
        "quietreason",
        "quietbroken",
        "quiettarget",
        "quietname",
    ] {
        assert_eq!(log.line_with(word), None, "{word}");
    }
}
