//! What the door says of itself.

use omnibus_schemas::{Catalogue, generate};
use serde_json::Value;

use crate::stage::{Stage, problem};

#[tokio::test]
async fn the_documents_are_the_catalogues() {
    let stage = Stage::new().await;
    let openapi: Value = stage.get("/openapi.json").send().await.unwrap().json().await.unwrap();
    assert_eq!(openapi, generate::openapi(&Catalogue::omnibus()));
    let asyncapi = stage.get("/asyncapi.yaml").send().await.unwrap().text().await.unwrap();
    assert_eq!(asyncapi, generate::asyncapi(&Catalogue::omnibus()));
    let front = stage.get("/").send().await.unwrap().text().await.unwrap();
    assert!(front.contains("/docs/"));
}

#[tokio::test]
async fn every_path_of_the_document_is_a_route() {
    let stage = Stage::new().await;
    let openapi = generate::openapi(&Catalogue::omnibus());
    let mut walked = 0;
    // The WebSocket door's, which stands beside this one only where both are one process.
    let here = openapi["paths"].as_object().unwrap().iter().filter(|(path, _)| *path != "/ws");
    for (path, item) in here {
        for method in item.as_object().unwrap().keys() {
            let path: String =
                path.split('/').skip(1).map(|s| format!("/{}", if s.starts_with('{') { "x" } else { s })).collect();
            let method = method.to_uppercase().parse::<reqwest::Method>().unwrap();
            let status = stage.http.request(method, format!("{}{path}", stage.url)).send().await.unwrap().status();
            assert!(![404, 405].contains(&status.as_u16()), "{path}: {status}");
            walked += 1;
        }
    }
    assert!(walked > 10);
}

#[tokio::test]
async fn the_documentation_loads_nothing_from_elsewhere() {
    let stage = Stage::new().await;
    let page = stage.get("/docs").send().await.unwrap();
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("http"), "{policy}");
    assert!(page.url().path().ends_with("/docs/"));
    let page = page.text().await.unwrap();
    let mut loaded = 0;
    for (at, _) in page.match_indices("src=\"").chain(page.match_indices("href=\"")) {
        let address = page[at..].split('"').nth(1).unwrap();
        assert!(!address.contains("//"), "{address}");
        let file = stage.get(&format!("/docs/{}", address.trim_start_matches("./"))).send().await.unwrap();
        assert_eq!(file.status(), 200, "{address}");
        loaded += 1;
    }
    assert!(loaded >= 4, "{page}");
    let set_up = stage.get("/docs/swagger-initializer.js").send().await.unwrap().text().await.unwrap();
    for wanted in ["\"/openapi.json\"", "persistAuthorization", "\"validatorUrl\": \"none\""] {
        assert!(set_up.contains(wanted), "{wanted}: {set_up}");
    }
    assert!(!set_up.contains("http"), "{set_up}");
}

#[tokio::test]
async fn what_is_not_there_is_a_problem_too() {
    let stage = Stage::new().await;
    let nowhere = stage.get("/api/v1/nothing").send().await.unwrap();
    assert_eq!(problem(nowhere).await.1, "no_route");
    let wrong = stage.get("/api/v1/email/send").send().await.unwrap();
    assert_eq!(wrong.headers()["allow"], "POST");
    let (status, code, _) = problem(wrong).await;
    assert_eq!((status, code.as_str()), (405, "method_not_allowed"));
    assert_eq!(problem(stage.get("/docs/nothing.js").send().await.unwrap()).await.0, 404);
}

#[tokio::test]
async fn requests_are_counted_by_route_and_status() {
    omnibus_runtime::metrics::recorder();
    let stage = Stage::new().await;
    let (key, _) = stage.key("acme", &["*"]).await;
    stage.greet(&key).send().await.unwrap();
    stage.get("/some/made/up/path").send().await.unwrap();
    let metrics = stage.get("/metrics").send().await.unwrap().text().await.unwrap();
    assert!(
        metrics.contains(r#"omnibus_http_requests_total{route="POST /api/v1/greetings",status="202"}"#),
        "{metrics}"
    );
    assert!(metrics.contains(r#"omnibus_http_seconds_count{route="POST /api/v1/greetings"}"#), "{metrics}");
    assert!(metrics.contains(r#"route="none",status="404""#), "{metrics}");
    assert!(!metrics.contains("made/up"), "{metrics}");
}
