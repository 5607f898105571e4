//! The second provider, as its settings describe it: a form, credentials, and a look-up by our own id of a text.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::extract::{Path, RawForm, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use omnibus_schemas::Command;
use omnibus_schemas::platform::Outcome;
use omnibus_schemas::texter::SendSms;
use omnibus_texter::signature::fields;
use serde_json::json;

use crate::scene::{Scene, code, number, text};

/// How a POST goes.
#[derive(Debug, Clone, Copy)]
enum Manner {
    /// Taken, and no answer.
    Lost,
    /// Not taken, and no answer.
    Dropped,
    /// Not taken, and this answer.
    Refused(StatusCode),
}

/// Names and values.
type Form = Vec<(String, String)>;

#[derive(Default)]
struct Gateway {
    next: Mutex<VecDeque<Manner>>,
    /// Every POST: its credentials and its fields.
    posts: Mutex<Vec<(String, Form)>>,
    /// The ids of those that were taken.
    taken: Mutex<Vec<String>>,
}

impl Gateway {
    fn shown(&self, id: &str) -> Response {
        match self.taken.lock().unwrap().iter().position(|taken| taken == id) {
            Some(place) => Json(json!({ "message": { "nr": place + 1 } })).into_response(),
            None => StatusCode::NOT_FOUND.into_response(),
        }
    }

    /// POSTs that came, texts that were taken.
    fn counts(&self) -> (usize, usize) {
        (self.posts.lock().unwrap().len(), self.taken.lock().unwrap().len())
    }

    fn next(&self, manner: Manner) {
        self.next.lock().unwrap().push_back(manner);
    }

    /// Of a POST, what stood in a field.
    fn posted(&self, n: usize, name: &str) -> String {
        let posts = self.posts.lock().unwrap();
        posts[n].1.iter().find(|(field, _)| field == name).unwrap().1.clone()
    }
}

fn credentials(headers: &HeaderMap) -> String {
    headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

async fn take(State(gateway): State<Arc<Gateway>>, headers: HeaderMap, RawForm(form): RawForm) -> Response {
    let form = fields(&form).unwrap();
    let id = form.iter().find(|(name, _)| name == "ref").unwrap().1.clone();
    gateway.posts.lock().unwrap().push((credentials(&headers), form));
    let manner = gateway.next.lock().unwrap().pop_front();
    if let Some(Manner::Refused(status)) = manner {
        return status.into_response();
    }
    if !matches!(manner, Some(Manner::Dropped)) {
        gateway.taken.lock().unwrap().push(id.clone());
    }
    if manner.is_some() {
        // What unwinds takes its connection along.
        std::panic::resume_unwind(Box::new("the connection is closed"));
    }
    gateway.shown(&id)
}

async fn look(State(gateway): State<Arc<Gateway>>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    assert_eq!(credentials(&headers), "Bearer quietgateway");
    gateway.shown(&id)
}

/// A texter with this gateway alone.
async fn scene() -> (Scene, Arc<Gateway>) {
    let gateway = Arc::new(Gateway::default());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router =
        axum::Router::new().route("/send", post(take)).route("/texts/{id}", get(look)).with_state(gateway.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let scene = Scene::with(|settings| {
        settings.twilio_account_sid = None;
        settings.gateway_url = Some(format!("{url}/send"));
        settings.gateway_form = true;
        settings.gateway_authorization = Some("Bearer quietgateway".into());
        settings.gateway_body = r#"{"dest":"{to}","src":"{from}","msg":"{body}","ref":"{id}"}"#.into();
        settings.gateway_id = "/message/nr".into();
        settings.gateway_lookup_url = Some(format!("{url}/texts/{{id}}"));
    })
    .await;
    (scene, gateway)
}

#[tokio::test]
async fn a_gateway_gets_what_its_settings_say_and_its_id_is_read_where_they_say() {
    let (scene, gateway) = scene().await;
    let (_, told) = scene.send(&text(|t| t.body = "50 % & more = \u{20ac}\n{to}".into())).await;
    assert_eq!((&told.data["provider"], &told.data["provider_id"]), (&json!("gateway"), &json!("1")), "{}", told.data);
    assert_eq!(gateway.posts.lock().unwrap()[0].0, "Bearer quietgateway");
    let posted = ["dest", "src", "msg"].map(|name| gateway.posted(0, name));
    assert_eq!(posted, ["+14155552671", "Omnibus", "50 % & more = \u{20ac}\n{to}"]);
    // Two tenants' commands of one id are two texts, for the gateway too. They go without the id that the bus would drop
    // the second by.
    let id = uuid::Uuid::from_u128(0x6a7e);
    for tenant in ["acme", "globex"] {
        let mut headers = async_nats::HeaderMap::new();
        headers.insert("ce-id", id.to_string().as_str());
        let body = serde_json::to_vec(&text(|t| t.to = number(9201))).unwrap();
        let subject = omnibus_schemas::subject::command(SendSms::DOMAIN, SendSms::LANE, SendSms::NAME, tenant);
        scene.stage.publish_raw(&subject, headers, body).await;
        scene
            .stage
            .event(|told| told.tenant == tenant && told.causation == id.to_string() && told.outcome.is_some())
            .await;
    }
    assert_ne!(gateway.posted(1, "ref"), gateway.posted(2, "ref"));
    scene.running.stop().await;
}

#[tokio::test]
async fn a_text_whose_answer_the_gateway_lost_is_looked_up_by_our_own_id_of_it() {
    let (scene, gateway) = scene().await;
    gateway.next(Manner::Lost);
    let (_, told) = scene.send(&SendSms::example()).await;
    assert_eq!((told.name.as_str(), &told.data["provider_id"]), ("sms_sent", &json!("1")), "{}", told.data);
    assert_eq!((gateway.counts(), scene.spent().await), ((1, 1), 50_000));
    scene.running.stop().await;
}

#[tokio::test]
async fn what_the_gateway_does_not_have_is_sent_again_under_the_same_id() {
    let (scene, gateway) = scene().await;
    gateway.next(Manner::Dropped);
    let (_, told) = scene.send(&SendSms::example()).await;
    assert_eq!(told.name, "sms_sent", "{}", told.data);
    assert_eq!(gateway.counts(), (2, 1));
    assert_eq!(gateway.posted(0, "ref"), gateway.posted(1, "ref"));
    assert_eq!(scene.spent().await, 50_000);
    scene.running.stop().await;
}

#[tokio::test]
async fn a_gateways_refusal_is_final_and_its_429_is_not() {
    let (scene, gateway) = scene().await;
    gateway.next(Manner::Refused(StatusCode::UNPROCESSABLE_ENTITY));
    let (_, told) = scene.send(&SendSms::example()).await;
    assert_eq!((told.outcome, code(&told)), (Some(Outcome::Rejected), "provider_refused"));
    assert_eq!(scene.spent().await, 0);
    gateway.next(Manner::Refused(StatusCode::TOO_MANY_REQUESTS));
    let (_, told) = scene.send(&text(|t| t.to = number(9202))).await;
    assert_eq!(told.name, "sms_sent", "{}", told.data);
    assert_eq!(gateway.counts(), (3, 1));
    scene.running.stop().await;
}
