//! Through the HTTP door, as callers and as Twilio do: log in with a code, ask for an estimate, be told what became of it.

use omnibus_ingest::{Door, DoorParts, keys};
use omnibus_runtime::Health;
use omnibus_runtime::testing::{PATIENCE, Stage, free_port};
use omnibus_schemas::Query;
use omnibus_schemas::texter::{EstimateSms, SmsState};
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use crate::scene::{Scene, number};

struct Opened {
    url: String,
    key: String,
    http: reqwest::Client,
    _stop: DropGuard,
}

impl Opened {
    async fn on(stage: &Stage, listen: &str) -> Self {
        let stop = CancellationToken::new();
        let settings = omnibus_ingest::Settings {
            rate_limit_ip: 0,
            rate_limit_tenant: 0,
            // A busy machine is not a mute worker.
            query_timeout_seconds: 60,
            publish_timeout_seconds: 60,
            http_listen: listen.parse().unwrap(),
            ..omnibus_ingest::Settings::on_a_free_port()
        };
        let parts = DoorParts {
            bus: stage.connect("ingest").await,
            catalogue: stage.catalogue().clone(),
            settings,
            beside: None,
            health: Health::default(),
            stop: stop.clone(),
        };
        let door = Door::new(parts).await.unwrap();
        let url = door.url();
        tokio::spawn(door.serve());
        let (key, record) = keys::mint(&"acme".parse().unwrap(), "test", ["*"], None);
        keys::put(stage.operator.jetstream(), &key, &record).await.unwrap();
        let opened =
            Opened { url, key: key.expose().to_owned(), http: reqwest::Client::new(), _stop: stop.drop_guard() };
        let heard = async { while opened.get("/api/v1/sms/templates").await.0 == 401 {} };
        tokio::time::timeout(PATIENCE, heard).await.expect("the door hears of the key");
        opened
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        let answer = self.http.get(format!("{}{path}", self.url)).bearer_auth(&self.key).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap_or_default())
    }

    async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let request = self.http.post(format!("{}{path}", self.url)).bearer_auth(&self.key);
        let answer = request.header("prefer", "wait=30").json(body).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap_or_default())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_in_with_a_code_and_nobody_reads_what_was_typed() {
    let scene = Scene::new().await;
    scene.stage.answers("texter").await;
    let door = Opened::on(&scene.stage, "127.0.0.1:0").await;
    let (status, told) = door.post("/api/v1/sms/2fa", &json!({ "to": number(7001), "digits": 10 })).await;
    assert_eq!((status, told["event"]["type"].as_str()), (200, Some("omnibus.texter.code_sent.v1")), "{told}");
    let text = scene.twilio.messages().await[0]["body"].as_str().unwrap().to_owned();
    let right: String = text.split(|c: char| !c.is_ascii_digit()).find(|run| run.len() == 10).unwrap().to_owned();
    let id = &told["event"]["data"]["verification_id"];
    let check = |typed: &str| json!({ "verification_id": id, "code": typed });
    let (status, told) = door.post("/api/v1/sms/2fa/verify", &check("0000000000")).await;
    assert_eq!((status, &told["event"]["data"]["verified"]), (200, &json!(false)), "{told}");
    let (status, told) = door.post("/api/v1/sms/2fa/verify", &check(&right)).await;
    assert_eq!((status, &told["event"]["data"]["verified"]), (200, &json!(true)), "{told}");
    let mut stream = scene.stage.operator.jetstream().get_stream("CMD_TEXTER").await.unwrap();
    let last = stream.info().await.unwrap().state.last_sequence;
    assert!(last >= 3);
    for sequence in 1..=last {
        let message = stream.get_raw_message(sequence).await.unwrap();
        let body = String::from_utf8_lossy(&message.payload).into_owned();
        assert!(!body.contains(&right) && !body.contains("0000000000"), "{}", message.subject);
    }
    scene.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_idempotency_key_is_the_same_check() {
    let scene = Scene::new().await;
    let door = Opened::on(&scene.stage, "127.0.0.1:0").await;
    let check = |typed: &str| {
        let body = json!({ "to": number(7002), "code": typed });
        let request = door.http.post(format!("{}/api/v1/sms/2fa/verify", door.url)).bearer_auth(&door.key);
        request.header("idempotency-key", "login-1").json(&body).send()
    };
    // The worker that seals may have just begun.
    let first = loop {
        let answer = check("123456").await.unwrap();
        if answer.status() != 503 {
            break answer;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    assert_eq!(first.status(), 202);
    let first: Value = first.json().await.unwrap();
    let second: Value = check("123456").await.unwrap().json().await.unwrap();
    assert!(first["id"].is_string());
    assert_eq!(first["id"], second["id"]);
    assert_eq!(check("123457").await.unwrap().status(), 422);
    scene.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_estimate_is_asked_for_with_a_body() {
    let scene = Scene::new().await;
    // The worker takes commands a moment before it answers questions: this one waits for that.
    scene.stage.ask("texter", "acme", &EstimateSms::example()).await.unwrap();
    let door = Opened::on(&scene.stage, "127.0.0.1:0").await;
    let (status, answer) = door.post("/api/v1/sms/estimate", &json!({ "to": number(7003), "body": "Hello" })).await;
    assert_eq!((status, &answer["segments"], &answer["estimate_micro"]), (200, &json!(1), &json!(7900)), "{answer}");
    let (status, answer) = door.post("/api/v1/sms/estimate", &json!({ "to": number(7003) })).await;
    assert_eq!((status, &answer["faults"][0]["pointer"]), (422, &json!("")), "{answer}");
    let (status, answer) = door.post("/api/v1/sms/estimate", &json!({ "to": "x", "body": "a", "boby": 1 })).await;
    assert_eq!((status, &answer["faults"][0]["pointer"]), (422, &json!("/boby")), "{answer}");
    scene.running.stop().await;
}

/// Real callbacks over HTTP: asked for by the texter, signed by the stand-in, believed by the texter.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twilio_calls_back_where_it_was_asked_to_and_is_believed() {
    // The door's address has to be known before it is open.
    let listen = format!("127.0.0.1:{}", free_port());
    let public = format!("http://{listen}");
    let scene = Scene::with(|settings| settings.sms_public_url = Some(public)).await;
    let door = Opened::on(&scene.stage, &listen).await;
    let (status, told) = door.post("/api/v1/sms/send", &json!({ "to": number(7004), "body": "Hello" })).await;
    assert_eq!(status, 200, "{told}");
    let sid = told["event"]["data"]["provider_id"].clone();
    let answers = scene.twilio.tell(json!({ "sid": sid, "status": "delivered", "callback": true, "times": 3 })).await;
    assert_eq!(answers, json!([204, 204, 204]));
    scene.event("sms_status_changed").await;
    let id: Uuid = told["id"].as_str().unwrap().parse().unwrap();
    assert_eq!(scene.status(id).await.status, SmsState::Delivered);
    let url = format!("{}/webhooks/twilio/inbound", door.url);
    let text = json!({ "url": url, "from": number(7004), "to": "+15005550006", "body": "STOP", "sid": "SM77" });
    assert_eq!(scene.twilio.inbound(text).await, json!(200));
    assert_eq!(scene.event("consent_changed").await.data["recipient"], json!(number(7004)));
    let forged = door.http.post(&url).body("From=%2B1&To=%2B2&MessageSid=SM1").send().await.unwrap();
    assert_eq!(forged.status(), 403);
    scene.running.stop().await;
}
