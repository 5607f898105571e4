//! The stand-in and the client beside the contract that is written down in `messages.schema.json`: as much of Twilio's
//! as they use, looked at by a validator. And the contract itself: would it find anything, and does Twilio say so?

use std::collections::BTreeSet;

use jsonschema::Validator;
use omnibus_schemas::Command;
use omnibus_schemas::texter::{CancelSms, SendSms, WaitsAt};
use serde_json::{Value, json};

use crate::scene::{ACCOUNT, FROM, PUBLIC, SERVICE, Scene, TOKEN};

/// The contract as it is written down beside these tests.
fn written() -> Value {
    serde_json::from_str(include_str!("../messages.schema.json")).unwrap()
}

fn validator(of: &str) -> Validator {
    let mut schema = written();
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

/// One of each kind that the contract describes.
fn right(of: &str) -> Value {
    let account = format!("/2010-04-01/Accounts/{ACCOUNT}");
    match of {
        "message" => json!({
            "account_sid": ACCOUNT, "api_version": "2010-04-01", "body": "Hello",
            "date_created": "Thu, 26 Nov 2026 09:30:00 +0000", "date_sent": null,
            "date_updated": "Thu, 26 Nov 2026 09:30:00 +0000", "direction": "outbound-api", "error_code": null,
            "error_message": null, "from": FROM, "messaging_service_sid": null, "num_media": "0", "num_segments": "1",
            "price": null, "price_unit": "USD", "sid": format!("SM{:032x}", 1), "status": "queued",
            "subresource_uris": {}, "to": "+14155552671", "uri": format!("{account}/Messages/SM{:032x}.json", 1),
        }),
        "create" => json!({
            "To": "+14155552671", "MessagingServiceSid": SERVICE, "Body": "Hello", "StatusCallback": PUBLIC,
            "ScheduleType": "fixed", "SendAt": "2026-11-26T09:30:00Z",
        }),
        "update" => json!({ "Status": "canceled" }),
        "list" => json!({ "To": "+14155552671", "DateSent>": "2026-11-26", "PageSize": "100" }),
        "page" => json!({
            "messages": [right("message")], "page": 0, "page_size": 50, "start": 0, "end": 1,
            "uri": format!("{account}/Messages.json?Page=0"),
            "first_page_uri": format!("{account}/Messages.json?Page=0"),
            "next_page_uri": null, "previous_page_uri": null,
        }),
        _ => panic!("the contract has no {of}"),
    }
}

const KINDS: [&str; 5] = ["message", "create", "update", "list", "page"];

/// What takes anything would find nothing.
#[test]
fn the_contract_looks_at_every_field_and_knows_no_other() {
    let schema = written();
    for of in KINDS {
        let (valid, right) = (validator(of), right(of));
        keeps_to(of, &right);
        let changed = |name: &str, value: Option<Value>| {
            let mut fields = right.as_object().unwrap().clone();
            match value {
                Some(value) => drop(fields.insert(name.to_owned(), value)),
                None => drop(fields.remove(name)),
            }
            Value::Object(fields)
        };
        for name in schema["$defs"][of]["properties"].as_object().unwrap().keys() {
            assert!(!valid.is_valid(&changed(name, Some(json!(true)))), "{of} takes any {name}");
        }
        for name in schema["$defs"][of]["required"].as_array().unwrap() {
            assert!(!valid.is_valid(&changed(name.as_str().unwrap(), None)), "{of} goes without {name}");
        }
        assert!(!valid.is_valid(&changed("Unheard", Some(json!("of")))), "{of}");
    }
    let create = validator("create");
    let both = json!({ "To": "+14155552671", "From": FROM, "MessagingServiceSid": SERVICE, "Body": "Hello" });
    let neither = json!({ "To": "+14155552671", "Body": "Hello" });
    let at = json!({ "To": "+14155552671", "From": FROM, "Body": "Hello", "SendAt": "2026-11-26T09:30:00Z" });
    for wrong in [both, neither, at] {
        assert!(!create.is_valid(&wrong), "{wrong}");
    }
}

fn names(fields: &Value) -> BTreeSet<String> {
    fields.as_object().unwrap().keys().cloned().collect()
}

fn words(list: &Value) -> BTreeSet<String> {
    list.as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect()
}

/// Twilio's description of its API is Twilio's, and not kept here: `TWILIO_OPENAPI` says where it lies.
#[test]
#[ignore = "needs Twilio's own description: TWILIO_OPENAPI=.../twilio_api_v2010.json"]
fn the_contract_is_what_twilio_says_of_its_api() {
    let file = std::env::var_os("TWILIO_OPENAPI").expect("TWILIO_OPENAPI names the file");
    let theirs: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let written = written();
    let ours = &written["$defs"];
    let fields = |of: &str| names(&ours[of]["properties"]);
    let shapes = &theirs["components"]["schemas"];
    let message = &shapes["api.v2010.account.message"]["properties"];
    assert_eq!(fields("message"), names(message));
    for (ours, theirs) in
        [(&ours["account"], "account_sid"), (&ours["service"], "messaging_service_sid"), (&ours["sid"], "sid")]
    {
        assert_eq!(ours["pattern"], message[theirs]["pattern"], "{theirs}");
    }
    for name in ["status", "direction"] {
        let known = &shapes[format!("message_enum_{name}")]["enum"];
        assert_eq!(words(&ours["message"]["properties"][name]["enum"]), words(known), "{name}");
    }
    let root = "/2010-04-01/Accounts/{AccountSid}/Messages";
    let (all, one) = (&theirs["paths"][format!("{root}.json")], &theirs["paths"][format!("{root}/{{Sid}}.json")]);
    let form = |operation: &Value| {
        names(&operation["requestBody"]["content"]["application/x-www-form-urlencoded"]["schema"]["properties"])
    };
    assert!(fields("create").is_subset(&form(&all["post"])), "{:?}", fields("create"));
    assert!(fields("update").is_subset(&form(&one["post"])), "{:?}", fields("update"));
    let asked =
        all["get"]["parameters"].as_array().unwrap().iter().map(|asked| asked["name"].as_str().unwrap().to_owned());
    assert!(fields("list").is_subset(&asked.collect::<BTreeSet<_>>()), "{:?}", fields("list"));
    let answer = &all["get"]["responses"]["200"]["content"]["application/json"]["schema"];
    assert_eq!(fields("page"), names(&answer["properties"]));
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
