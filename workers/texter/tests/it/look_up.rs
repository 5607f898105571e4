//! Which of the messages that Twilio lists is the text whose answer was lost.

use axum::extract::{RawQuery, State};
use axum::response::Json;
use chrono::{DateTime, Duration, Utc};
use omnibus_runtime::{Found, clock};
use omnibus_texter::Settings;
use omnibus_texter::provider::{Receipt, Text, providers};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::scene::{ACCOUNT, FROM, SECRET, TOKEN, number};

/// A message as far as it is looked at.
fn message(n: u32, body: &str, created: DateTime<Utc>) -> Value {
    json!({
        "sid": format!("SM{n:032x}"), "status": "queued", "body": body, "from": FROM, "messaging_service_sid": null,
        "direction": "outbound-api", "date_created": created.to_rfc2822(), "error_code": null, "price": null,
        "price_unit": "USD",
    })
}

/// Pages of a list that is asked for without a day; with one, nothing has been sent yet.
async fn list(State(pages): State<Vec<Value>>, RawQuery(query): RawQuery) -> Json<Value> {
    let query = query.unwrap_or_default();
    if query.contains("DateSent") {
        return Json(json!({ "messages": [], "next_page_uri": null }));
    }
    let page = query.rsplit_once("Page=").and_then(|(_, n)| n.parse::<usize>().ok()).unwrap_or(0);
    Json(pages[page].clone())
}

/// Looks for "Hello", sent a moment ago, in these pages.
async fn look(pages: Vec<Value>, others: &[String]) -> anyhow::Result<Found<Receipt>> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let place = "/2010-04-01/Accounts/{account}/Messages.json";
    let router = axum::Router::new().route(place, axum::routing::get(list)).with_state(pages);
    tokio::spawn(async move { axum::serve(listener, router).await });
    let settings = Settings {
        twilio_account_sid: Some(ACCOUNT.into()),
        twilio_auth_token: Some(TOKEN.into()),
        twilio_phone_number: Some(FROM.into()),
        twilio_api_url: url,
        sms_secret: Some(SECRET.into()),
        ..Settings::defaults()
    };
    let to = number(9301);
    let text = Text {
        message_id: Uuid::nil(),
        tenant: "acme",
        to: &to,
        from: FROM,
        body: "Hello",
        callback: None,
        send_at: None,
        since: clock::now(),
        others,
    };
    let twilio = providers(&settings).unwrap().remove(0);
    twilio.find(text).await
}

fn page(messages: &[Value], next: Option<&str>) -> Value {
    json!({ "messages": messages, "next_page_uri": next })
}

/// A path of the next page.
fn next() -> String {
    format!("/2010-04-01/Accounts/{ACCOUNT}/Messages.json?PageSize=100&Page=1")
}

#[tokio::test]
async fn it_is_found_on_a_later_page() {
    let others: Vec<Value> = (0..100).map(|n| message(n + 2, "Another", clock::now())).collect();
    let pages = vec![page(&others, Some(&next())), page(&[message(1, "Hello", clock::now())], None)];
    match look(pages, &[]).await.unwrap() {
        Found::Done(receipt) => assert_eq!(receipt.provider_id, format!("SM{:032x}", 1)),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn nothing_is_asked_of_another_host() {
    for elsewhere in ["https://elsewhere.example/2010-04-01/Messages.json", "@elsewhere.example/"] {
        let error = look(vec![page(&[], Some(elsewhere))], &[]).await.unwrap_err();
        assert!(error.to_string().contains("elsewhere"), "{error}");
    }
}

#[tokio::test]
async fn of_two_that_may_be_it_nobody_can_tell_which() {
    let pages = vec![page(&[message(2, "Hello", clock::now()), message(1, "Hello", clock::now())], None)];
    assert!(matches!(look(pages.clone(), &[]).await.unwrap(), Found::CannotTell));
    // Unless one of them is known to be another.
    match look(pages, &[format!("SM{:032x}", 2)]).await.unwrap() {
        Found::Done(receipt) => assert_eq!(receipt.provider_id, format!("SM{:032x}", 1)),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_older_one_one_that_came_in_and_one_of_another_sender_are_not_it() {
    let changed = |field: &str, value: &str| {
        let mut message = message(1, "Hello", clock::now());
        message[field] = json!(value);
        message
    };
    for other in [
        message(1, "Hello", clock::now() - Duration::minutes(10)),
        changed("direction", "inbound"),
        changed("from", "+15005550007"),
        changed("body", "Hello!"),
    ] {
        let found = look(vec![page(std::slice::from_ref(&other), None)], &[]).await.unwrap();
        assert!(matches!(found, Found::NotDone), "{other}: {found:?}");
    }
    // A trial account's prefix is Twilio's, not the text's.
    let trial = changed("body", "Sent from your Twilio trial account - Hello");
    assert!(matches!(look(vec![page(&[trial], None)], &[]).await.unwrap(), Found::Done(_)));
}
