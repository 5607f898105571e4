//! The stand-in and the client beside Twilio's contract: its names, types, patterns and lists of values, by a validator.

use jsonschema::Validator;
use omnibus_schemas::Command;
use omnibus_schemas::texter::{CancelSms, SendSms, WaitsAt};
use serde_json::{Value, json};

use crate::scene::{ACCOUNT, SERVICE, Scene, TOKEN};

fn validator(of: &str) -> Validator {
    let mut schema: Value = serde_json::from_str(include_str!("../messages.schema.json")).unwrap();
    schema["$ref"] = json!(format!("#/$defs/{of}"));
    jsonschema::validator_for(&schema).unwrap()
}

#[track_caller]
fn keeps_to(of: &str, value: &Value) {
    let faults: Vec<String> =
        validator(of).iter_errors(value).map(|fault| format!("{}: {fault}", fault.instance_path())).collect();
    assert_eq!(faults, [""; 0], "{of}: {value}");
}

fn pairs(text: &[u8]) -> Value {
    let fields = omnibus_texter::signature::fields(text).unwrap();
    fields.into_iter().map(|(name, value)| (name, Value::String(value))).collect::<serde_json::Map<_, _>>().into()
}

#[tokio::test]
async fn what_the_stand_in_answers_keeps_to_the_contract() {
    let scene = Scene::new().await;
    scene.send(&SendSms::example()).await;
    let sid = scene.twilio.messages().await[0]["sid"].as_str().unwrap().to_owned();
    scene.twilio.tell(json!({ "sid": sid, "status": "undelivered", "error_code": 30003, "price": "-0.0079" })).await;
    let root = format!("{}/2010-04-01/Accounts/{ACCOUNT}", scene.twilio.url);
    let http = reqwest::Client::new();
    // For later, and taken back.
    let at = omnibus_runtime::clock::now() + chrono::Duration::hours(1);
    let at = at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    let post = |path: String, form: &[(&str, &str)]| {
        http.post(format!("{root}/{path}")).basic_auth(ACCOUNT, Some(TOKEN)).form(form).send()
    };
    let form = [
        ("To", "+14155552671"),
        ("MessagingServiceSid", SERVICE),
        ("Body", "Later"),
        ("ScheduleType", "fixed"),
        ("SendAt", at.as_str()),
    ];
    let kept = post("Messages.json".into(), &form).await.unwrap();
    assert_eq!(kept.status(), 201);
    let kept: Value = kept.json().await.unwrap();
    keeps_to("message", &kept);
    assert_eq!(kept["status"], "scheduled");
    let file = format!("Messages/{}.json", kept["sid"].as_str().unwrap());
    let gone = post(file.clone(), &[("Status", "canceled")]).await.unwrap();
    assert_eq!(gone.status(), 200);
    let gone: Value = gone.json().await.unwrap();
    keeps_to("message", &gone);
    assert_eq!(gone["status"], "canceled");
    for (path, form) in [
        (file, &[("Status", "sent")][..]),
        (format!("Messages/{sid}.json"), &[("Status", "canceled")][..]),
        (
            "Messages.json".into(),
            &[("To", "+14155552671"), ("From", "+15005550006"), ("Body", "x"), ("SendAt", at.as_str())][..],
        ),
        ("Messages.json".into(), &[("To", "+14155552671"), ("From", "+15005550006"), ("Body", "x"), ("Bodi", "x")][..]),
        ("Messages.json".into(), &[("To", "4155552671"), ("From", "+15005550006"), ("Body", "x")][..]),
        ("Messages.json".into(), &[("To", "+14155552671"), ("Body", "x")][..]),
        ("Messages.json".into(), &[("To", "+14155552671"), ("From", "+15005550006")][..]),
    ] {
        assert_eq!(post(path, form).await.unwrap().status(), 400, "{form:?}");
    }
    let json = http.post(format!("{root}/Messages.json")).basic_auth(ACCOUNT, Some(TOKEN)).json(&json!({ "To": "+1" }));
    assert_eq!(json.send().await.unwrap().status(), 400);
    let get = |url: String| http.get(url).basic_auth(ACCOUNT, Some(TOKEN)).send();
    let message: Value = get(format!("{root}/Messages/{sid}.json")).await.unwrap().json().await.unwrap();
    keeps_to("message", &message);
    let page: Value = get(format!("{root}/Messages.json?To=%2B14155552671")).await.unwrap().json().await.unwrap();
    keeps_to("page", &page);
    let refused = http.get(format!("{root}/Messages.json")).basic_auth(ACCOUNT, Some("x")).send().await.unwrap();
    assert_eq!(refused.status(), 401);
    let error: Value = refused.json().await.unwrap();
    assert!(error["code"] == 20003 && error["status"] == 401 && error["more_info"].is_string(), "{error}");
    scene.running.stop().await;
}

/// What the client sends and asks, as a plain server hears it.
#[tokio::test]
async fn what_the_client_sends_keeps_to_the_contract() {
    use axum::Router;
    use axum::extract::{RawForm, RawQuery};
    let (heard, mut requests) = tokio::sync::mpsc::unbounded_channel();
    let asked = heard.clone();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().route(
        "/2010-04-01/Accounts/{account}/Messages.json",
        axum::routing::post(move |RawForm(form): RawForm| async move {
            heard.send(("create", pairs(&form))).unwrap();
            axum::http::StatusCode::SERVICE_UNAVAILABLE
        })
        .get(move |RawQuery(query): RawQuery| async move {
            asked.send(("list", pairs(query.unwrap().as_bytes()))).unwrap();
            axum::Json(json!({ "messages": [], "next_page_uri": null }))
        }),
    );
    tokio::spawn(async move { axum::serve(listener, router).await });
    let scene = Scene::with(|settings| settings.twilio_api_url = url).await;
    scene.stage.publish("acme", &SendSms { body: "50 % & more = \u{20ac}\n+1".into(), ..SendSms::example() }).await;
    let mut seen = Vec::new();
    while seen.len() < 3 {
        let (of, fields) = requests.recv().await.unwrap();
        keeps_to(of, &fields);
        seen.push((of, fields));
    }
    assert_eq!(seen[0].0, "create");
    assert_eq!(seen[0].1["Body"], "50 % & more = \u{20ac}\n+1");
    let callback = seen[0].1["StatusCallback"].as_str().unwrap();
    assert!(callback.starts_with("https://api.example.com/base/webhooks/twilio/status?tenant=acme&message="));
    assert_eq!(seen[1].0, "list");
    scene.running.abort().await;
}

/// A text that is handed over for later and taken back, likewise.
#[tokio::test]
async fn what_the_client_hands_over_and_takes_back_keeps_to_the_contract() {
    use axum::Router;
    use axum::extract::RawForm;
    let (heard, mut requests) = tokio::sync::mpsc::unbounded_channel();
    let changed = heard.clone();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let message = |status: &str| axum::Json(json!({ "sid": format!("SM{:032x}", 1), "status": status }));
    let router = Router::new()
        .route(
            "/2010-04-01/Accounts/{account}/Messages.json",
            axum::routing::post(move |RawForm(form): RawForm| async move {
                heard.send(("create", pairs(&form))).unwrap();
                (axum::http::StatusCode::CREATED, message("scheduled"))
            }),
        )
        .route(
            "/2010-04-01/Accounts/{account}/Messages/{file}",
            axum::routing::post(move |RawForm(form): RawForm| async move {
                changed.send(("update", pairs(&form))).unwrap();
                message("canceled")
            }),
        );
    tokio::spawn(async move { axum::serve(listener, router).await });
    let scene = Scene::with(|settings| {
        settings.twilio_api_url = url;
        settings.twilio_messaging_service_sid = Some(SERVICE.into());
    })
    .await;
    let at = omnibus_runtime::clock::now() + chrono::Duration::hours(1);
    let later = SendSms { send_at: Some(at), waits_at: WaitsAt::Provider, ..SendSms::example() };
    let (message_id, told) = scene.send(&later).await;
    assert_eq!(told.data["status"], json!("scheduled"), "{}", told.data);
    scene.send(&CancelSms { message_id }).await;
    let mut seen = Vec::new();
    while seen.len() < 2 {
        let (of, fields) = requests.recv().await.unwrap();
        keeps_to(of, &fields);
        seen.push((of, fields));
    }
    assert_eq!((&seen[0].1["ScheduleType"], &seen[0].1["MessagingServiceSid"]), (&json!("fixed"), &json!(SERVICE)));
    let send_at: chrono::DateTime<chrono::Utc> = seen[0].1["SendAt"].as_str().unwrap().parse().unwrap();
    assert!((send_at - at).abs() <= chrono::Duration::seconds(1), "{send_at} for {at}");
    assert_eq!((seen[1].0, &seen[1].1), ("update", &json!({ "Status": "canceled" })));
    scene.running.stop().await;
}
