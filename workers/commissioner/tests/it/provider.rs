//! A provider over HTTP that keeps to its contract to the letter, and what is said about payouts when it does not answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use omnibus_schemas::commissioner::{
    CheckLedger, DecidePartner, PartnerDecision, PayoutResult, PayoutStatus, Payouts, RequestPayout, SetPayoutAccount,
    SettlePayout, SubmitPayout,
};
use omnibus_schemas::platform::{Outcome, Resolution, ResolveHeld};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::scene::{Scene, order};

/// What it does with the next payouts, and what it has.
#[derive(Debug, Default)]
struct Books {
    paid: HashMap<String, Value>,
    /// How often a payout was posted, repetitions included.
    posts: u32,
    /// Answers 422 to all.
    refuses: bool,
    /// Takes this many payouts and never answers.
    silent: u32,
    /// Says nothing about what it has.
    mute: bool,
    /// Loses this many payouts on the way, and never answers.
    loses: u32,
    /// Takes none of this many, and says so: 429.
    busy: u32,
    /// Takes this many payouts and answers 500.
    stumbles: u32,
    /// Answers once it is let.
    gate: Option<Arc<Semaphore>>,
    /// The keys of what was posted, repetitions included.
    keys: Vec<String>,
}

type Shared = Arc<Mutex<Books>>;

async fn take(
    State(books): State<Shared>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Result<Json<Value>, (StatusCode, String)> {
    let fault = |words: &str| (StatusCode::BAD_REQUEST, words.to_owned());
    if headers.get("authorization").and_then(|h| h.to_str().ok()) != Some("Bearer the token") {
        return Err((StatusCode::UNAUTHORIZED, "token".into()));
    }
    let key = headers.get("idempotency-key").and_then(|h| h.to_str().ok()).ok_or_else(|| fault("no key"))?.to_owned();
    if body["reference"] != key.as_str()
        || body["amount"].as_i64().is_none_or(|amount| amount <= 0)
        || body["currency"].as_str().is_none_or(|code| code.len() != 3)
        || body["recipient"]["account"].as_str().is_none_or(str::is_empty)
        || body.as_object().is_none_or(|fields| fields.len() != 4)
    {
        return Err(fault("not what was agreed"));
    }
    let (silent, stumbles, gate) = {
        let mut books = books.lock().unwrap();
        books.posts += 1;
        books.keys.push(key.clone());
        if books.busy > 0 {
            books.busy -= 1;
            return Err((StatusCode::TOO_MANY_REQUESTS, "later".into()));
        }
        if books.refuses {
            return Err((StatusCode::UNPROCESSABLE_ENTITY, "no".into()));
        }
        if books.paid.get(&key).is_some_and(|before| *before != body) {
            return Err((StatusCode::CONFLICT, "another payout has this key".into()));
        }
        if books.loses == 0 {
            books.paid.insert(key.clone(), body);
        }
        let silent = books.silent > 0 || books.loses > 0;
        books.loses = books.loses.saturating_sub(1);
        books.silent = books.silent.saturating_sub(1);
        let stumbles = books.stumbles > 0;
        books.stumbles = books.stumbles.saturating_sub(1);
        (silent, stumbles, books.gate.clone())
    };
    if silent {
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    if stumbles {
        return Err((StatusCode::INTERNAL_SERVER_ERROR, "oh".into()));
    }
    if let Some(gate) = gate {
        drop(gate.acquire().await.unwrap());
    }
    Ok(Json(json!({ "id": format!("po_{key}"), "status": "paid" })))
}

async fn look(State(books): State<Shared>, Path(key): Path<String>) -> Result<Json<Value>, StatusCode> {
    let books = books.lock().unwrap();
    match books.mute {
        true => Err(StatusCode::SERVICE_UNAVAILABLE),
        false if books.paid.contains_key(&key) => Ok(Json(json!({ "id": format!("po_{key}"), "status": "paid" }))),
        false => Err(StatusCode::NOT_FOUND),
    }
}

/// A scene with the provider, a partner who is due 5.00, and the payout requested.
async fn scene(change: impl FnOnce(&mut Books)) -> (Scene, Shared, Uuid, Uuid) {
    scene_within(60, change).await
}

/// The same where the provider says nothing: it is waited for as long as a busy machine may need for what it does say.
async fn silent_scene(change: impl FnOnce(&mut Books)) -> (Scene, Shared, Uuid, Uuid) {
    scene_within(5, change).await
}

/// The same with so many seconds for the provider to answer.
async fn scene_within(seconds: u16, change: impl FnOnce(&mut Books)) -> (Scene, Shared, Uuid, Uuid) {
    let books = Shared::default();
    change(&mut books.lock().unwrap());
    let router = Router::new().route("/v1/payouts", post(take)).route("/v1/payouts/{key}", get(look));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    let app = router.with_state(books.clone());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    let scene = Scene::with(|settings| {
        settings.payout_url = Some(url);
        settings.payout_token = Some("the token".to_owned().into());
        settings.payout_timeout = seconds;
    })
    .await;
    scene.program(|_| {}).await;
    let (ada, code) = scene.partner("ada", None).await;
    scene.does(&SetPayoutAccount { partner_id: ada, account: "DE1".into() }).await;
    scene.does(&order("1", Some(&code))).await;
    let reserved = scene.does(&RequestPayout { partner_id: ada, currency: "EUR".parse().unwrap() }).await;
    let payout = reserved.data["payout_id"].as_str().unwrap().parse().unwrap();
    (scene, books, ada, payout)
}

async fn status(scene: &Scene) -> PayoutStatus {
    let list = Payouts { program: "main".parse().unwrap(), partner_id: None, after: None, limit: 10 };
    scene.asks(&list).await.unwrap().items[0].status
}

#[tokio::test]
async fn a_provider_that_pays_at_once_confirms() {
    let (scene, books, ada, payout) = scene(|_| {}).await;
    let told = scene.stage.event(|told| told.name == "payout_settled").await;
    assert_eq!((&told.data["status"], &told.data["payout_id"]), (&json!("confirmed"), &json!(payout)));
    assert_eq!(scene.balance(ada, "EUR").await, 0);
    assert_eq!(books.lock().unwrap().posts, 1);
    assert_eq!(status(&scene).await, PayoutStatus::Confirmed);
    scene.running.stop().await;
}

#[tokio::test]
async fn a_payout_that_is_refused_has_failed_and_the_money_is_owed_again() {
    let (scene, _, ada, _) = scene(|books| books.refuses = true).await;
    let told = scene.stage.event(|told| told.name == "payout_settled").await;
    assert_eq!(told.data["status"], "failed");
    assert_eq!(scene.balance(ada, "EUR").await, 500);
    scene.running.stop().await;
}

#[tokio::test]
async fn silence_is_cleared_up_by_asking_and_nothing_is_paid_twice() {
    let (scene, books, ada, _) = silent_scene(|books| books.silent = 1).await;
    let told = scene.stage.event(|told| told.name == "payout_settled").await;
    assert_eq!(told.data["status"], "confirmed");
    let balance = scene.balance(ada, "EUR").await;
    assert_eq!((balance, books.lock().unwrap().posts), (0, 1));
    assert_eq!(books.lock().unwrap().paid.len(), 1);
    scene.running.stop().await;
}

#[tokio::test]
async fn a_provider_that_is_busy_is_asked_again_under_the_same_key() {
    let (scene, books, ada, payout) = scene(|books| books.busy = 2).await;
    let told = scene.stage.event(|told| told.name == "payout_settled").await;
    assert_eq!((&told.data["status"], &told.data["payout_id"]), (&json!("confirmed"), &json!(payout)));
    assert_eq!(books.lock().unwrap().keys, vec![payout.to_string(); 3]);
    assert_eq!((scene.balance(ada, "EUR").await, books.lock().unwrap().paid.len()), (0, 1));
    scene.running.stop().await;
}

#[tokio::test]
async fn what_arrives_after_it_was_taken_for_failed_is_booked_as_paid_with_its_reference() {
    let (scene, books, ada, payout) = scene(|books| (books.stumbles, books.mute) = (1, true)).await;
    let held = scene.stage.event(|told| told.outcome == Some(Outcome::Held)).await;
    let gate = Arc::new(Semaphore::new(0));
    books.lock().unwrap().gate = Some(gate.clone());
    let command_id: Uuid = held.causation.parse().unwrap();
    let resolve = ResolveHeld { command_id, resolution: Resolution::Perform, note: "once more".into() };
    let subject = omnibus_schemas::subject::command("commissioner", "default", "resolve_held", "acme");
    scene.stage.publish_raw(&subject, Default::default(), serde_json::to_vec(&resolve).unwrap()).await;
    let on_its_way = async {
        while books.lock().unwrap().posts < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), on_its_way).await.expect("it is handed over once more");
    let failed = SettlePayout { payout_id: payout, result: PayoutResult::Failed, note: "too soon".into() };
    assert_eq!(scene.does(&failed).await.data["status"], "failed");
    assert_eq!(scene.balance(ada, "EUR").await, 500);

    gate.add_permits(1);
    scene.stage.event(|told| told.name == "payout_settled" && told.data["status"] == "confirmed").await;
    assert_eq!(scene.balance(ada, "EUR").await, 0);
    let list = Payouts { program: "main".parse().unwrap(), partner_id: None, after: None, limit: 10 };
    let list = scene.asks(&list).await.unwrap();
    assert_eq!((list.items.len(), list.items[0].status), (1, PayoutStatus::Confirmed));
    assert_eq!(list.items[0].reference, Some(format!("po_{payout}")));
    let check = CheckLedger { program: "main".parse().unwrap() };
    assert_eq!(scene.does(&check).await.data["differences"], 0);
    scene.running.stop().await;
}

#[tokio::test]
async fn what_nobody_can_tell_is_held_until_a_person_says_what_happened() {
    let (scene, books, ada, payout) = silent_scene(|books| (books.silent, books.mute) = (1, true)).await;
    let held = scene.stage.event(|told| told.outcome == Some(Outcome::Held)).await;
    let uncertain = scene.stage.event(|told| told.name == "payout_uncertain").await;
    assert_eq!(uncertain.data["payout_id"], json!(payout));
    assert_eq!((status(&scene).await, scene.balance(ada, "EUR").await), (PayoutStatus::Uncertain, 0));
    let held_id: Uuid = held.causation.parse().unwrap();
    let resolve =
        ResolveHeld { command_id: held_id, resolution: Resolution::Drop, note: "it is not in their books".into() };
    let subject = omnibus_schemas::subject::command("commissioner", "default", "resolve_held", "acme");
    scene.stage.publish_raw(&subject, Default::default(), serde_json::to_vec(&resolve).unwrap()).await;
    let told = scene.stage.event(|told| told.name == "payout_settled").await;
    assert_eq!(told.data["status"], "failed");
    assert_eq!(books.lock().unwrap().posts, 1);
    assert_eq!(scene.balance(ada, "EUR").await, 500);
    scene.running.stop().await;
}

#[tokio::test]
async fn a_provider_that_does_not_know_a_payout_yet_proves_nothing() {
    let (scene, books, ada, payout) = silent_scene(|books| books.loses = 1).await;
    scene.stage.event(|told| told.name == "payout_uncertain").await;
    assert_eq!((status(&scene).await, scene.balance(ada, "EUR").await), (PayoutStatus::Uncertain, 0));
    // Nobody else hands it over in the meantime, and a person who looked at the bank's statement may say what happened.
    let other = scene.does(&SubmitPayout { payout_id: payout }).await;
    assert_eq!(other.data["code"], "wrong_status");
    let settle = |result| SettlePayout { payout_id: payout, result, note: "looked".into() };
    assert_eq!(scene.does(&settle(PayoutResult::Failed)).await.data["status"], "failed");
    assert_eq!(scene.balance(ada, "EUR").await, 500);
    // And may have been wrong.
    assert_eq!(scene.does(&settle(PayoutResult::Confirmed)).await.data["status"], "confirmed");
    assert_eq!(scene.balance(ada, "EUR").await, 0);
    assert_eq!(books.lock().unwrap().posts, 1);
    let check = CheckLedger { program: "main".parse().unwrap() };
    assert_eq!(scene.does(&check).await.data["differences"], 0);
    scene.running.stop().await;
}

#[tokio::test]
async fn what_was_paid_again_is_said_and_not_booked_twice() {
    let (scene, books, ada, payout) = scene(|books| books.refuses = true).await;
    scene.stage.event(|told| told.name == "payout_settled").await;
    books.lock().unwrap().refuses = false;
    let again = scene.does(&RequestPayout { partner_id: ada, currency: "EUR".parse().unwrap() }).await;
    assert_eq!(again.data["amount"], 500);
    let settle = SettlePayout { payout_id: payout, result: PayoutResult::Confirmed, note: String::new() };
    assert_eq!(scene.does(&settle).await.data["code"], "paid_again");
    scene.running.stop().await;
}

#[tokio::test]
async fn a_partner_who_is_suspended_before_the_money_leaves_is_not_paid() {
    let (scene, books, ada, payout) = scene(|_| {}).await;
    scene.stage.event(|told| told.name == "payout_settled").await;
    let suspend = DecidePartner { partner_id: ada, decision: PartnerDecision::Suspend, note: String::new() };
    scene.does(&suspend).await;
    // As if the hand-over had not been reached yet.
    sqlx::query("update commissioner.payouts set status = 'reserved', submitted_by = null")
        .execute(scene.db())
        .await
        .unwrap();
    let told = scene.does(&SubmitPayout { payout_id: payout }).await;
    assert_eq!((told.name.as_str(), &told.data["status"]), ("payout_settled", &json!("failed")));
    assert_eq!(books.lock().unwrap().posts, 1);
    let pay = RequestPayout { partner_id: ada, currency: "EUR".parse().unwrap() };
    assert_eq!(scene.does(&pay).await.data["code"], "not_approved");
    scene.running.stop().await;
}
