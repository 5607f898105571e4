//! Policies through the door: what is malformed is said by field, and leaves the log as it was.

use omnibus_runtime::testing::{PATIENCE, Stage};
use omnibus_schemas::Catalogue;
use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::catalogue::auditor;
use crate::opened::Opened;

const POLICIES: &str = "/api/v1/compliance/policies";

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_policy_is_refused_at_the_door_and_the_log_knows_nothing_of_it() {
    let (stage, home) = (Stage::new(Catalogue::omnibus()).await, tempfile::tempdir().unwrap());
    let running = stage.run(omnibus_auditor::worker(auditor(home.path())).unwrap()).await;
    let door = Opened::on(&stage).await;
    let send = |body: &'static str| {
        let request = door.ask(Method::POST, POLICIES).header("content-type", "application/json");
        request.header("prefer", "wait=30").body(body).send()
    };
    for (body, named) in [
        ("not json", ""),
        ("{}", "policy"),
        (r#"{"policy":"Not A Token","title":"Access","text":"Keys end."}"#, "/policy"),
        (r#"{"policy":"access","title":"","text":"Keys end."}"#, "/title"),
        (r#"{"policy":"access","title":"Access","text":7}"#, "/text"),
    ] {
        let refused = send(body).await.unwrap();
        assert!(refused.status().is_client_error(), "{body}: {}", refused.status());
        let problem: Value = refused.json().await.unwrap();
        assert!(problem.to_string().contains(named), "{body}: {problem}");
    }
    let taken = send(r#"{"policy":"access","title":"Access","text":"Keys end."}"#).await.unwrap();
    assert_eq!(taken.status(), StatusCode::OK);
    // Its acceptance and its outcome.
    let size = r#"select count(*) from auditor.entries where tenant = 'acme'
                  and (leaf like '%"what":"auditor.draft_policy"%' or leaf like '%"what":"auditor.policy_moved"%')"#;
    let entries = async {
        while sqlx::query_scalar::<_, i64>(size).fetch_one(&stage.db).await.unwrap() < 2 {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    // An entry waits for every transaction that is older, and other tests of this PostgreSQL hold some.
    tokio::time::timeout(PATIENCE, entries).await.expect("the log has the policy");
    assert_eq!(sqlx::query_scalar::<_, i64>(size).fetch_one(&stage.db).await.unwrap(), 2);
    running.stop().await;
}
