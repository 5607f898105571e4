//! Questions: `GET`, and `POST` with a body.

use async_nats::HeaderMap;
use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::stage::{Stage, problem};

/// Answers a query with its own request and tenant, or with an error.
async fn answering(stage: &Stage, subject: &'static str, error: Option<(&'static str, &'static str)>) {
    let mut questions = stage.listen(subject).await;
    let client = stage.operator.client().clone();
    tokio::spawn(async move {
        while let Some(question) = questions.next().await {
            let given = question.headers.unwrap();
            let (asked, tenant) = (
                serde_json::from_slice::<Value>(&question.payload).unwrap(),
                given.get("ce-tenant").unwrap().to_string(),
            );
            let traced = given.get("traceparent").is_some();
            let mut map = HeaderMap::new();
            if let Some((code, words)) = error {
                map.insert("Nats-Service-Error-Code", code);
                map.insert("Nats-Service-Error", words);
            }
            let answer = match error {
                Some((_, "told field by field")) => json!({"faults": [{"pointer": "/a", "reason": "missing"}]}),
                _ => json!({"asked": asked, "tenant": tenant, "traced": traced}),
            };
            let answer = answer.to_string();
            client.publish_with_headers(question.reply.unwrap(), map, answer.into()).await.unwrap();
        }
    });
}

#[tokio::test]
async fn a_question_reaches_the_worker_with_the_callers_tenant() {
    let stage = Stage::new().await;
    let (acme, _) = stage.key("acme", &["greeter:*"]).await;
    let (globex, _) = stage.key("globex", &["greeter:*"]).await;
    answering(&stage, "qry.greeter.greetings", None).await;
    for (key, tenant) in [(&acme, "acme"), (&globex, "globex")] {
        let request = stage.get("/api/v1/greetings/Ada%20L.").bearer_auth(key.expose()).header("ce-tenant", "other");
        let response = request.send().await.unwrap();
        assert_eq!(response.headers()["content-type"], "application/json");
        let answer: Value = response.json().await.unwrap();
        assert_eq!(answer, json!({"asked": {"name": "Ada L."}, "tenant": tenant, "traced": true}));
    }
}

#[tokio::test]
async fn the_query_string_is_read_by_the_schema_and_unknown_names_are_refused() {
    let stage = Stage::new().await;
    let (key, _) = stage.key("acme", &["greeter:*"]).await;
    answering(&stage, "qry.greeter.held", None).await;
    let get = |query: &str| stage.get(&format!("/api/v1/greeter/held{query}")).bearer_auth(key.expose()).send();
    let answer: Value = get("?limit=7").await.unwrap().json().await.unwrap();
    assert_eq!(answer["asked"], json!({"limit": 7}));
    let answer: Value = get("").await.unwrap().json().await.unwrap();
    assert_eq!(answer["asked"], json!({"limit": 100}));
    for (query, pointer) in [
        ("?limit=many", "/limit"),
        ("?limit=0", "/limit"),
        ("?limt=7", "/limt"),
        ("?limit=7&tenant=globex", "/tenant"),
        ("?limit=7&limit=8", "/limit"),
    ] {
        let (status, code, document) = problem(get(query).await.unwrap()).await;
        assert_eq!((status, code.as_str()), (422, "invalid"), "{query}");
        assert_eq!(document["faults"][0]["pointer"], pointer, "{query}");
    }
}

#[tokio::test]
async fn without_a_worker_the_answer_is_503_and_not_a_hang() {
    let stage = Stage::with(|door, _| door.query_timeout_seconds = 1).await;
    let (key, _) = stage.key("acme", &["*"]).await;
    let get = || stage.get("/api/v1/greetings/Ada").bearer_auth(key.expose()).send();
    let away = get().await.unwrap();
    assert!(away.headers().contains_key("retry-after"));
    assert_eq!(problem(away).await.1, "worker_away");
    // One that listens and says nothing.
    let _silent = stage.listen("qry.greeter.greetings").await;
    let (status, code, _) = problem(get().await.unwrap()).await;
    assert_eq!((status, code.as_str()), (503, "worker_away"));
}

#[tokio::test]
async fn a_workers_refusal_is_a_problem() {
    for (said, status, code, detail) in [
        ("404", 404, "not_found", "no such thing"),
        ("400", 400, "malformed", "no such thing"),
        ("422", 422, "invalid", "no such thing"),
        ("503", 503, "worker_away", "no such thing"),
        ("500", 500, "worker_failed", "The worker could not answer. Its log says why."),
        ("nonsense", 500, "worker_failed", "The worker could not answer. Its log says why."),
    ] {
        let stage = Stage::new().await;
        let (key, _) = stage.key("acme", &["*"]).await;
        answering(&stage, "qry.greeter.greetings", Some((said, "no such thing"))).await;
        let response = stage.get("/api/v1/greetings/Ada").bearer_auth(key.expose()).send().await.unwrap();
        let (is, named, document) = problem(response).await;
        assert_eq!((is, named.as_str(), &document["detail"]), (status, code, &json!(detail)));
    }
}

#[tokio::test]
async fn a_question_by_post_has_its_fields_in_the_body() {
    let stage = Stage::new().await;
    let (key, _) = stage.key("acme", &["email:*"]).await;
    answering(&stage, "qry.mailer.preview_template", None).await;
    let path = "/api/v1/email/templates/welcome/preview";
    let post = |path: &str, body: Value| stage.post(path).bearer_auth(key.expose()).json(&body).send();
    let response = post(path, json!({"variables": {"name": "Ada"}})).await.unwrap();
    assert_eq!(response.status(), 200);
    let answer: Value = response.json().await.unwrap();
    let asked = json!({"name": "welcome", "variables": {"name": "Ada"}});
    assert_eq!(answer, json!({"asked": asked, "tenant": "acme", "traced": true}));

    for (path, body, pointer) in [
        (path.to_owned(), json!({"variabels": {}}), "/variabels"),
        (path.to_owned(), json!({"name": "invoice"}), "/name"),
        (path.to_owned(), json!({"version": -1}), "/version"),
        (format!("{path}?version=1"), json!({}), ""),
    ] {
        let (status, code, document) = problem(post(&path, body).await.unwrap()).await;
        assert_eq!((status, code.as_str()), (422, "invalid"), "{path}");
        assert_eq!(document["faults"][0]["pointer"], pointer, "{document}");
    }
    let (status, code, _) = problem(stage.post(path).bearer_auth(key.expose()).body("{").send().await.unwrap()).await;
    assert_eq!((status, code.as_str()), (400, "malformed"));
    let (reading, _) = stage.key("acme", &["greeter:*"]).await;
    let refused = stage.post(path).bearer_auth(reading.expose()).json(&json!({})).send().await.unwrap();
    assert_eq!(problem(refused).await.0, 403);
}

#[tokio::test]
async fn a_refusal_that_is_told_field_by_field_arrives_so() {
    let stage = Stage::new().await;
    let (key, _) = stage.key("acme", &["*"]).await;
    answering(&stage, "qry.greeter.greetings", Some(("422", "told field by field"))).await;
    let response = stage.get("/api/v1/greetings/Ada").bearer_auth(key.expose()).send().await.unwrap();
    let (status, code, document) = problem(response).await;
    assert_eq!((status, code.as_str()), (422, "invalid"));
    assert_eq!(document["faults"], json!([{"pointer": "/a", "reason": "missing"}]));
}

#[tokio::test]
async fn a_list_as_csv_is_a_file_with_the_way_to_its_next_page() {
    let stage = Stage::new().await;
    let (key, _) = stage.key("acme", &["partners:read"]).await;
    let mut questions = stage.listen("qry.commissioner.ledger_csv").await;
    let client = stage.operator.client().clone();
    tokio::spawn(async move {
        while let Some(question) = questions.next().await {
            let asked: Value = serde_json::from_slice(&question.payload).unwrap();
            let answer = match asked["after"].as_str() {
                None => json!({"csv": "a,b\r\n1,2\r\n", "next": "7 \u{fc}"}),
                Some("7 \u{fc}") => json!({"csv": "3,4\r\n"}),
                Some(other) => panic!("{other}"),
            };
            client.publish(question.reply.unwrap(), answer.to_string().into()).await.unwrap();
        }
    });
    let get = |path: &str| stage.get(path).bearer_auth(key.expose()).send();
    let first = get("/api/v1/partners/ledger.csv?program=main&limit=1").await.unwrap();
    assert_eq!(first.headers()["content-type"], "text/csv; charset=utf-8");
    assert_eq!(first.headers()["content-disposition"], "attachment; filename=\"ledger.csv\"");
    let link = first.headers()["link"].to_str().unwrap().to_owned();
    assert_eq!(first.text().await.unwrap(), "a,b\r\n1,2\r\n");
    let next = link.strip_prefix('<').and_then(|rest| rest.strip_suffix(">; rel=\"next\"")).unwrap();
    let second = get(next).await.unwrap();
    assert!(!second.headers().contains_key("link"));
    assert_eq!(second.text().await.unwrap(), "3,4\r\n");
}
