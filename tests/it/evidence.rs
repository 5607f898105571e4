//! Evidence through the door: a file is brought, and fetched again as it was.

use omnibus_runtime::testing::Stage;
use omnibus_schemas::Catalogue;
use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::catalogue::auditor;
use crate::opened::Opened;

const FILE: &str = "/api/v1/compliance/evidence/files?control=training&title=Attendance&filename=course.pdf";

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_evidence_comes_out_of_the_door_as_it_went_in() {
    let (stage, home) = (Stage::new(Catalogue::omnibus()).await, tempfile::tempdir().unwrap());
    let running = stage.run(omnibus_auditor::worker(auditor(home.path())).unwrap()).await;
    stage.answers("auditor").await;
    let door = Opened::on(&stage).await;
    let bytes: Vec<u8> = (0..1_500_000_u32).map(|n| (n * 31 % 251) as u8).collect();
    let send = |path: &str, kind: &'static str, bytes: Vec<u8>| {
        let request = door.ask(Method::POST, path).header("content-type", kind).header("prefer", "wait=30");
        request.body(bytes).send()
    };
    let answer = send(FILE, "application/pdf", bytes.clone()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let answer: Value = answer.json().await.unwrap();
    let told = &answer["event"]["data"];
    assert_eq!((&told["file"]["filename"], &told["file"]["size"]), (&"course.pdf".into(), &1_500_000.into()));

    let page = format!("/api/v1/compliance/evidence/{}/file", told["evidence_id"].as_str().unwrap());
    let link: Value = door.ask(Method::GET, &page).send().await.unwrap().json().await.unwrap();
    assert_eq!(link["sha256"], told["sha256"]);
    assert_eq!(door.visit(Method::GET, &page).send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
    // The link is its own credential.
    let fetched = door.visit(Method::GET, link["path"].as_str().unwrap()).send().await.unwrap();
    assert_eq!(fetched.status(), StatusCode::OK);
    let header = |name: &str| fetched.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header("content-disposition"), "attachment; filename*=UTF-8''course.pdf");
    assert_eq!(header("x-content-type-options"), "nosniff");
    assert_eq!(header("content-length"), bytes.len().to_string());
    assert!(fetched.bytes().await.unwrap() == bytes);
    let forged = format!("{}x", link["path"].as_str().unwrap());
    assert_eq!(door.visit(Method::GET, &forged).send().await.unwrap().status(), StatusCode::NOT_FOUND);

    let wrong = format!("{FILE}&sha256={}", "0".repeat(64));
    let refused = send(&wrong, "application/pdf", b"another".to_vec()).await.unwrap();
    assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let problem: Value = refused.json().await.unwrap();
    assert!(problem.to_string().contains("/sha256"), "{problem}");
    let refused = send(FILE, "text/html", b"<p>".to_vec()).await.unwrap();
    assert_eq!(refused.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    running.stop().await;
}
