//! Evidence that is a file: filed, kept, shown, fetched, and removed when its time is over.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac};
use omnibus_auditor::compliance::oscal;
use omnibus_auditor::settings::EvidenceLimits;
use omnibus_auditor::tree::digest;
use omnibus_auditor::{Settings, worker};
use omnibus_runtime::settings::WorkSettings;
use omnibus_runtime::{Visit, clock};
use omnibus_schemas::auditor::{
    AssessControl, ComplianceReport, ComplianceReportPage, EVIDENCE, EvidenceContent, EvidenceDownload, EvidenceFile,
    EvidenceItem, EvidenceLink, Framework, HoldPlaced, LiftHold, PlaceHold, UploadEvidence,
};
use omnibus_schemas::bucket::UPLOADS;
use omnibus_schemas::{Command, Encoding, Object, body, subject};
use serde_json::Value;
use sha2::Sha256;
use tokio::io::AsyncReadExt;
use uuid::Uuid;

use crate::scene::{Scene, eventually, headers, settings};

/// More than one message of the bus carries.
fn bytes() -> Vec<u8> {
    (0..1_500_000_u32).map(|n| (n * 31 % 251) as u8).collect()
}

fn sha256(bytes: &[u8]) -> String {
    digest(&[bytes]).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Scene {
    /// As the door does it: the file, then the command that names it.
    pub(crate) async fn uploaded(&self, tenant: &str, bytes: &[u8]) -> UploadEvidence {
        let store = self.stage.operator.jetstream().get_object_store(UPLOADS).await.unwrap();
        let object = Object {
            name: format!("{tenant}/{}", clock::new_id()),
            size: bytes.len() as u64,
            sha256: sha256(bytes),
            ..Object::example(tenant, "application/pdf")
        };
        let mut file = bytes;
        store.put(object.name.as_str(), &mut file).await.unwrap();
        UploadEvidence { filename: "course ü.pdf".into(), object, ..UploadEvidence::example() }
    }

    async fn filed(&self, upload: &UploadEvidence) -> Uuid {
        let told = self.does_as("acme", "ada", upload).await;
        assert_eq!(told.name, "evidence_filed", "{:?}", told.data);
        told.data["evidence_id"].as_str().unwrap().parse().unwrap()
    }

    async fn link(&self, tenant: &str, evidence_id: Uuid) -> Result<EvidenceLink, (u16, String)> {
        self.asks(tenant, &EvidenceDownload { evidence_id }).await
    }

    /// What the store has under a name.
    pub(crate) async fn kept(&self, name: &str) -> Option<Vec<u8>> {
        let store = self.stage.operator.jetstream().get_object_store(EVIDENCE).await.unwrap();
        let mut bytes = Vec::new();
        store.get(name).await.ok()?.read_to_end(&mut bytes).await.unwrap();
        Some(bytes)
    }

    /// Whether the file of the last evidence was removed.
    async fn removed(&self, tenant: &str) -> bool {
        self.items(tenant).await[0].file.as_ref().unwrap().removed_at.is_some()
    }

    async fn items(&self, tenant: &str) -> Vec<EvidenceItem> {
        self.asks(tenant, &EvidenceFile { control: None, after: None, limit: 50 }).await.unwrap().items
    }
}

/// A visitor with a link.
fn visit(path: &str) -> Visit {
    let link = path.strip_prefix("/evidence-files/").unwrap().to_owned();
    Visit {
        method: "GET".into(),
        path: path.to_owned(),
        params: [("link".to_owned(), link)].into(),
        ..Visit::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_filed_is_kept_counted_shown_and_fetched_as_it_was() {
    let scene = Scene::new().await;
    let running = scene.run().await;
    scene.greeted("acme", "e-1").await;
    scene.grown("acme", 1).await;
    let bytes = bytes();
    let mut upload = scene.uploaded("acme", &bytes).await;
    // Who says which hash it has is held to it.
    upload.sha256 = Some(sha256(&bytes).to_ascii_uppercase());
    let evidence_id = scene.filed(&upload).await;
    let assessed = scene.does_as("acme", "ada", &AssessControl { control: upload.control.clone() }).await;
    assert_eq!(assessed.data["status"], "met");
    // What was uploaded goes with its age; the copy stays.
    let uploads = scene.stage.operator.jetstream().get_object_store(UPLOADS).await.unwrap();
    uploads.delete(&upload.object.name).await.unwrap();

    let item = scene.items("acme").await.remove(0);
    let file = item.file.unwrap();
    assert_eq!((item.evidence_id, item.by.as_deref()), (evidence_id, Some("ada")));
    assert_eq!((file.filename.as_str(), file.content_type.as_str()), ("course ü.pdf", "application/pdf"));
    assert_eq!((file.size, item.sha256), (bytes.len() as u64, Some(sha256(&bytes))));

    let link = scene.link("acme", evidence_id).await.unwrap();
    assert!(link.until > clock::now() && link.until < clock::now() + chrono::TimeDelta::minutes(6));
    let reply = scene.stage.visit::<EvidenceContent>(&visit(&link.path)).await.unwrap();
    let header = |name: &str| reply.headers().iter().find(|(n, _)| n == name).map(|(_, value)| value.clone()).unwrap();
    assert_eq!(reply.code(), 200);
    assert_eq!(header("content-disposition"), "attachment; filename*=UTF-8''course%20%C3%BC.pdf");
    assert_eq!((header("content-type"), header("x-content-type-options")), (octets(), "nosniff".to_owned()));
    let (_, object) = reply.clone().into_body();
    let (bucket, name) = object.unwrap();
    assert_eq!((bucket.as_str(), name.as_str()), (EVIDENCE, format!("acme/{evidence_id}").as_str()));
    assert_eq!(sha256(&scene.kept(&name).await.unwrap()), link.sha256);

    let page = scene.asks("acme", &ComplianceReportPage { framework: Framework::Soc2 }).await.unwrap().html;
    assert!(page.contains("course ü.pdf</a>") && page.contains(&sha256(&bytes)), "the report names it");
    assert!(page.contains(&format!("href=\"/api/v1/compliance/evidence/{evidence_id}/file\"")));
    let report = scene.asks("acme", &ComplianceReport { framework: Framework::Soc2 }).await.unwrap();
    let document = oscal::assessment_results(&report, "acme");
    let resources = document["assessment-results"]["back-matter"]["resources"].as_array().unwrap();
    let resource = resources.iter().find(|resource| resource["description"] == "course ü.pdf").unwrap();
    let rlink = &resource["rlinks"][0];
    assert_eq!((&rlink["media-type"], &rlink["hashes"][0]["value"]), (&"application/pdf".into(), &hash(&bytes)));
    let named = format!("#{}", resource["uuid"].as_str().unwrap());
    assert!(document.to_string().contains(&named), "the observation leads to the file");
    running.stop().await;
}

fn octets() -> String {
    "application/octet-stream".to_owned()
}

fn hash(bytes: &[u8]) -> Value {
    sha256(bytes).into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenants_evidence_is_nobody_elses() {
    let scene = Scene::new().await;
    let running = scene.run().await;
    let upload = scene.uploaded("acme", b"who was there").await;
    let evidence_id = scene.filed(&upload).await;
    assert_eq!(scene.code("globex", "eve", &upload).await, "foreign_object");
    assert_eq!(scene.link("globex", evidence_id).await.unwrap_err().0, 404);
    assert_eq!(scene.items("globex").await, []);
    let link = scene.link("acme", evidence_id).await.unwrap();
    let other = scene.uploaded("globex", b"others").await;
    let told = scene.does_as("globex", "eve", &other).await;
    let theirs: Uuid = told.data["evidence_id"].as_str().unwrap().parse().unwrap();
    let theirs = scene.link("globex", theirs).await.unwrap();
    // Neither a link that was changed, nor one whose parts are two links', nor none.
    let (body, sign) = link.path.split_once('.').unwrap();
    let (_, other) = theirs.path.split_once('.').unwrap();
    for forged in [body.to_owned(), format!("{body}.{other}"), format!("{body}.{}A", &sign[..sign.len() - 1])] {
        let answer = scene.stage.visit::<EvidenceContent>(&visit(&forged)).await;
        assert!(forged == link.path || answer.unwrap_err().0 == 404, "{forged}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_not_what_is_said_of_it_is_refused_by_field_and_leaves_nothing() {
    let scene = Scene::new().await;
    let running = scene.run().await;
    let good = scene.uploaded("acme", b"who was there").await;
    let with = |change: &dyn Fn(&mut UploadEvidence)| {
        let mut upload = good.clone();
        change(&mut upload);
        upload
    };
    for (field, upload) in [
        ("/control", with(&|u| u.control = "nonsense".parse().unwrap())),
        ("/sha256", with(&|u| u.sha256 = Some(sha256(b"something else")))),
        ("/sha256", with(&|u| u.sha256 = Some("x".repeat(64)))),
        ("/object/size", with(&|u| u.object.size = (50 << 20) + 1)),
        ("/object/size", with(&|u| u.object.size = 0)),
        ("/object/content_type", with(&|u| u.object.content_type = "text/html".into())),
        ("/object/sha256", with(&|u| u.object.sha256 = "x".repeat(64))),
        ("/expires_at", with(&|u| u.expires_at = Some(clock::now() - chrono::TimeDelta::days(2)))),
        ("/filename", with(&|u| u.filename = "../course.pdf".into())),
    ] {
        let told = scene.does_as("acme", "ada", &upload).await;
        assert_eq!(told.data["faults"][0]["pointer"], field, "{:?}", told.data);
    }
    // What only the bytes tell.
    for (code, detail, upload) in [
        ("wrong_hash", "/object/sha256", with(&|u| u.object.sha256 = sha256(b"something else"))),
        ("wrong_hash", "/object/size", with(&|u| u.object.size = 5)),
        ("wrong_hash", "/object/size", with(&|u| u.object.size = 500)),
        ("no_such_object", "/object/name", with(&|u| u.object.name = "acme/none".into())),
        ("foreign_object", "/object", with(&|u| u.object.bucket = EVIDENCE.into())),
    ] {
        let told = scene.does_as("acme", "ada", &upload).await;
        assert_eq!(told.data["code"], code, "{:?}", told.data);
        assert!(told.data["detail"].as_str().unwrap().starts_with(detail), "{:?}", told.data);
        assert_eq!(scene.kept(&format!("acme/{}", told.causation)).await, None);
    }
    assert_eq!(scene.items("acme").await, []);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_goes_when_its_retention_is_over_and_no_hold_stands() {
    let scene = Scene::new().await;
    let running = scene.run().await;
    let evidence_id = scene.filed(&scene.uploaded("acme", b"who was there").await).await;
    let theirs = scene.uploaded("globex", b"others").await;
    assert_eq!(scene.code("globex", "eve", &theirs).await, "evidence_filed");
    let name = format!("acme/{evidence_id}");
    let told = scene.does("acme", &PlaceHold { reason: "matter 1".into() }).await;
    let placed: HoldPlaced = serde_json::from_value(told.data).unwrap();
    scene
        .sql(
            "update auditor.evidence set effective_from = '2015-01-01', expires_at = '2016-01-01',
                 filed_at = '2015-01-01'",
        )
        .await;
    running.stop().await;

    let running = scene.run().await;
    eventually("another tenant's is removed", || async { scene.removed("globex").await }).await;
    assert_eq!(scene.kept(&name).await.as_deref(), Some(b"who was there".as_slice()), "it is held");
    let lift = LiftHold { hold_id: placed.hold_id, reason: "settled".into() };
    assert_eq!(scene.does("acme", &lift).await.name, "hold_lifted");
    running.stop().await;

    let running = scene.run().await;
    eventually("the file is removed", || async { scene.removed("acme").await }).await;
    assert_eq!(scene.kept(&name).await, None);
    let item = scene.items("acme").await.remove(0);
    assert_eq!(item.sha256, Some(sha256(b"who was there")), "what it was can still be told");
    let (code, words) = scene.link("acme", evidence_id).await.unwrap_err();
    assert!(code == 404 && words.contains("retention"), "{words}");
    // And that it went is on the record.
    let of =
        |leaf: &Value| leaf["what"] == "auditor.evidence_file_removed" && leaf["target"] == evidence_id.to_string();
    eventually("the log says so", || async { scene.leaves("acme").await.iter().filter(|leaf| of(leaf)).count() == 1 })
        .await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_lost_does_not_keep_those_after_it() {
    let scene = Scene::new().await;
    let running = scene.run().await;
    let lost = scene.filed(&scene.uploaded("acme", b"who was there").await).await;
    let other = scene.filed(&scene.uploaded("acme", b"who was not").await).await;
    running.stop().await;
    let subject = format!("$O.{EVIDENCE}.M.{}", URL_SAFE.encode(format!("acme/{lost}")));
    let stream = scene.stage.operator.jetstream().get_stream(format!("OBJ_{EVIDENCE}")).await.unwrap();
    assert_eq!(stream.purge().filter(subject).await.unwrap().purged, 1);
    scene
        .sql(&format!(
            "update auditor.evidence set effective_from = '2014-01-01', filed_at = '2014-01-01',
                 expires_at = case evidence_id when '{lost}' then '2015-01-01'::timestamptz else '2016-01-01' end"
        ))
        .await;
    let running = scene.run().await;
    eventually("both are removed", || async {
        scene.items("acme").await.iter().all(|item| item.file.as_ref().unwrap().removed_at.is_some())
    })
    .await;
    assert_eq!(scene.kept(&format!("acme/{other}")).await, None);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_copy_that_broke_off_has_left_goes_and_nothing_else() {
    let scene = Scene::new().await;
    let running = scene.run().await;
    let evidence_id = scene.filed(&scene.uploaded("acme", b"who was there").await).await;
    let old = scene.filed(&scene.uploaded("acme", b"who was there long ago").await).await;
    running.stop().await;
    let broken = format!("$O.{EVIDENCE}.C.broken");
    scene.stage.publish_raw(&broken, headers(&[]), "the first half").await;
    let stream = scene.stage.operator.jetstream().get_stream(format!("OBJ_{EVIDENCE}")).await.unwrap();
    let there = async || stream.get_last_raw_message_by_subject(&broken).await.is_ok();

    // It may be a copy under way. What is past its retention goes after all parts were looked at.
    scene
        .sql(&format!(
            "update auditor.evidence set effective_from = '2015-01-01', expires_at = '2016-01-01',
                 filed_at = '2015-01-01' where evidence_id = '{old}'"
        ))
        .await;
    let running = scene.run().await;
    eventually("all was looked at", || async {
        scene.count("select count(*) from auditor.evidence where removed_at is not null").await == 1
    })
    .await;
    assert!(there().await);
    running.stop().await;

    let evidence = EvidenceLimits { stale: Duration::ZERO, ..EvidenceLimits::default() };
    let running = scene.run_with(Settings { evidence, ..settings(scene.dir.path()) }).await;
    eventually("it is gone", || async { !there().await }).await;
    assert_eq!(scene.kept(&format!("acme/{evidence_id}")).await.as_deref(), Some(b"who was there".as_slice()));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_whose_upload_was_given_up_goes_and_no_other() {
    let scene = Scene::new().await;
    let evidence = EvidenceLimits { most_bytes: 40, ..EvidenceLimits::default() };
    let once = WorkSettings { attempts: Some(1), ..WorkSettings::defaults() };
    let auditor = worker(Settings { evidence, ..settings(scene.dir.path()) }).unwrap();
    let running = scene.stage.run_with(auditor, once).await;
    let filed = scene.filed(&scene.uploaded("acme", b"who was there").await).await;
    let mut upload = scene.uploaded("acme", b"who else was there").await;
    // As a call leaves it whose copy came whole and whose answer did not, in a store that tells of the upload no more.
    let id = clock::new_id();
    let name = format!("acme/{id}");
    let store = scene.stage.operator.jetstream().get_object_store(EVIDENCE).await.unwrap();
    store.put(name.as_str(), &mut b"who else".as_slice()).await.unwrap();
    upload.object.name = "acme/unreadable".into();
    let named = format!("$O.{UPLOADS}.M.{}", URL_SAFE.encode(&upload.object.name));
    scene.stage.publish_raw(&named, headers(&[]), "what names no file").await;
    let subject = subject::command(UploadEvidence::DOMAIN, UploadEvidence::LANE, UploadEvidence::NAME, "acme");
    let map = headers(&[("ce-id", &id.to_string()), ("ce-actor", "ada"), ("Content-Type", "application/json")]);
    scene.stage.publish_raw(&subject, map, body::encode(Encoding::Json, &upload)).await;
    assert_eq!(scene.stage.outcome(id).await.name, "command_dead_lettered");
    assert_eq!(scene.kept(&name).await.as_deref(), Some(b"who else".as_slice()), "its worker may still be at it");
    // Its bytes are nobody's any more.
    scene.filed(&scene.uploaded("acme", b"who else was there").await).await;
    running.stop().await;

    let evidence = EvidenceLimits { stale: Duration::ZERO, ..EvidenceLimits::default() };
    let running = scene.run_with(Settings { evidence, ..settings(scene.dir.path()) }).await;
    eventually("nothing is left to remove", || async {
        scene.count("select count(*) from auditor.evidence_copies").await == 0
    })
    .await;
    assert_eq!(scene.kept(&name).await, None);
    assert_eq!(scene.kept(&format!("acme/{filed}")).await.as_deref(), Some(b"who was there".as_slice()));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_not_the_one_that_was_filed_any_more_is_not_given_out() {
    let scene = Scene::new().await;
    let running = scene.run().await;
    let evidence_id = scene.filed(&scene.uploaded("acme", b"who was there").await).await;
    let link = scene.link("acme", evidence_id).await.unwrap();
    let store = scene.stage.operator.jetstream().get_object_store(EVIDENCE).await.unwrap();
    let name = format!("acme/{evidence_id}");
    store.put(name.as_str(), &mut b"who should have been".as_slice()).await.unwrap();
    let (code, words) = scene.link("acme", evidence_id).await.unwrap_err();
    assert!(code == 404 && words.contains("SHA-256"), "{words}");
    assert_eq!(scene.stage.visit::<EvidenceContent>(&visit(&link.path)).await.unwrap_err().0, 404);
    store.delete(&name).await.unwrap();
    assert_eq!(scene.link("acme", evidence_id).await.unwrap_err().0, 404);
    running.stop().await;
}

/// A link as the auditor signs it, until any moment.
fn link_until(evidence_id: Uuid, until: i64) -> String {
    let keyed = |key: &[u8], bytes: &[u8]| {
        let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(key).unwrap();
        mac.update(bytes);
        mac.finalize().into_bytes().to_vec()
    };
    let key = keyed(b"a secret of tests, thirty-two characters long", b"omnibus audit links");
    let body = serde_json::json!({ "t": "acme", "f": evidence_id, "e": until }).to_string();
    let sign = URL_SAFE_NO_PAD.encode(keyed(&key, body.as_bytes()));
    format!("/evidence-files/{}.{sign}", URL_SAFE_NO_PAD.encode(body))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_ends() {
    let scene = Scene::new().await;
    let running = scene.run().await;
    let evidence_id = scene.filed(&scene.uploaded("acme", b"who was there").await).await;
    let now = clock::now().timestamp();
    let good = scene.stage.visit::<EvidenceContent>(&visit(&link_until(evidence_id, now + 60))).await.unwrap();
    assert_eq!(good.code(), 200);
    for ended in [now, now - 1, i64::MIN] {
        let answer = scene.stage.visit::<EvidenceContent>(&visit(&link_until(evidence_id, ended))).await;
        assert_eq!(answer.unwrap_err().0, 404, "{ended}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_comes_again_finds_its_copy_and_needs_no_upload() {
    let scene = Scene::new().await;
    let upload = scene.uploaded("acme", b"who was there").await;
    let id = clock::new_id();
    // As a worker leaves it that was killed after the copy, and comes again after the upload has gone.
    let store = scene.stage.operator.jetstream().get_object_store(EVIDENCE).await.unwrap();
    store.put(format!("acme/{id}").as_str(), &mut b"who was there".as_slice()).await.unwrap();
    let uploads = scene.stage.operator.jetstream().get_object_store(UPLOADS).await.unwrap();
    uploads.delete(&upload.object.name).await.unwrap();
    let running = scene.run().await;
    let subject = subject::command(UploadEvidence::DOMAIN, UploadEvidence::LANE, UploadEvidence::NAME, "acme");
    for _ in 0..2 {
        // Without an id by which the bus itself would tell the second.
        let map = headers(&[("ce-id", &id.to_string()), ("ce-actor", "ada"), ("Content-Type", "application/json")]);
        scene.stage.publish_raw(&subject, map, body::encode(Encoding::Json, &upload)).await;
        assert_eq!(scene.stage.outcome(id).await.name, "evidence_filed");
    }
    let after = scene.filed(&scene.uploaded("acme", b"who else").await).await;
    let ids: Vec<Uuid> = scene.items("acme").await.iter().map(|item| item.evidence_id).collect();
    assert!(ids.len() == 2 && ids.contains(&id) && ids.contains(&after), "{ids:?}");
    assert_eq!(scene.kept(&format!("acme/{id}")).await.as_deref(), Some(b"who was there".as_slice()));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenants_files_have_no_more_bytes_than_they_may_also_when_they_come_at_once() {
    let scene = Scene::new().await;
    let evidence = EvidenceLimits { most_bytes: 30, ..EvidenceLimits::default() };
    let running = scene.run_with(Settings { evidence, ..settings(scene.dir.path()) }).await;
    let file = scene.uploaded("acme", b"who was there").await;
    let mut codes: Vec<String> =
        futures_util::future::join_all((0..5).map(|_| async { scene.code("acme", "ada", &file).await })).await;
    codes.sort();
    assert_eq!(codes, ["evidence_filed", "evidence_filed", "too_many_files", "too_many_files", "too_many_files"]);
    // Another tenant's do not count, and a file that is refused for another reason takes nothing.
    let theirs = scene.uploaded("globex", b"who was there").await;
    let wrong = Object { sha256: sha256(b"something else"), ..theirs.object.clone() };
    let wrong = UploadEvidence { object: wrong, ..theirs.clone() };
    for (code, upload) in
        [("wrong_hash", &wrong), ("wrong_hash", &wrong), ("evidence_filed", &theirs), ("evidence_filed", &theirs)]
    {
        assert_eq!(scene.code("globex", "eve", upload).await, code);
    }
    assert_eq!(scene.count("select count(*) from auditor.evidence_copies").await, 0);
    running.stop().await;
}
